import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findDrift } from '../src/migrations/drift.ts'
import type { Migration } from '../src/migrations/folder.ts'
import { type MigrateOptions, migrateDown, migrateUp } from '../src/migrations/migrate.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { dumpSchema, makeMigration } from './support/migrations.ts'

const table = makeMigration('20300101000000_table', 'CREATE TABLE t (id int);', 'DROP TABLE t;')
const newest = (applied: readonly string[]) => applied.slice(-1)

let database: TestDatabase
let others: Client[]
beforeEach(async () => {
  others = []
  database = await createTestDatabase({ migrated: false })
})
afterEach(async () => {
  for (const client of others) await client.end()
  await database.drop()
})

/** Another session, for work that goes on meanwhile. */
async function connect(): Promise<Client> {
  const client = new Client({ connectionString: database.url, application_name: 'other' })
  client.on('error', () => {})
  await client.connect()
  others.push(client)
  return client
}

const said: string[] = []
const options = (...migrations: Migration[]): MigrateOptions => ({
  url: database.url,
  migrations,
  say: (line) => said.push(line),
  lockTimeoutMs: 100,
  lockAttempts: 2,
})
const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error) => (error.name === 'MigrationError' ? error.message : `not a MigrationError: ${error.stack}`),
  )
const journal = () =>
  database.query(
    `SELECT migration_name AS name, finished_at IS NOT NULL AS finished FROM _prisma_migrations
     WHERE rolled_back_at IS NULL ORDER BY migration_name, started_at`,
  )
async function waitFor(sql: string): Promise<void> {
  for (let tries = 0; (await database.query(sql)).length === 0; tries++) {
    if (tries > 200) throw new Error(`never true: ${sql}`)
    await sleep(25)
  }
}

