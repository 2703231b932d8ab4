import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type Checkout, createCheckout } from './support/checkout.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

// What Prisma's CLI says and leaves behind when something is wrong.

vi.setConfig({ testTimeout: 120_000 })

const DIFF = ['migrate', 'diff', '--from-migrations', 'prisma/migrations', '--to-schema', 'prisma/schema.prisma']

let checkout: Checkout
let database: TestDatabase
/** A role of this file alone: the shadow databases it owns are ours. */
const role = `migrator_${randomBytes(4).toString('hex')}`

beforeAll(async () => {
  checkout = createCheckout()
  database = await createTestDatabase({ migrated: false })
  await database.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'right'`)
})
afterAll(async () => {
  checkout.dispose()
  await database.drop()
  const admin = await createTestDatabase({ migrated: false })
  await admin.query(`DROP ROLE ${role}`)
  await admin.drop()
})

/** The database's URL, with parts of it replaced. */
const urlWith = (
  change: Partial<Pick<URL, 'username' | 'password' | 'port' | 'hostname' | 'pathname' | 'search'>> = {},
) => Object.assign(new URL(database.url), { username: role, password: 'right' }, change).href

const prisma = (args: string[], url = urlWith()) => checkout.prisma(args, { env: { DATABASE_URL: url } })

const shadowDatabases = async () =>
  (
    await database.query(
      `SELECT datname FROM pg_database WHERE datname LIKE 'prisma_migrate_shadow_db_%' AND pg_get_userbyid(datdba) = $1`,
      [role],
    )
  ).length

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(50)
}

const BAD = 'prisma/migrations/20260601000000_bad/migration.sql'
async function withBadMigration(sql: string, work: () => Promise<void>): Promise<void> {
  checkout.write(BAD, sql)
  try {
    await work()
  } finally {
    checkout.remove('prisma/migrations/20260601000000_bad')
  }
}

test.each([
  ['P1000', 'a wrong password', () => urlWith({ password: 'wrong' }), `credentials for \`${role}\` are not valid`],
  ['P1001', 'an unreachable server', () => urlWith({ port: '9' }), "Can't reach database server at `127.0.0.1:9`"],
  [
    'P1001',
    'an unknown host',
    () => urlWith({ hostname: 'db.invalid' }),
    "Can't reach database server at `db.invalid:",
  ],
  ['P1003', 'a missing database', () => urlWith({ pathname: 'missing' }), 'Database `missing` does not exist'],
  ['P1011', 'a server without TLS', () => urlWith({ search: 'sslmode=require' }), 'Error opening a TLS connection'],
  ['P1013', 'no PostgreSQL URL', () => 'mysql://root@127.0.0.1/app', 'The database URL must begin with postgresql://'],
])('%s for %s', async (code, _case, url, message) => {
  const { code: exit, stderr, stdout } = await prisma(['migrate', 'status'], url())
  expect(stdout + stderr).toContain(`Error: ${code}: `)
  expect(stdout + stderr).toContain(message)
  expect(exit).toBe(1)
})

test('P1010 for a database that the user may not enter', async () => {
  const guest = `guest_${randomBytes(4).toString('hex')}`
  await database.query(`CREATE ROLE ${guest} LOGIN PASSWORD 'right'`)
  await database.query(`REVOKE CONNECT ON DATABASE ${new URL(database.url).pathname.slice(1)} FROM public`)
  const { stderr, stdout } = await prisma(['migrate', 'status'], urlWith({ username: guest }))
  expect(stdout + stderr).toMatch(/Error: P1010: User was denied access on the database `test_\w+`/)
  await database.query(`DROP ROLE ${guest}`)
})

test.each([
  ['migrate deploy', ['migrate', 'deploy']],
  ['migrate diff', ['migrate', 'diff', '--from-config-datasource', '--to-empty']],
  ['db execute', ['db', 'execute', '--stdin']],
])('%s refuses a pooler in one sentence', async (_name, args) => {
  const { code, stdout, stderr } = await prisma(
    args,
    'postgresql://u:p@ep-quiet-sun-1-pooler.eu-central-1.aws.neon.tech/app',
  )
  expect((stdout + stderr).replaceAll(/\s+/g, ' ')).toMatch(
    /Error: P1013:? ep-quiet-sun-1-pooler\.eu-central-1\.aws\.neon\.tech is a pooler, which keeps no session: set DATABASE_URL_UNPOOLED to the direct URL, the same without "-pooler"\. $/,
  )
  expect(code).toBe(1)
})

