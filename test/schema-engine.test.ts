import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type Checkout, createCheckout, prismaCli } from './support/checkout.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

// Every command of Prisma's CLI that README and Prisma's documentation promise, as a user types it.

// Each command starts three or four processes, and a busy machine takes its time.
vi.setConfig({ testTimeout: 120_000 })

const MIGRATIONS_TO_SCHEMA = ['--from-migrations', 'prisma/migrations', '--to-schema', 'prisma/schema.prisma']
let checkout: Checkout
let database: TestDatabase
/** The settings of a project that has a database. */
let env: Record<string, string>

beforeAll(async () => {
  checkout = createCheckout()
  database = await createTestDatabase({ migrated: false })
  env = { DATABASE_URL: database.url }
})
afterAll(async () => {
  checkout.dispose()
  await database.drop()
})

const tables = async () =>
  (await database.query(`SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)).map(
    (row) => row['tablename'],
  )

/** `script` gives a program a terminal of its own. */
const inTerminal = (args: string[], url: string, answers: [string, string][] = []) => {
  const command = [process.execPath, prismaCli, ...args]
  const scriptArgs =
    process.platform === 'darwin' ? ['-q', '/dev/null', ...command] : ['-qec', command.join(' '), '/dev/null']
  return checkout.run('script', scriptArgs, { env: { DATABASE_URL: url, TERM: 'xterm' }, answers })
}

test('generate and validate need no database, no settings and no network', async () => {
  const generated = await checkout.prisma(['generate'])
  expect(generated).toMatchObject({ code: 0 })
  expect(generated.stdout).toContain('Generated Prisma Client')
  const validated = await checkout.prisma(['validate'])
  expect(validated).toMatchObject({ code: 0 })
  expect(validated.stdout).toContain('The schema at prisma/schema.prisma is valid')
})

test('--version names the engine that comes with the CLI', async () => {
  const { code, stdout } = await checkout.prisma(['--version'])
  expect(code).toBe(0)
  const engine = /Schema Engine +: schema-engine-cli (\w+) .*scripts\/schema-engine.mjs/.exec(stdout)?.[1]
  expect(engine).toHaveLength(40)
  expect(stdout).toContain(`Default Engines Hash : ${engine}`)
})

test('migrate status, deploy, status, deploy: from nothing to up to date', async () => {
  const entries = readdirSync(join(checkout.directory, 'prisma/migrations'), { withFileTypes: true })
  const folders = entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
  const before = await checkout.prisma(['migrate', 'status'], { env })
  expect(before.code).toBe(1)
  expect(before.stdout).toContain(`Following migrations have not yet been applied:\n${folders.join('\n')}\n`)
  expect(await tables()).toEqual([])

  const deployed = await checkout.prisma(['migrate', 'deploy'], { env })
  expect(deployed).toMatchObject({ code: 0 })
  expect(deployed.stdout).toContain(
    `The following migration(s) have been applied:\n\nmigrations/\n${folders.map((name) => `  └─ ${name}/\n    └─ migration.sql\n`).join('')}`,
  )
  expect(deployed.stdout).toContain('All migrations have been successfully applied.')
  expect(await tables()).toEqual([
    '_prisma_migrations',
    'idempotency_keys',
    'login_failures',
    'order_items',
    'orders',
    'products',
    'users',
  ])

  const after = await checkout.prisma(['migrate', 'status'], { env })
  expect(after).toMatchObject({ code: 0 })
  expect(after.stdout).toContain(
    `${folders.length} migrations found in prisma/migrations\n\nDatabase schema is up to date!`,
  )

  const again = await checkout.prisma(['migrate', 'deploy'], { env })
  expect(again).toMatchObject({ code: 0 })
  expect(again.stdout).toContain('No pending migrations to apply.')
})

test('migrations, schema and migrated database are the same to migrate diff', async () => {
  const sides = [MIGRATIONS_TO_SCHEMA, ['--from-config-datasource', '--to-schema', 'prisma/schema.prisma']]
  for (const side of sides) {
    const { code, stdout } = await checkout.prisma(['migrate', 'diff', ...side, '--exit-code'], { env })
    expect(code).toBe(0)
    expect(stdout.trim()).toBe('No difference detected.')
  }
})

test('migrate diff writes a change as SQL, and compares files without a database', async () => {
  const model = (fields: string) =>
    `datasource db {\n  provider = "postgresql"\n}\nmodel Tag {\n  id Int @id\n${fields}}\n`
  checkout.write('before.prisma', model(''))
  checkout.write('after.prisma', model('  label String?\n'))
  const args = ['migrate', 'diff', '--from-schema', 'before.prisma', '--to-schema', 'after.prisma']
  expect(await checkout.prisma([...args, '--script', '--exit-code'])).toMatchObject({
    code: 2,
    stdout: expect.stringContaining('-- AlterTable\nALTER TABLE "Tag" ADD COLUMN     "label" TEXT;\n'),
  })
  // A server that is down is not asked either.
  const unreachable = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:9/none' }
  expect(await checkout.prisma(args, { env: unreachable })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('[*] Changed the `Tag` table\n  [+] Added column `label`\n'),
  })
})

test('db execute runs a script with function bodies as one', async () => {
  const stdin = `CREATE FUNCTION half(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN n / 2; END; $$;
    COMMENT ON FUNCTION half IS 'a;b';`
  const { code, stdout } = await checkout.prisma(['db', 'execute', '--stdin'], { env, stdin })
  expect(stdout).toContain('Script executed successfully.')
  expect(code).toBe(0)
  expect(await database.query('SELECT half(9)')).toEqual([{ half: 4 }])
})

test('db pull reads the whole schema back', async () => {
  const { code, stdout } = await checkout.prisma(['db', 'pull', '--print'], { env })
  expect(code).toBe(0)
  const models = stdout.match(/(?<=^model )\w+/gm)
  expect(models?.sort()).toEqual(['IdempotencyKey', 'LoginFailure', 'Order', 'OrderItem', 'Product', 'User'])
  expect(stdout).toContain('@unique(map: "idx_users_email", where: raw("(deleted_at IS NULL)"))')
})

test('db push makes the database what the schema says, and leaves it alone when it is', async () => {
  const same = await checkout.prisma(['db', 'push'], { env })
  expect(same.stdout).toContain('The database is already in sync with the Prisma schema.')
  expect(same.code).toBe(0)

  checkout.write('push.prisma', 'datasource db {\n  provider = "postgresql"\n}\nmodel Tag {\n  id Int @id\n}\n')
  const target = new URL(database.url)
  target.searchParams.set('schema', 'pushed')
  const { code, stdout } = await checkout.prisma(['db', 'push', '--schema', 'push.prisma'], {
    env: { DATABASE_URL: target.href },
  })
  expect(stdout).toContain('Your database is now in sync with your Prisma schema.')
  expect(code).toBe(0)
  expect(await database.query('SELECT * FROM pushed."Tag"')).toEqual([])
})

test('migrate reset starts over', async () => {
  await database.query('CREATE TABLE stray ()')
  const { code, stdout } = await checkout.prisma(['migrate', 'reset', '--force'], { env })
  expect(stdout).toContain('Database reset successful')
  expect(code).toBe(0)
  expect(await tables()).toContain('users')
  expect(await tables()).not.toContain('stray')
})

test('the engine runs from a copy without its executable bit', async () => {
  await checkout.run('chmod', ['a-x', 'scripts/schema-engine.mjs'])
  expect(await checkout.prisma(['migrate', 'status'], { env })).toMatchObject({ code: 0 })
})

test('migrate dev, in a terminal, applies what is pending and makes a migration of a change', async () => {
  const fresh = await createTestDatabase({ migrated: false })
  const schema = readFileSync(join(checkout.directory, 'prisma/schema.prisma'), 'utf8')
  checkout.write('prisma/schema.prisma', schema.replace('model LoginFailure {', 'model LoginFailure {\n  note String?'))
  const { code, stdout } = await inTerminal(['migrate', 'dev'], fresh.url, [['Enter a name', 'add note']])
  expect(stdout).toContain('The following migration(s) have been applied:')
  expect(stdout).toContain('The following migration(s) have been created and applied from new schema changes:')
  expect(stdout).toContain('Your database is now in sync with your schema.')
  expect(code).toBe(0)

  // No more than the change: the partial indexes are the same to it, and so it asks nothing the next time.
  const { stdout: made } = await checkout.run('sh', ['-c', 'cat prisma/migrations/*_add_note/migration.sql'])
  expect(made).toBe('-- AlterTable\nALTER TABLE "login_failures" ADD COLUMN     "note" TEXT;\n')
  expect(await fresh.query('SELECT note FROM login_failures')).toEqual([])
  const again = await inTerminal(['migrate', 'dev'], fresh.url)
  expect(again.stdout).toContain('Already in sync, no schema change or pending migration was found.')
  expect(again.code).toBe(0)
  await fresh.drop()
})