describe('a migration that fails', () => {
  const broken = makeMigration(
    '20300102000000_broken',
    '-- é\nALTER TABLE t ADD COLUMN a int;\nINSERT INTO t (a) VALUES (1);\nALTER TABLE t\n  ADD COLUMN a int;\n',
    'ALTER TABLE t DROP COLUMN a;',
  )

  it('leaves the database and the journal as they were, and says where and what next', async () => {
    const message = await failure(migrateUp(options(table, broken)))
    expect(message).toBe(
      '20300102000000_broken/migration.sql, line 4: column "a" of relation "t" already exists (SQLSTATE 42701).\n' +
        'The database and its journal are as they were before it. Correct 20300102000000_broken/migration.sql, then `npm run db:up`.',
    )
    expect(await journal()).toEqual([{ name: table.name, finished: true }])
    expect(await dumpSchema(database.url)).not.toContain('column public.t.a')

    const corrected = makeMigration(broken.name, 'ALTER TABLE t ADD COLUMN a int')
    expect(await migrateUp(options(table, corrected))).toHaveLength(1)
  })

  it('on the way down, too', async () => {
    const wrong = makeMigration('20300102000000_wrong', 'CREATE TABLE u ()', 'DROP TABLE u; DROP TABLE nonesuch;')
    await migrateUp(options(table, wrong))
    const before = await dumpSchema(database.url)
    expect(await failure(migrateDown(options(table, wrong), newest))).toContain('table "nonesuch" does not exist')
    expect(await dumpSchema(database.url)).toBe(before)
    expect(await journal()).toHaveLength(2)
  })

  it('at its COMMIT, too', async () => {
    const deferred = makeMigration(
      '20300102000000_deferred',
      'CREATE TABLE u (id int PRIMARY KEY, next int REFERENCES u DEFERRABLE INITIALLY DEFERRED); INSERT INTO u VALUES (1, 2);',
    )
    expect(await failure(migrateUp(options(deferred)))).toContain('violates foreign key constraint')
    expect(await journal()).toEqual([])
  })

  it('because the server ended its session, tells that the journal is true', async () => {
    const slow = makeMigration('20300102000000_slow', 'CREATE TABLE u (); SELECT pg_sleep(20);')
    const running = failure(migrateUp(options(slow)))
    await waitFor(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid() AND state = 'active'`,
    )
    expect(await running).toContain('The journal tells the truth')
    expect(await journal()).toEqual([])
  })
})

describe('what is refused before anything is done', () => {
  const refusals: [string, () => Promise<unknown>, RegExp][] = [
    [
      'COMMIT in a script',
      () => migrateUp(options(makeMigration('1_a', 'CREATE TABLE a ();\nCOMMIT;'))),
      /line 2: take BEGIN, COMMIT/,
    ],
    [
      'a syntax error',
      () => migrateUp(options(table, makeMigration('4_a', 'SELECT 1;\nCREATE TABEL a ();'))),
      /4_a\/migration.sql, line 2: syntax error at or near "TABEL"/,
    ],
    [
      'an unrepeatable statement outside a transaction',
      () => migrateUp(options(table, makeMigration('3_a', 'CREATE INDEX CONCURRENTLY i ON t (id)'))),
      /add IF NOT EXISTS/,
    ],
    [
      'a mix of statements in and outside transactions',
      () => migrateUp(options(table, makeMigration('3_a', 'CREATE TABLE a ();\nVACUUM t;'))),
      /line 2: it cannot run in a transaction/,
    ],
  ]
  it.each(refusals)('%s', async (_, attempt, message) => {
    expect(await failure(attempt())).toMatch(message)
    expect(await dumpSchema(database.url)).not.toContain('table ')
  })

  it('a way down that is missing, empty, or from another revision', async () => {
    await migrateUp(options(table))
    expect(await failure(migrateDown(options({ ...table, down: undefined }), newest))).toContain('down.sql is missing')
    expect(await failure(migrateDown(options({ ...table, down: '-- nothing\n' }), newest))).toContain(
      'down.sql is empty',
    )
    expect(await failure(migrateDown(options(), newest))).toContain('check out the revision that has it')
    expect(await journal()).toHaveLength(1)
  })

  it('an edited migration, until it is restored or undone', async () => {
    await migrateUp(options(table))
    const edited = makeMigration(table.name, 'CREATE TABLE t (id bigint);', table.down)
    const next = makeMigration('20300102000000_next', 'CREATE TABLE u ();')
    expect(await failure(migrateUp(options(edited, next)))).toContain(`Edited after they were applied: ${table.name}.`)
    await migrateDown(options(edited), newest)
    expect(await migrateUp(options(edited, next))).toHaveLength(2)
  })

  it('a database with tables and no journal', async () => {
    await database.query('CREATE TABLE legacy ()')
    expect(await failure(migrateUp(options(table)))).toContain('tables but no journal')
    expect(await dumpSchema(database.url)).not.toContain('public.t')
  })
})

describe('locks', () => {
  const change = makeMigration('20300102000000_change', 'ALTER TABLE t ADD COLUMN a int', 'ALTER TABLE t DROP COLUMN a')

  it('are not waited for for long, so that no reader of the site waits behind the migration', async () => {
    await migrateUp(options(table))
    const report = await connect()
    await report.query('BEGIN; SELECT * FROM t')
    const running = failure(migrateUp(options(table, change)))
    await waitFor(`SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass`)
    const reader = await connect()
    await reader.query('SET statement_timeout TO 1000; SELECT * FROM t')

    const message = await running
    expect(message).toMatch(
      /lock timeout[\s\S]*are as they were[\s\S]*pid \d+, idle in transaction for \d+ s: BEGIN; SELECT/,
    )
    expect(said.at(-1)).toContain('trying again, 2 of 2')
    await report.query('COMMIT')
    expect(await migrateUp(options(table, change))).toHaveLength(1)
  })

  it('are tried for again', async () => {
    await migrateUp(options(table))
    const report = await connect()
    await report.query('BEGIN; SELECT * FROM t')
    const running = migrateUp(options(table, change))
    await sleep(500)
    await report.query('COMMIT')
    expect(await running).toHaveLength(1)
  })
})

describe('two runners at once', () => {
  it('take turns, and both end well', async () => {
    const slow = makeMigration('20300102000000_slow', 'SELECT pg_sleep(0.5); CREATE TABLE u ();')
    said.length = 0
    const done = await Promise.all([migrateUp(options(table, slow)), migrateUp(options(table, slow))])
    expect(done.map((each) => each.length).sort()).toEqual([0, 2])
    expect(said.filter((line) => line.startsWith('Waiting for another migration to finish (pid '))).toHaveLength(1)
    expect(await journal()).toHaveLength(2)
  })

  it('do so while one builds an index concurrently', async () => {
    const index = makeMigration('20300102000000_index', 'CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)')
    await migrateUp(options(table))
    const writer = await connect()
    await writer.query('BEGIN; INSERT INTO t VALUES (1)')
    const both = Promise.all([migrateUp(options(table, index)), migrateUp(options(table, index))])
    await sleep(700)
    await writer.query('COMMIT')
    expect((await both).flat()).toHaveLength(1)
  })

  it('and one that waits in the lock, as Prisma does, only delays it', async () => {
    const index = makeMigration('20300102000000_index', 'CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)')
    await migrateUp(options(table))
    const writer = await connect()
    await writer.query('BEGIN; INSERT INTO t VALUES (1)')
    const building = migrateUp({ ...options(table, index), lockAttempts: 5 })
    await waitFor(
      `SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active' AND pid <> pg_backend_pid()`,
    )
    const prisma = await connect()
    const waiting = prisma.query(`SET lock_timeout TO '3s'; SELECT pg_advisory_lock(72707369)`).catch(() => {})
    await writer.query('COMMIT')
    expect(await building).toHaveLength(1)
    await waiting
    expect(await dumpSchema(database.url)).not.toContain('INVALID')
  })

  it('give up after a bounded wait, and say who holds the lock', async () => {
    const other = await connect()
    await other.query('SELECT pg_advisory_lock(72707369)')
    const message = await failure(migrateUp({ ...options(table), runnerWaitMs: 300 }))
    expect(message).toMatch(/^Another migration is still running \(pid \d+ other\). Nothing was done./)
  })
})