test('migrations go to DATABASE_URL_UNPOOLED where there is one, else to the running `npm run dev`', async () => {
  const pooled = 'postgresql://u:p@ep-quiet-sun-1-pooler.eu-central-1.aws.neon.tech/app'
  const both = { DATABASE_URL: pooled, DATABASE_URL_UNPOOLED: urlWith() }
  expect((await checkout.prisma(['migrate', 'status'], { env: both })).stdout).toContain('have not yet been applied')

  const none = await checkout.prisma(['migrate', 'status'])
  expect(none.stderr).toContain(
    'There is no database to use: set DATABASE_URL, or run `npm run dev` in another terminal.',
  )
  expect(none.code).toBe(1)
  checkout.write('.env', 'LOCAL_DATA_DIR=elsewhere\n')
  checkout.write('elsewhere/database-url', urlWith())
  expect((await checkout.prisma(['migrate', 'status'])).stdout).toContain('have not yet been applied')
  checkout.remove('.env')
})

test('a migration that fails is P3018 with its place, changes nothing, and can be resolved', async () => {
  const url = urlWith({ pathname: `resolve_${role}` })
  const sql = 'CREATE TABLE first ();\n\n-- not there:\nALTER TABLE nowhere\n  ADD COLUMN a integer;\n'
  await withBadMigration(sql, async () => {
    const failed = await prisma(['migrate', 'deploy'], url)
    expect(failed.code).toBe(1)
    expect(failed.stdout).toContain(`PostgreSQL database resolve_${role} created at`)
    expect(failed.stderr).toContain('Error: P3018')
    expect(failed.stderr).toContain(
      'Migration name: 20260601000000_bad\n\nDatabase error code: 42P01\n\nDatabase error:\nERROR: relation "nowhere" does not exist\n',
    )
    expect(failed.stderr).toContain(
      'DbError { severity: "ERROR", parsed_severity: Some(Error), code: SqlState(E42P01), ',
    )

    const next = await prisma(['migrate', 'deploy'], url)
    expect(next.stderr).toMatch(/Error: P3009\s+migrate found failed migrations in the target database/)
    expect(next.stderr).toMatch(/The `20260601000000_bad` migration started at 20\d\d-.* UTC failed/)
    const resolved = await prisma(['migrate', 'resolve', '--rolled-back', '20260601000000_bad'], url)
    expect(resolved.stdout).toContain('Migration 20260601000000_bad marked as rolled back.')
  })
  // The script was one transaction: its first statement has left nothing either.
  await withBadMigration('CREATE TABLE first ();', async () => {
    const { stdout, code } = await prisma(['migrate', 'deploy'], url)
    expect(stdout).toContain('20260601000000_bad')
    expect(code).toBe(0)
  })
  await database.query(`DROP DATABASE resolve_${role} WITH (FORCE)`)
})

test('the place of an error counts lines', async () => {
  await withBadMigration('SELECT 1;\n\nSELEC 2;\n', async () => {
    const { stderr } = await prisma(DIFF)
    expect(stderr).toMatch(/Position:\n.* {2}1.* SELECT 1;\n.* {2}2.*\n.* {2}3.* SELEC 2;/)
  })
})

