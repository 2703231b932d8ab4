import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { refuseProduction } from '../scripts/db/confirm.ts'
import { readMigrations } from '../src/migrations/folder.ts'
import { migrateDown, migrateUp } from '../src/migrations/migrate.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { dumpSchema } from './support/migrations.ts'
import { createProject, type Project } from './support/project.ts'

// Each program takes a second or two to start.
vi.setConfig({ testTimeout: 60_000 })

let database: TestDatabase
let project: Project
beforeAll(async () => {
  database = await createTestDatabase({ migrated: false })
  project = await createProject(database.url)
})
afterAll(async () => {
  await project.remove()
  await database.drop()
})

const newest = '20260105090300_create_login_failures'
const migrationFolder = () => join(project.dir, 'prisma/migrations')

/** What `npm run db:up` and `db:down` do, without starting a program. */
const options = async () => ({ url: database.url, migrations: await readMigrations(migrationFolder()), say: () => {} })
const up = async () => migrateUp(await options())
const down = async () => migrateDown(await options(), (applied) => applied.slice(-1))

/** Adds a migration for as long as `work` takes, and makes sure that undoing it leaves no trace. */
async function withMigration(name: string, upSql: string, downSql: string, work: (name: string) => Promise<void>) {
  const folder = `20300101000000_${name}`
  const before = await dumpSchema(database.url)
  await project.addMigration(folder, upSql, downSql)
  await work(folder)
  await down()
  expect(await dumpSchema(database.url)).toBe(before)
  await rm(join(migrationFolder(), folder), { recursive: true })
}

async function waitFor(sql: string): Promise<void> {
  for (let tries = 0; (await database.query(sql)).length === 0; tries++) {
    if (tries > 400) throw new Error(`never true: ${sql}`)
    await sleep(25)
  }
}

describe('after our commands and after those of Prisma, both say the same', () => {
  it('up, by ours', async () => {
    expect(await project.db('up')).toMatchObject({ code: 0, text: expect.stringContaining('Applied 4 migrations.') })
    expect(await project.prisma('migrate', 'status')).toMatchObject({
      code: 0,
      text: expect.stringContaining('up to date'),
    })
    expect(await project.db('status')).toMatchObject({
      code: 0,
      text: expect.stringContaining('All migrations are applied.'),
    })
    expect((await project.db('current')).text).toBe(`${newest}\n`)
  })

  it('down by ours, up by Prisma', async () => {
    expect((await project.db('down', '--to', 'create_orders')).text).toContain('Undid 2 migrations.')
    const theirs = await project.prisma('migrate', 'status')
    expect(theirs.code).toBe(1)
    expect(theirs.text).toMatch(
      /have not yet been applied:\s+20260105090200_index_lists\s+20260105090300_create_login_failures\n/,
    )
    const ours = await project.db('status')
    expect(ours).toMatchObject({ code: 1, text: expect.stringMatching(/^pending {3}20260105090200_index_lists$/m) })

    expect((await project.prisma('migrate', 'deploy')).code).toBe(0)
    expect((await project.db('status')).code).toBe(0)
    const history = (await project.db('history')).text.trim().split('\n')
    expect(history).toHaveLength(8)
    expect(history.at(-1)).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}up {7,}\d+ ms {2}sha256:[0-9a-f]{12} {2}2026\S+login_failures$/,
    )
  })

  it('no drift, for Prisma or for us, although there is a history now', async () => {
    const diff = ['migrate', 'diff', '--from-config-datasource', '--to-schema', 'prisma/schema.prisma', '--exit-code']
    expect(await project.prisma(...diff)).toMatchObject({ code: 0 })
    expect(await project.db('drift')).toMatchObject({ code: 0, text: 'The database is what its migrations make.\n' })
  })

  it('a migration that Prisma failed is applied by ours once it is corrected', async () => {
    await withMigration('broken', 'CREATE TABLE half ();\nSELECT 1/0;', 'DROP TABLE half;', async (name) => {
      expect((await project.prisma('migrate', 'deploy')).code).toBe(1)
      expect((await project.db('status')).text).toContain(`failed    ${name}`)
      await project.addMigration(name, 'CREATE TABLE half ();')
      expect(await up()).toHaveLength(1)
      expect((await project.prisma('migrate', 'status')).code).toBe(0)
    })
  })

  it('an index built concurrently, by Prisma and by ours', async () => {
    const create = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS a ON users (full_name);'
    await withMigration('index', create, 'DROP INDEX CONCURRENTLY IF EXISTS a;', async () => {
      expect(await project.prisma('migrate', 'deploy')).toMatchObject({ code: 0 })
      expect(await down()).toHaveLength(1)
      expect(await up()).toHaveLength(1)
      expect((await project.prisma('migrate', 'status')).code).toBe(0)
    })
  })

  it('a runner of ours beside one of Prisma: both take turns', async () => {
    await withMigration('slow', 'SELECT pg_sleep(1);\nCREATE TABLE slow ();', 'DROP TABLE slow;', async () => {
      const [ours, theirs] = await Promise.all([project.db('up'), project.prisma('migrate', 'deploy')])
      expect([ours.code, theirs.code]).toEqual([0, 0])
      expect((await project.db('status')).code).toBe(0)
    })
  })
})

