import { afterEach, describe, expect, it } from 'vitest'
import { printScripts } from '../scripts/db/print-scripts.ts'
import { readMigrations } from '../src/migrations/folder.ts'
import { migrateDown, migrateUp } from '../src/migrations/migrate.ts'
import { planMigration } from '../src/migrations/plan.ts'
import { resetDatabase } from '../src/migrations/reset.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { dumpSchema } from './support/migrations.ts'

const migrations = await readMigrations('prisma/migrations')
const names = migrations.map(({ name }) => name)
const say = () => {}
const all = (applied: readonly string[]) => applied
const newest = (applied: readonly string[]) => applied.slice(-1)

let database: TestDatabase
afterEach(() => database.drop())

const namesOf = (done: readonly { name: string }[]) => done.map(({ name }) => name)

const journal = () =>
  database.query(
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS finished, applied_steps_count AS steps, logs
     FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY migration_name`,
  )

describe('the migrations of this project', () => {
  it('go up, down and up again to the same schema, byte for byte, and back to an empty one', async () => {
    database = await createTestDatabase({ migrated: false })
    const options = { url: database.url, migrations, say }
    const empty = await dumpSchema(database.url)
    await migrateUp(options)
    const first = await dumpSchema(database.url)
    expect(first).toContain('trigger public.users.set_updated_at')

    await migrateDown(options, all)
    expect(await dumpSchema(database.url)).toBe(empty)
    expect(await journal()).toEqual([])

    await migrateUp(options)
    expect(await dumpSchema(database.url)).toBe(first)
  })

  it('each go down and up again by themselves with data in the tables, and keep what is not theirs', async () => {
    database = await createTestDatabase({ migrated: false })
    const options = { url: database.url, migrations, say }
    const before: string[] = []
    for (const { name } of migrations) {
      before.push(await dumpSchema(database.url))
      await migrateUp(options, [name])
      await addRows()
    }
    const users = await database.query('SELECT * FROM users')
    expect(users).not.toEqual([])
    for (const [index, { name }] of [...migrations.entries()].reverse()) {
      const full = await dumpSchema(database.url)
      expect(namesOf(await migrateDown(options, newest))).toEqual([name])
      expect(namesOf(await migrateUp(options, [name]))).toEqual([name])
      expect(await dumpSchema(database.url), name).toBe(full)
      await addRows()
      expect(namesOf(await migrateDown(options, newest))).toEqual([name])
      expect(await dumpSchema(database.url), name).toBe(before[index])
      if (index > 0) expect(await database.query('SELECT * FROM users')).toEqual(users)
    }
  })

  it('are accepted where Prisma applied them, and undone there', async () => {
    database = await createTestDatabase()
    const options = { url: database.url, migrations, say }
    expect(await migrateUp(options)).toEqual([])
    const byPrisma = await dumpSchema(database.url)
    const rows = await journal()

    await migrateDown(options, all)
    await migrateUp(options)
    expect(await dumpSchema(database.url)).toBe(byPrisma)
    expect(await journal()).toEqual(rows)
  })

  it('are kept in a journal that is like the one Prisma makes', async () => {
    const columns = `SELECT column_name, data_type, character_maximum_length, is_nullable, column_default
      FROM information_schema.columns WHERE table_name = '_prisma_migrations' ORDER BY ordinal_position`
    const prismas = await createTestDatabase()
    const expected = await prismas.query(columns)
    await prismas.drop()
    database = await createTestDatabase({ migrated: false })
    await migrateUp({ url: database.url, migrations, say })
    expect(await database.query(columns)).toEqual(expected)
    expect(expected).toHaveLength(8)
  })

  it('leave a history of what went which way, when, and for how long', async () => {
    database = await createTestDatabase({ migrated: false })
    const options = { url: database.url, migrations, say }
    await migrateUp(options)
    await migrateDown(options, newest)
    const runs = await database.query(
      `SELECT migration_name, direction, checksum, finished_at >= started_at AS timed FROM migration_history.runs ORDER BY id`,
    )
    const name = names.at(-1)
    const checksum = expect.stringMatching(/^[0-9a-f]{64}$/)
    expect(runs).toEqual([
      { migration_name: name, direction: 'up', checksum: migrations.at(-1)?.checksum, timed: true },
      { migration_name: name, direction: 'down', checksum, timed: true },
    ])
  })

  it('are printed as a script that does what running them does', async () => {
    database = await createTestDatabase({ migrated: false })
    const empty = await dumpSchema(database.url)
    const up = await Promise.all(migrations.map((migration) => planMigration(migration, 'up')))
    await database.query(printScripts(up, 'up'))
    const options = { url: database.url, migrations, say }
    expect(await migrateUp(options)).toEqual([])
    const printed = await dumpSchema(database.url)
    await resetDatabase(options)
    expect(await dumpSchema(database.url)).toBe(printed)

    const down = await Promise.all([...migrations].reverse().map((migration) => planMigration(migration, 'down')))
    await database.query(printScripts(down, 'down'))
    expect(await dumpSchema(database.url)).toBe(empty)
    expect(await journal()).toEqual([])
  })
})

describe('reset', () => {
  it('removes whatever is there, and keeps what an administrator granted', async () => {
    database = await createTestDatabase()
    await database.query('REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO pg_monitor')
    await database.query('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor')
    const expected = (await dumpSchema(database.url)).split('\n').filter((line) => /^default privileges/.test(line))
    await database.query(`CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN tiny AS int CHECK (VALUE < 5);
      CREATE TABLE moods (mood mood, tiny tiny); CREATE VIEW v AS SELECT * FROM moods; CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
      CREATE SEQUENCE s; CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * a'; CREATE PROCEDURE p() LANGUAGE sql AS '';
      CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int); CREATE COLLATION c (locale = 'C'); CREATE STATISTICS st ON mood, tiny FROM moods`)
    await database.query('DROP TABLE order_items')

    await resetDatabase({ url: database.url, migrations, say })
    const dump = (await dumpSchema(database.url)).split('\n')
    expect(dump.filter((line) => /public\.(moods?|tiny|v|m|s|twice|p|total|c|st)\b/.test(line))).toEqual([])
    expect(dump.filter((line) => /^default privileges/.test(line))).toEqual(expected)
    expect(dump.some((line) => /^table public.order_items/.test(line))).toBe(true)
    const [schema] = await database.query(`SELECT nspacl::text AS acl FROM pg_namespace WHERE nspname = 'public'`)
    expect(schema?.['acl']).toContain('pg_monitor=U/')
    const [reset] = await database.query(
      `SELECT count(*)::int AS runs FROM migration_history.runs WHERE direction = 'reset'`,
    )
    expect(reset).toEqual({ runs: migrations.length })
  })
})

/** One row wherever there is a table for it; what is there already stays. */
async function addRows(): Promise<void> {
  const statements = [
    `INSERT INTO users (id, email, password_hash, full_name) VALUES ('00000000-0000-0000-0000-000000000001', 'a@b.test', 'none', 'A')`,
    `INSERT INTO products (id, sku, name, price_cents) VALUES ('00000000-0000-0000-0000-000000000002', 'S', 'N', 1)`,
    `INSERT INTO orders (id, user_id, total_cents) VALUES ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000001', 1)`,
    `INSERT INTO order_items VALUES ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000002', 'S', 'N', 1, 1)`,
    `INSERT INTO idempotency_keys (user_id, key, request_hash) VALUES ('00000000-0000-0000-0000-000000000001', 'k', repeat('0', 64))`,
    `INSERT INTO login_failures (email_hash, failures) VALUES (repeat('0', 64), 1)`,
  ]
  for (const statement of statements) {
    const [table] = await database.query('SELECT to_regclass($1) IS NOT NULL AS there', [
      /INTO (\w+)/.exec(statement)?.[1],
    ])
    if (table?.['there'] === true) await database.query(`${statement} ON CONFLICT DO NOTHING`)
  }
}