describe('outside a transaction', () => {
  const unique = makeMigration(
    '20300102000000_unique',
    'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS b ON t (id);',
    'DROP INDEX CONCURRENTLY IF EXISTS b;',
  )

  it('half a migration can be finished', async () => {
    await migrateUp(options(table))
    await database.query('INSERT INTO t VALUES (1), (1)')
    const message = await failure(migrateUp(options(table, unique)))
    expect(message).toMatch(
      /line 1: could not create unique index "b"[\s\S]*counts as failed. Running it again is safe/,
    )
    expect(await journal()).toEqual([
      { name: table.name, finished: true },
      { name: unique.name, finished: false },
    ])
    expect(await dumpSchema(database.url)).toContain('INVALID')

    await database.query('DELETE FROM t')
    expect(await migrateUp(options(table, unique))).toHaveLength(1)
    expect(await dumpSchema(database.url)).not.toContain('INVALID')
    expect(await journal()).toEqual([
      { name: table.name, finished: true },
      { name: unique.name, finished: true },
    ])
  })

  it('or undone', async () => {
    await migrateUp(options(table))
    const before = await dumpSchema(database.url)
    await database.query('INSERT INTO t VALUES (1), (1)')
    await failure(migrateUp(options(table, unique)))
    await migrateDown(options(table, unique), newest)
    expect(await dumpSchema(database.url)).toBe(before)
    expect(await journal()).toHaveLength(1)
  })

  it('half an undoing counts as failed until it is finished', async () => {
    await migrateUp(options(table, unique))
    const wrong = { ...unique, down: 'DROP INDEX CONCURRENTLY IF EXISTS t;' }
    expect(await failure(migrateDown(options(table, wrong), newest))).toContain('"t" is not an index')
    expect(await journal()).toEqual([
      { name: table.name, finished: true },
      { name: unique.name, finished: false },
    ])
    expect(await failure(migrateUp(options(table, unique)))).toContain('is half undone. Finish that first')

    await migrateDown(options(table, unique), newest)
    expect(await journal()).toEqual([{ name: table.name, finished: true }])
    const runs = await database.query(
      `SELECT direction, finished_at IS NOT NULL AS finished FROM migration_history.runs ORDER BY id`,
    )
    expect(runs).toEqual([
      { direction: 'up', finished: true },
      { direction: 'down', finished: false },
      { direction: 'down', finished: true },
    ])
    expect(await migrateUp(options(table, unique))).toHaveLength(1)
  })
})

describe("a failure of Prisma's own", () => {
  const next = makeMigration('20300102000000_next', 'CREATE TABLE u ();', 'DROP TABLE u;')
  const begun = (logs: string | null) =>
    database.query(`INSERT INTO _prisma_migrations (id, checksum, migration_name, logs) VALUES ('x', $1, $2, $3)`, [
      next.checksum,
      next.name,
      logs,
    ])

  it('that it recorded is tried again', async () => {
    await migrateUp(options(table))
    await begun('A migration failed to apply.')
    expect(await migrateUp(options(table, next))).toHaveLength(1)
    expect(await journal()).toEqual([
      { name: table.name, finished: true },
      { name: next.name, finished: true },
    ])
  })

  it('that it did not live to record is looked into first', async () => {
    await migrateUp(options(table))
    await begun(null)
    expect(await failure(migrateUp(options(table, next)))).toContain('`npm run db:drift` tells whether it was applied')
    const unfinished = async () => (await findDrift(options(table, next))).unfinished
    expect(await unfinished()).toEqual({ name: next.name, database: 'before' })
    await database.query('CREATE TABLE u ()')
    expect(await unfinished()).toEqual({ name: next.name, database: 'after' })
    await database.query('ALTER TABLE u ADD COLUMN a int')
    expect(await unfinished()).toEqual({ name: next.name, database: 'neither' })
  })
})

it('what one script sets for its session does not reach the next', async () => {
  const first = makeMigration(
    '1_a',
    `SET search_path TO ''; SET lock_timeout TO 1; CREATE TABLE public.a ();`,
    'DROP TABLE a',
  )
  const second = makeMigration('2_b', 'CREATE TABLE b ();', `SET search_path TO ''; DROP TABLE public.b`)
  expect(await migrateUp(options(first, second))).toHaveLength(2)
  expect(await migrateDown(options(first, second), (applied) => applied)).toHaveLength(2)
})