describe('a runner that is killed', () => {
  const killOnce = async (sql: string) => {
    const runner = project.start('--import', 'tsx', 'scripts/db.ts', 'up')
    await waitFor(sql)
    process.kill(-Number(runner.pid), 'SIGKILL')
  }

  it('in a transaction leaves nothing, and the next one carries on', async () => {
    await withMigration('killed', 'CREATE TABLE k ();\nSELECT pg_sleep(60);', 'DROP TABLE k;', async (name) => {
      await killOnce(`SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND pid <> pg_backend_pid()`)
      await project.addMigration(name, 'CREATE TABLE k ();')
      const started = Date.now()
      expect(await up()).toHaveLength(1)
      expect(Date.now() - started).toBeLessThan(20_000)
      expect((await project.prisma('migrate', 'status')).code).toBe(0)
    })
  })

  it('while it builds an index leaves a failed migration, and the next one repairs it', async () => {
    const create = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS killed ON users (full_name);'
    await withMigration('killed_index', create, 'DROP INDEX IF EXISTS killed;', async (name) => {
      const writer = new Client({ connectionString: database.url })
      await writer.connect()
      await writer.query(`BEGIN; INSERT INTO users (email, password_hash, full_name) VALUES ('w@b.test', 'none', 'W')`)
      await killOnce(
        `SELECT FROM pg_class JOIN pg_index ON oid = indexrelid WHERE relname = 'killed' AND NOT indisvalid`,
      )
      expect((await project.db('status')).text).toContain(`failed    ${name}`)
      expect((await project.prisma('migrate', 'status')).text).toContain(name)

      await writer.query('ROLLBACK')
      await writer.end()
      expect(await up()).toHaveLength(1)
      expect((await project.prisma('migrate', 'status')).code).toBe(0)
      const dump = await dumpSchema(database.url)
      expect(dump).toContain('index public.killed: CREATE INDEX killed')
      expect(dump).not.toContain('INVALID')
    })
  })
})

