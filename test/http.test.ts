import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DatabaseError } from '../src/db/errors.ts'
import { AppError } from '../src/errors.ts'
import type { AppEnv } from '../src/http/context.ts'
import { deadline } from '../src/http/deadline.ts'
import { errorsOnly } from '../src/http/errors-only.ts'
import { problemResponse } from '../src/http/problem.ts'
import { createLog } from '../src/log.ts'
import { boot } from '../src/runtime.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

describe('a handler', () => {
  const lines: string[] = []
  const log = createLog('info', (line) => lines.push(line))
  const app = new Hono<AppEnv>()
    .onError((error, c) => problemResponse(c, log, error))
    .use(deadline(100))
    .use(errorsOnly)
    .get('/event', () => {
      throw new Event('error')
    })
    .get('/text', () => {
      throw 'just text'
    })
    .get('/bug', () => {
      throw new Error('the secret is 42', { cause: new TypeError('deep') })
    })
    .get('/slow', async () => {
      await new Promise((resolve) => setTimeout(resolve, 5000))
      return new Response()
    })
    .get('/refusal', () => {
      throw new AppError('rate_limited', 'Slowly.', { retryAfterSeconds: 7, details: { limit: 3 } })
    })
    .get('/database/:kind', (c) => {
      throw new DatabaseError(c.req.param('kind') === 'unique' ? 'unique' : 'unavailable', 'host db.internal: SELECT 1')
    })

  test.each(['/event', '/text', '/bug'])(
    'that throws at %s answers with a problem that tells nothing',
    async (path) => {
      const response = await app.request(path)
      expect(response.status).toBe(500)
      expect(response.headers.get('Content-Type')).toBe('application/problem+json')
      const body = await response.text()
      expect(JSON.parse(body)).toMatchObject({ code: 'internal', detail: 'The request could not be served.' })
      expect(body).not.toMatch(/42|deep|stack|\.ts/)
      expect(lines.at(-1)).toContain('"level":"error"')
    },
  )

  test('has its error logged with its causes', async () => {
    await app.request('/bug')
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      error: { cause: { message: 'the secret is 42', cause: { message: 'deep' } } },
    })
  })

  test('is answered for at the deadline', async () => {
    const response = await app.request('/slow')
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '1'])
  })

  test('may give details and a time to come back', async () => {
    const response = await app.request('/refusal')
    expect([response.status, response.headers.get('Retry-After')]).toEqual([429, '7'])
    expect(await response.json()).toMatchObject({ code: 'rate_limited', detail: 'Slowly.', limit: 3 })
  })

  test.each([
    ['unique', 409, 'conflict'],
    ['unavailable', 503, 'unavailable'],
  ])('whose database error is %s answers %i %s, without its words', async (kind, status, code) => {
    const response = await app.request(`/database/${kind}`)
    expect(response.status).toBe(status)
    const body = await response.text()
    expect(JSON.parse(body).code).toBe(code)
    expect(body).not.toMatch(/db\.internal|SELECT/)
  })
})

describe('without a database', () => {
  let testDatabase: TestDatabase
  let blackHole: Server

  beforeAll(async () => {
    testDatabase = await createTestDatabase()
    // Accepts, and never says a word.
    blackHole = createServer().listen(0, '127.0.0.1')
    await once(blackHole, 'listening')
  })
  afterAll(async () => {
    blackHole.close()
    await testDatabase.drop()
  })

  const bootWith = (settings: Record<string, string>) => boot({ ...testDatabase.environment, ...settings }, [])

  test.each(['refuses', 'is silent'])(
    'that %s, health says so within 2 s, and orders are refused as unavailable',
    async (how) => {
      const address = blackHole.address()
      const port = how === 'refuses' ? 1 : typeof address === 'object' ? address?.port : undefined
      const { app, database } = await bootWith({ NEON_WS_PROXY: `127.0.0.1:${port}`, DATABASE_POOL_TIMEOUT_MS: '1000' })
      const started = performance.now()
      const health = await app.request('/api/v1/health')
      expect(performance.now() - started).toBeLessThan(2000)
      expect(health.status).toBe(503)
      expect(await health.json()).toMatchObject({ status: 'unavailable', database: { reachable: false } })
      expect((await app.request('/api/v1/health/live')).status).toBe(200)

      const products = await app.request('/api/v1/products')
      expect([products.status, products.headers.get('Retry-After')]).toEqual([503, '1'])
      expect(await products.json()).toMatchObject({ code: 'unavailable' })
      await database.close()
    },
  )

  test('free for it, health still reaches it: degraded, not unavailable', async () => {
    const { app, database } = await bootWith({ DATABASE_POOL_SIZE: '1', DATABASE_MAX_OVERFLOW: '1' })
    const busy = [1, 2].map(() => database.client.$queryRaw`SELECT 1 AS one FROM pg_sleep(1)`.then())
    await new Promise((resolve) => setTimeout(resolve, 300))
    const health = await app.request('/api/v1/health')
    expect(health.status).toBe(200)
    expect(await health.json()).toMatchObject({
      status: 'degraded',
      database: { reachable: true },
      pool: { checkedOut: 2, utilizationPercent: 100, healthy: false },
    })
    await Promise.all(busy)
    await database.close()
  })
})
