import { afterEach, beforeEach, expect, it } from 'vitest'
import { formatDrift } from '../scripts/db/format-drift.ts'
import { findDrift } from '../src/migrations/drift.ts'
import { readMigrations } from '../src/migrations/folder.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { makeMigration } from './support/migrations.ts'

const migrations = await readMigrations('prisma/migrations')
let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase()
})
afterEach(() => database.drop())

const drift = (folder = migrations) => findDrift({ url: database.url, migrations: folder, say: () => {} })

it('there is none after a migration, and what is pending is not missed', async () => {
  const pending = makeMigration('20300101000000_later', 'CREATE TABLE later ();')
  expect(await drift([...migrations, pending])).toEqual({ differences: [], pending: [pending.name] })
})

/** What Prisma's own comparison cannot see, and what it can. */
const changes: [change: string, found: string][] = [
  ['ALTER TABLE orders DISABLE TRIGGER set_updated_at', 'trigger public.orders.set_updated_at'],
  ['DROP TRIGGER set_updated_at ON products', 'trigger public.products.set_updated_at'],
  [
    "CREATE OR REPLACE FUNCTION update_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    'function public.update_updated_at()',
  ],
  ['CREATE PROCEDURE p() LANGUAGE sql AS $$ $$', 'procedure public.p()'],
  ['CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)', 'aggregate public.total(integer)'],
  ['ALTER TABLE products DROP CONSTRAINT products_stock_check', 'constraint public.products.products_stock_check'],
  [
    'ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey; ALTER TABLE order_items ADD CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders NOT VALID',
    'constraint public.order_items.order_items_order_id_fkey',
  ],
  [
    'DROP INDEX idx_products_sku; CREATE UNIQUE INDEX idx_products_sku ON products (sku)',
    'index public.idx_products_sku',
  ],
  ['CREATE INDEX by_lower_name ON users (lower(full_name))', 'index public.by_lower_name'],
  ["ALTER TABLE users ALTER role SET DEFAULT 'admin'", 'column public.users.role'],
  ['ALTER TABLE users ALTER full_name TYPE varchar(100) COLLATE "C"', 'column public.users.full_name'],
  ['ALTER TABLE products ALTER description TYPE text', 'column public.products.description'],
  [
    'ALTER TABLE idempotency_keys ALTER response_body SET STORAGE EXTERNAL',
    'column public.idempotency_keys.response_body',
  ],
  ["CREATE TYPE mood AS ENUM ('ok')", 'type public.mood'],
  ['CREATE DOMAIN small AS int CHECK (VALUE < 5)', 'domain public.small'],
  ['', 'constraint public.small.small_check'],
  ['GRANT SELECT ON orders TO pg_monitor', 'table public.orders'],
  ['GRANT UPDATE (stock) ON products TO pg_monitor', 'column public.products.stock'],
  ['REVOKE EXECUTE ON PROCEDURE p FROM PUBLIC; GRANT CREATE ON SCHEMA public TO pg_monitor', ''],
  [
    'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor',
    'default privileges postgres r public',
  ],
  ['ALTER TABLE login_failures ENABLE ROW LEVEL SECURITY', 'table public.login_failures'],
  ['CREATE POLICY mine ON login_failures USING (failures > 1)', 'policy public.login_failures.mine'],
  ['CREATE SEQUENCE counter CYCLE', 'sequence public.counter'],
  ['CREATE RULE quiet AS ON DELETE TO order_items DO INSTEAD NOTHING', 'rule public.order_items.quiet'],
  ["COMMENT ON COLUMN users.email IS 'lower case'", 'comment table column public.users.email'],
  ['CREATE STATISTICS together ON user_id, status FROM orders', 'statistics public.together'],
  ["CREATE COLLATION posix (locale = 'C')", 'collation public.posix'],
  ['CREATE SCHEMA audit', 'schema audit'],
  ['CREATE EVENT TRIGGER guard ON ddl_command_end EXECUTE FUNCTION audit_guard()', 'event trigger guard'],
]

it('whatever was changed by hand is found, and nothing else', async () => {
  for (const [change] of changes) {
    if (change.includes('audit_guard')) {
      await database.query("CREATE FUNCTION audit_guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    }
    if (change !== '') await database.query(change)
  }
  const found = (await drift()).differences.map(({ kind, name }) => `${kind} ${name}`)
  const expected = [...changes.map(([, difference]) => difference), 'function public.audit_guard()']
  expect(found).toEqual(expected.filter((difference) => difference !== '').sort())
})

it('a difference is shown from both sides', async () => {
  await database.query("ALTER TABLE orders ALTER status SET DEFAULT 'fulfilled'")
  const { text, clean } = formatDrift(await drift())
  expect(clean).toBe(false)
  expect(text).toContain(`column public.orders.status
  - 3: character varying(20) NOT NULL default 'placed'::character varying
  + 3: character varying(20) NOT NULL default 'fulfilled'::character varying`)
})

it('is told from a revision that does not have what was applied', async () => {
  await expect(drift(migrations.slice(0, -1))).rejects.toThrow(
    /login_failures is applied but not in prisma\/migrations/,
  )
})

it('the database to compare with is removed, also one that a killed run left behind', async () => {
  const old = `migration_shadow_${Math.floor(Date.now() / 1000) - 7200}_${database.url.slice(-8)}`
  await database.query(`CREATE DATABASE ${old}`)
  await drift()
  expect(await database.query('SELECT FROM pg_database WHERE datname = $1', [old])).toEqual([])
})

it('needs the permission to create a database, and says so', async () => {
  const role = `reader_${database.url.slice(-12)}`
  await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'p'; GRANT SELECT ON _prisma_migrations TO ${role}`)
  const url = Object.assign(new URL(database.url), { username: role, password: 'p' }).href
  await expect(findDrift({ url, migrations, say: () => {} })).rejects.toThrow('Use the URL of a role with CREATEDB.')
  await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
})
