import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Api, openApi } from '../support/api.ts'

let api: Api
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())

test('health tells the state of the database, the pool and the migrations', async () => {
  const answer = await api.call('/api/v1/health')
  expect(answer.status).toBe(200)
  expect(answer.json).toEqual({
    status: 'ok',
    database: { reachable: true, latencyMs: expect.any(Number), timeZone: 'UTC' },
    pool: {
      size: expect.any(Number),
      maxOverflow: expect.any(Number),
      open: expect.any(Number),
      checkedIn: expect.any(Number),
      checkedOut: expect.any(Number),
      overflow: expect.any(Number),
      waiting: 0,
      utilizationPercent: expect.any(Number),
      healthy: true,
    },
    migrations: { current: expect.stringMatching(/^\d{14}_/), applied: expect.any(Number), pending: [], modified: [] },
  })
  expect(answer.headers.get('Cache-Control')).toBe('no-store')
})

test('a migration that is pending or was modified makes it unavailable', async () => {
  const [newest] = await api.query('SELECT * FROM _prisma_migrations ORDER BY migration_name DESC LIMIT 1')
  const name = String(newest?.['migration_name'])
  const set = (column: string, value: unknown) =>
    api.query(`UPDATE _prisma_migrations SET ${column} = $1 WHERE migration_name = $2`, [value, name])
  try {
    await set('finished_at', null)
    const pending = await api.call('/api/v1/health')
    expect([pending.status, pending.json.status, pending.json.migrations.pending]).toEqual([503, 'unavailable', [name]])
    await set('finished_at', new Date())
    await set('checksum', '0')
    const modified = await api.call('/api/v1/health')
    expect([modified.status, modified.json.migrations.modified]).toEqual([503, [name]])
  } finally {
    await set('finished_at', newest?.['finished_at'])
    await set('checksum', newest?.['checksum'])
  }
  expect((await api.call('/api/v1/health')).status).toBe(200)
})

test('liveness is answered', async () => {
  const answer = await api.call('/api/v1/health/live')
  expect([answer.status, answer.json]).toEqual([200, { status: 'ok' }])
})