describe('the loop of a change', () => {
  const schema = () => join(project.dir, 'prisma/schema.prisma')

  it('schema, create, up, down, change again, redo', async () => {
    const before = await dumpSchema(database.url)
    const text = await readFile(schema(), 'utf8')
    await writeFile(schema(), text.replace(/^ {2}stock .*$/m, '$&\n  color String? @db.VarChar(20)'))
    const created = await project.db('create', '--', 'Add product color')
    expect(created).toMatchObject({
      code: 0,
      text: expect.stringMatching(/^Created prisma\/migrations\/\d{14}_add_product_color\n/),
    })
    const folder = join(
      migrationFolder(),
      (await readdir(migrationFolder())).find((name) => name.endsWith('_color')) ?? '',
    )
    const migration = await readFile(join(folder, 'migration.sql'), 'utf8')
    expect(migration).toContain('ADD COLUMN     "color" VARCHAR(20)')
    expect(await readFile(join(folder, 'down.sql'), 'utf8')).toMatch(/DROP COLUMN "color";\n\n-- TODO: undo here/)

    expect(await up()).toHaveLength(1)
    await writeFile(
      join(folder, 'migration.sql'),
      `${migration}ALTER TABLE products ADD CONSTRAINT color_check CHECK (color <> '');\n`,
    )
    expect(await project.db('up')).toMatchObject({ code: 1, text: expect.stringContaining('npm run db:redo') })
    expect((await project.db('status')).text).toMatch(/^edited .*_add_product_color/m)
    expect(await project.db('redo')).toMatchObject({ code: 0 })
    expect(await dumpSchema(database.url)).toContain('color_check')
    await down()
    expect(await dumpSchema(database.url)).toBe(before)

    await rm(folder, { recursive: true })
    await writeFile(schema(), text)
  })

  it('without a change of the schema a pair to fill in is made, which the check refuses until it is', async () => {
    const created = await project.db('create', 'by hand')
    expect(created.text).toContain('so this one is written by hand')
    const lint = await project.node('--import', 'tsx', 'scripts/lint-migrations.ts')
    expect(lint.code).toBe(1)
    expect(lint.text).toMatch(/_by_hand\/migration.sql, line 1: -- TODO: write what[\s\S]*down.sql: empty/)
    const folder = (await readdir(migrationFolder())).find((name) => name.endsWith('_by_hand')) ?? ''
    await rm(join(migrationFolder(), folder), { recursive: true })
  })

  it('leaves no database behind on the server', async () => {
    const left = await database.query(
      `SELECT datname FROM pg_database WHERE datname ~ '^(migration_shadow|prisma_migrate_shadow)'`,
    )
    expect(left).toEqual([])
  })
})

describe('what loses data', () => {
  it('asks first, and refuses where there is nobody to ask', async () => {
    const reset = await project.db('reset')
    expect(reset).toMatchObject({
      code: 1,
      text: expect.stringContaining('There is no terminal to ask in: add --yes.'),
    })
    expect(await project.db('reset', '--yes')).toMatchObject({ code: 0 })
  })

  it('refuses a database that may be production', async () => {
    const url = 'postgresql://u:secret@ep-cool-1.eu-central-1.aws.neon.tech/app'
    const other = await createProject(url)
    const text =
      'database app at ep-cool-1.eu-central-1.aws.neon.tech:5432 may be production, and this loses data. If you mean it, add --force.\n'
    expect(await other.db('reset', '--yes')).toEqual({ code: 1, text })
    expect(await other.db('down')).toEqual({ code: 1, text })
    await other.remove()
    const local = 'postgresql://localhost/app'
    expect(() => refuseProduction(local, { VERCEL_ENV: 'production' }, false)).toThrow('may be production')
    expect(() => refuseProduction(local, {}, false)).not.toThrow()
    expect(() => refuseProduction(url, {}, true)).not.toThrow()
  })
})

describe('without a database', () => {
  it('says in one sentence what is missing, or prints SQL, which needs none', async () => {
    const nowhere = await createProject(undefined)
    expect(await nowhere.db('status')).toEqual({
      code: 1,
      text: expect.stringMatching(/^There is no database to use: .+\n$/),
    })
    const sql = await nowhere.db('sql', '--down', 'create_users')
    expect(sql.code).toBe(0)
    expect(sql.text).toContain('DROP TABLE users;\nDROP FUNCTION update_updated_at();')
    expect(sql.text).not.toContain('DROP TABLE orders')
    await nowhere.remove()
    const wrong = await createProject('postgresql://u:secret@127.0.0.1:1/app')
    expect(await wrong.db('up')).toEqual({
      code: 1,
      text: 'The database at 127.0.0.1:1 cannot be reached: connect ECONNREFUSED 127.0.0.1:1.\n',
    })
    await wrong.remove()
  })
})
