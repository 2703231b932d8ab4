import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { createLog } from '../src/log.ts'
import { createMaintenanceApp } from '../src/maintenance/app.ts'
import { runMaintenance } from '../src/maintenance/service.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const SECRET = 'the-secret-of-the-cron-jobs'
const USER = '00000000-0000-0000-0000-0000000000aa'

let testDatabase: TestDatabase
let database: Database

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  database = new Database(readConfig(testDatabase.environment).database)
  await testDatabase.query(
    `INSERT INTO users (id, email, password_hash, full_name) VALUES ($1, 'owner@test.local', 'none', 'Owner')`,
    [USER],
  )
})

afterAll(async () => {
  await database.close()
  await testDatabase.drop()
})

beforeEach(() => testDatabase.query('TRUNCATE idempotency_keys, login_failures'))

async function addKeys(name: string, age: string, count: number): Promise<void> {
  await testDatabase.query(
    `INSERT INTO idempotency_keys (user_id, key, request_hash, created_at)
     SELECT $1, $2 || n, repeat('0', 64), now() - $3::interval FROM generate_series(1, $4::int) n`,
    [USER, name, age, count],
  )
}

async function addFailures(age: string, count: number): Promise<void> {
  await testDatabase.query(
    `INSERT INTO login_failures (email_hash, failures, window_started_at)
     SELECT encode(sha256(($1 || n)::bytea), 'hex'), 1, now() - $1::interval FROM generate_series(1, $2::int) n`,
    [age, count],
  )
}

async function countLeft(): Promise<unknown> {
  const [row] = await testDatabase.query(
    `SELECT (SELECT count(*)::int FROM idempotency_keys) AS keys, (SELECT count(*)::int FROM login_failures) AS failures`,
  )
  return row
}

function knock(authorization?: string, settings: Record<string, string> = { CRON_SECRET: SECRET }, method = 'GET') {
  const config = readConfig({ ...testDatabase.environment, ...settings })
  return createMaintenanceApp(config, database, createLog('silent')).request('/cron/maintenance', {
    method,
    headers: authorization === undefined ? {} : { Authorization: authorization },
  })
}

test('deletes what is older than a day, in as many batches as it takes, and says how much', async () => {
  await addKeys('old-', '24 hours 1 minute', 2345)
  await addKeys('young-', '23 hours 59 minutes', 3)
  await addFailures('25 hours', 1001)
  await addFailures('1 minute', 2)

  const response = await knock(`Bearer ${SECRET}`)

  expect(response.status).toBe(200)
  expect(response.headers.get('Cache-Control')).toBe('no-store')
  expect(await response.json()).toEqual({
    idempotencyKeys: { deleted: 2345, more: false },
    loginFailures: { deleted: 1001, more: false },
  })
  expect(await countLeft()).toEqual({ keys: 3, failures: 2 })
})

test('has nothing to do the second time', async () => {
  await addKeys('old-', '2 days', 5)
  await knock(`Bearer ${SECRET}`)
  expect(await (await knock(`Bearer ${SECRET}`)).json()).toEqual({
    idempotencyKeys: { deleted: 0, more: false },
    loginFailures: { deleted: 0, more: false },
  })
})

test('four runs at once share the work and delete each row once', async () => {
  await addKeys('old-', '2 days', 6000)
  await addKeys('young-', '1 hour', 10)
  const runs = await Promise.all([1, 2, 3, 4].map(() => runMaintenance(database, 5000)))
  expect(runs.reduce((sum, run) => sum + run.idempotencyKeys.deleted, 0)).toBe(6000)
  expect(await countLeft()).toEqual({ keys: 10, failures: 0 })
})

test('does not wait for a row that somebody holds: the next run takes it', async () => {
  await addKeys('old-', '2 days', 3)
  await testDatabase.query('BEGIN')
  try {
    await testDatabase.query(`SELECT 1 FROM idempotency_keys WHERE key = 'old-1' FOR UPDATE`)
    expect((await runMaintenance(database, 5000)).idempotencyKeys).toEqual({ deleted: 2, more: false })
  } finally {
    await testDatabase.query('ROLLBACK')
  }
  expect((await runMaintenance(database, 5000)).idempotencyKeys).toEqual({ deleted: 1, more: false })
})

test('stops when its time is up, and says that there is more', async () => {
  await addKeys('old-', '2 days', 1)
  expect((await runMaintenance(database, 0)).idempotencyKeys).toEqual({ deleted: 0, more: true })
  expect(await countLeft()).toEqual({ keys: 1, failures: 0 })
})

test.for([
  ['no header', undefined],
  ['a wrong secret', 'Bearer the-secret-of-the-cron-jobz'],
  ['a part of the secret', 'Bearer the-secret'],
  ['more than the secret', `Bearer ${SECRET}x`],
  ['another scheme', `Basic ${SECRET}`],
  ['no secret after the scheme', 'Bearer '],
])('refuses %s, and deletes nothing', async ([, authorization]) => {
  await addKeys('old-', '2 days', 1)
  const response = await knock(authorization)
  expect(response.status).toBe(401)
  expect(response.headers.get('WWW-Authenticate')).toBe('Bearer')
  expect(response.headers.get('Content-Type')).toBe('application/problem+json')
  expect(await response.json()).toMatchObject({ code: 'unauthenticated', status: 401 })
  expect(await countLeft()).toEqual({ keys: 1, failures: 0 })
})

test.for(['Bearer undefined', 'Bearer ', `Bearer ${SECRET}`])(
  'refuses everybody while no secret is set: %s',
  async (authorization) => {
    expect((await knock(authorization, {})).status).toBe(401)
  },
)

test('answers problems like the API', async () => {
  const wrongMethod = await knock(`Bearer ${SECRET}`, undefined, 'POST')
  expect(wrongMethod.status).toBe(405)
  expect(wrongMethod.headers.get('Allow')).toContain('GET')
  expect(await wrongMethod.json()).toMatchObject({ code: 'method_not_allowed' })
})