test('a migration with CREATE INDEX CONCURRENTLY, and two deploys at once', async () => {
  await withBadMigration('CREATE INDEX CONCURRENTLY later ON users (full_name);', async () => {
    const deploys = await Promise.all([prisma(['migrate', 'deploy']), prisma(['migrate', 'deploy'])])
    expect(deploys.map(({ code, stderr }) => ({ code, stderr: stderr.match(/Error:.*/)?.[0] }))).toEqual([
      { code: 0 },
      { code: 0 },
    ])
    const said = deploys.map(({ stdout }) => /All migrations have been|No pending migrations/.exec(stdout)?.[0])
    expect(said.sort()).toEqual(['All migrations have been', 'No pending migrations'])
  })
  const names = await database.query('SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL')
  expect(names).toHaveLength(new Set(names.map((row) => row['migration_name'])).size)
  expect(await database.query(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'later'::regclass`)).toEqual([
    { indisvalid: true },
  ])
})

test('P1002 when somebody else keeps the advisory lock, unless it is disabled', async () => {
  await database.query('SELECT pg_advisory_lock(72707369)')
  const blocked = await prisma(['migrate', 'deploy'])
  expect(blocked.stderr).toMatch(/Error: P1002\s+The database server was reached but timed out/)
  expect(blocked.stderr).toContain('SELECT pg_advisory_lock(72707369)')
  const env = { DATABASE_URL: urlWith(), PRISMA_SCHEMA_DISABLE_ADVISORY_LOCK: '1' }
  expect(await checkout.prisma(['migrate', 'deploy'], { env })).toMatchObject({ code: 0 })
  await database.query('SELECT pg_advisory_unlock(72707369)')
})

test('the shadow database is another one, and gone after success and after failure', async () => {
  // Would collide with the migrations' own tables if they were replayed here.
  await withBadMigration('CREATE TABLE shadow_of AS SELECT current_database() AS name;', async () => {
    expect((await prisma(DIFF)).code).toBe(0)
  })
  expect(await database.query(`SELECT to_regclass('shadow_of') AS found`)).toEqual([{ found: null }])
  expect(await shadowDatabases()).toBe(0)

  await withBadMigration('SELECT 1 / 0;', async () => {
    const { code, stderr } = await prisma(DIFF)
    expect(stderr).toMatch(
      /Error: P3006\s+Migration `20260601000000_bad` failed to apply cleanly to the shadow database\. \nError code: P3018\n/,
    )
    expect(stderr).toContain('ERROR: division by zero')
    expect(code).toBe(1)
  })
  expect(await shadowDatabases()).toBe(0)
})

test.each([
  ['Ctrl-C', 'SIGINT', 'group'],
  ['SIGTERM', 'SIGTERM', 'group'],
  ['the death of the CLI', 'SIGKILL', 'cli'],
] as const)('the shadow database is gone after %s in the middle', async (_name, signal, target) => {
  await withBadMigration('SELECT pg_sleep(5);', async () => {
    let pid = 0
    const finished = checkout.prisma(DIFF, { env: { DATABASE_URL: urlWith() }, started: (started) => (pid = started) })
    await until(async () => (await shadowDatabases()) === 1)
    process.kill(target === 'group' ? -pid : pid, signal)
    await finished
    await until(async () => (await shadowDatabases()) === 0)
  })
})

test('P3014 when the shadow database cannot be created', async () => {
  const weak = `weak_${randomBytes(4).toString('hex')}`
  await database.query(`CREATE ROLE ${weak} LOGIN PASSWORD 'right'`)
  await database.query(`GRANT CONNECT ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${weak}`)
  const { stderr } = await prisma(DIFF, urlWith({ username: weak }))
  expect(stderr).toMatch(/Error: P3014\s+Prisma Migrate could not create the shadow database/)
  expect(stderr).toContain('ERROR: permission denied to create database')
  await database.query(`DROP OWNED BY ${weak}`)
  await database.query(`DROP ROLE ${weak}`)
})

test("a shadow database of the user's own is emptied and kept, and may not be the main one", async () => {
  const own = await createTestDatabase({ migrated: false })
  await own.query('CREATE TABLE users ()')
  const config = (shadowDatabaseUrl: string) =>
    checkout.write(
      'shadow.config.ts',
      `import config from './prisma.config.ts'\nexport default { ...config, datasource: { ...config.datasource, shadowDatabaseUrl: '${shadowDatabaseUrl}' } }\n`,
    )
  config(own.url)
  const replayed = await prisma([...DIFF, '--config', 'shadow.config.ts', '--exit-code'])
  expect(replayed.stdout).toContain('No difference detected.')
  expect(replayed.code).toBe(0)
  expect(await own.query('SELECT email FROM users')).toEqual([])

  config(urlWith({ search: 'connect_timeout=5' }))
  const refused = await prisma([...DIFF, '--config', 'shadow.config.ts'])
  expect(refused.stderr).toContain('The shadow database you configured appears to be the same as the main database.')
  expect(refused.code).toBe(1)
  await own.drop()
})
