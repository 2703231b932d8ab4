import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { createProject, type Project } from './support/project.ts'

let project: Project
afterEach(() => project.remove())

const lint = () => project.node('--import', 'tsx', 'scripts/lint-migrations.ts')
const seal = () => project.db('seal')

it('passes the migrations of this project', async () => {
  project = await createProject(undefined)
  expect(await lint()).toEqual({
    code: 0,
    text: expect.stringContaining('4 migrations are fit to run, and to be undone.'),
  })
})

/** A pair of scripts, and what is said of it. */
const faults: [up: string, down: string | undefined, said: RegExp][] = [
  ['CREATE TABLE a ();', undefined, /_0\/down.sql: missing/],
  ['CREATE TABLE a ();', '-- later', /_1\/down.sql: empty/],
  ['-- nobody reads it\nDROP TABLE users;', 'SELECT 1;', /_2\/migration.sql, line 2: a drop needs its reason/],
  [
    '-- squawk-ignore changing-column-type\nALTER TABLE users ALTER role TYPE text;',
    'SELECT 1;',
    /_3\/migration.sql, line 1: an exception needs its reason/,
  ],
  ['BEGIN; CREATE TABLE a (); COMMIT;', 'SELECT 1;', /_4\/migration.sql, line 1: take BEGIN, COMMIT and ROLLBACK out/],
  [
    'CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (role);',
    'DROP INDEX i;',
    /_5\/down.sql, line 1: .* add IF EXISTS/,
  ],
  [
    'CREATE INDEX CONCURRENTLY i ON users (role);',
    'DROP INDEX IF EXISTS i;',
    /_6\/migration.sql, line 1: .* add IF NOT EXISTS/,
  ],
  ['ALTER TABLE users ADD COLUMN a int NOT NULL;', 'SELECT 1;', /adding-required-field[\s\S]*?_7\/migration.sql/],
  ['ALTER TABLE users ALTER role TYPE text;', 'SELECT 1;', /changing-column-type[\s\S]*?_8\/migration.sql/],
  ['CREATE INDEX i ON users (role);', 'SELECT 1;', /require-concurrent-index-creation[\s\S]*?_9\/migration.sql/],
  [
    'ALTER TABLE orders ADD CONSTRAINT c FOREIGN KEY (user_id) REFERENCES users (id);',
    'SELECT 1;',
    /constraint-missing-not-valid[\s\S]*?_10\/migration.sql/,
  ],
  [
    'ALTER TABLE users ALTER deleted_at SET NOT NULL;',
    'SELECT 1;',
    /adding-not-nullable-field[\s\S]*?_11\/migration.sql/,
  ],
  ['ALTER TABLE users RENAME COLUMN role TO kind;', 'SELECT 1;', /renaming-column[\s\S]*?_12\/migration.sql/],
  ['SELEC 1;', 'SELECT 1;', /_13\/migration.sql, line 1: syntax error at or near "SELEC"/],
]

it('finds what must not reach a database that is in use', async () => {
  project = await createProject(undefined)
  for (const [index, [up, down]] of faults.entries()) await project.addMigration(`20300101000000_${index}`, up, down)
  await seal()
  const { code, text } = await lint()
  expect(code).toBe(1)
  for (const [, , said] of faults) expect(text).toMatch(said)
})

it('lets pass what is done with care', async () => {
  project = await createProject(undefined)
  const careful: [up: string, down: string][] = [
    ['CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (role);', 'DROP INDEX CONCURRENTLY IF EXISTS i;'],
    [
      '-- drops: nothing has read it since the release before this one\nALTER TABLE users DROP COLUMN role;',
      "ALTER TABLE users ADD COLUMN role varchar(20) NOT NULL DEFAULT 'user';",
    ],
    ["ALTER TABLE users ADD CONSTRAINT c CHECK (role > '') NOT VALID;", 'ALTER TABLE users DROP CONSTRAINT c;'],
    ['ALTER TABLE users VALIDATE CONSTRAINT c;', 'SELECT 1; -- a validated constraint holds as before'],
    [
      '-- squawk-ignore require-concurrent-index-creation -- a few rows\nCREATE INDEX j ON users (role);',
      'DROP INDEX j;',
    ],
  ]
  for (const [index, [up, down]] of careful.entries())
    await project.addMigration(`2030010100000${index}_careful`, up, down)
  await seal()
  expect(await lint()).toEqual({ code: 0, text: expect.stringContaining('9 migrations are fit to run') })
})

it('holds a finished migration to its text', async () => {
  project = await createProject(undefined)
  await project.addMigration('20300101000000_new', 'CREATE TABLE a ();', 'DROP TABLE a;')
  expect((await lint()).text).toContain('20300101000000_new: not sealed. When it is finished: npm run db:seal')
  expect((await seal()).text).toContain('Sealed 20300101000000_new')
  expect((await lint()).code).toBe(0)

  const sums = join(project.dir, 'prisma/migrations/SHA256SUMS')
  const sealed = await readFile(sums, 'utf8')
  await project.addMigration('20300101000000_new', 'CREATE TABLE b ();')
  await seal()
  expect(await readFile(sums, 'utf8')).toBe(sealed)
  expect((await lint()).text).toContain('20300101000000_new/migration.sql: edited after it was sealed')
  await writeFile(sums, `${sealed}${'0'.repeat(64)}  20300102000000_gone/migration.sql\n`)
  expect((await lint()).text).toContain('20300102000000_gone: is sealed but not here')
})
