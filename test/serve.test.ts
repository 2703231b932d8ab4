import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startHttpServer } from '../scripts/serve/http-server.ts'
import type { Environment } from '../src/config.ts'
import { type Api, makeProduct, makeUser, stockOf, type TestUser } from './support/api.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

interface Server {
  url: string
  process: ChildProcess
  /** Everything it has printed. */
  output(): string
  exit: Promise<{ code: number | null; output: string }>
}

/** Starts `scripts/serve.ts` as a process of its own. */
function start(environment: Environment): Omit<Server, 'url'> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'scripts/serve.ts'], {
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', LOG_LEVEL: 'info', PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const exit = once(child, 'close').then(([code]) => ({ code, output }))
  return { process: child, output: () => output, exit }
}

async function startListening(environment: Environment): Promise<Server> {
  const server = start(environment)
  const url = await vi.waitFor(
    () => {
      const found = /"message":"listening","url":"([^"]+)"/.exec(server.output())?.[1]
      if (found === undefined) throw new Error(`not listening yet: ${server.output()}`)
      return found
    },
    { timeout: 15_000, interval: 20 },
  )
  return { ...server, url }
}

let database: TestDatabase
let servers: Omit<Server, 'url'>[]

beforeEach(async () => {
  database = await createTestDatabase()
  servers = []
})
afterEach(async () => {
  for (const server of servers) server.process.kill('SIGKILL')
  await Promise.all(servers.map((server) => server.exit))
  await database.drop()
})

async function serve(settings: Environment = {}): Promise<Server> {
  const { LOG_LEVEL: _, NODE_ENV: __, ...environment } = database.environment
  const server = await startListening({ ...environment, ...settings })
  servers.push(server)
  return server
}

/** Locks a product's row until the returned function is called, so that an order for it stays in flight. */
async function lockProduct(id: string): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: database.url, application_name: 'lock' })
  await client.connect()
  await client.query('BEGIN')
  await client.query('SELECT 1 FROM products WHERE id = $1 FOR UPDATE', [id])
  return async () => {
    await client.query('COMMIT')
    await client.end()
  }
}

const waitForBlockedOrder = () =>
  vi.waitFor(async () => {
    const blocked = await database.query(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    expect(blocked).toHaveLength(1)
  })

/** Resolves to whether a new connection is accepted. */
const accepts = ({ url }: Server) =>
  new Promise<boolean>((resolve) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

describe('the production server', () => {
  let api: Pick<Api, 'query' | 'authSecret'>
  let buyer: TestUser

  beforeEach(async () => {
    api = { query: database.query, authSecret: String(database.environment['AUTH_SECRET']) }
    buyer = await makeUser(api)
  })

  const order = ({ url }: Server, productId: string) =>
    fetch(new URL('/api/v1/orders', url), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${buyer.token}` },
      body: JSON.stringify({ items: [{ productId, quantity: 3 }] }),
    })

  /** Other connections to the database than the test's own. */
  const sessions = () =>
    database.query(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'test'`)

  const countOrders = async () => (await database.query('SELECT 1 FROM orders')).length

  test('finishes the order in flight when it is told to stop, and takes no other', async () => {
    const server = await serve()
    const product = await makeProduct(api, { stock: 10 })
    const unlock = await lockProduct(product.id)
    const answer = order(server, product.id)
    await waitForBlockedOrder()

    server.process.kill('SIGTERM')
    await vi.waitFor(async () => expect(await accepts(server)).toBe(false))
    await expect(order(server, product.id)).rejects.toThrow('fetch failed')
    expect(server.process.exitCode).toBeNull()
    expect(await countOrders()).toBe(0)
    await unlock()

    const response = await answer
    expect([response.status, response.headers.get('Connection')]).toEqual([201, 'close'])
    expect((await server.exit).code).toBe(0)
    expect([await countOrders(), await stockOf(api, product.id)]).toEqual([1, 7])
    expect(await sessions()).toEqual([])
  })

  test('has the cron door as well, for whoever has its secret', async () => {
    const server = await serve({ CRON_SECRET: 'the-secret-of-the-cron' })
    const call = (secret: string) =>
      fetch(new URL('/cron/maintenance', server.url), { headers: { Authorization: `Bearer ${secret}` } })
    expect((await call('the-secret-of-another')).status).toBe(401)
    expect((await call('the-secret-of-the-cron')).status).toBe(200)
  })

  test.for(['SIGTERM', 'SIGINT'] as const)('stops at once at %s when nothing is in flight', async (signal) => {
    const server = await serve()
    // Opens a connection to the database.
    await fetch(new URL('/api/v1/health', server.url))
    const { hostname, port } = new URL(server.url)
    // A connection without a request, as browsers and load balancers keep them ready.
    const silent = connect(Number(port), hostname)
    await once(silent, 'connect')
    // Its server side exists once a later connection has been answered.
    await fetch(new URL('/api/v1/health/live', server.url))

    const asked = performance.now()
    server.process.kill(signal)
    expect((await server.exit).code).toBe(0)
    expect(performance.now() - asked).toBeLessThan(3000)
    silent.destroy()
  })

  test('answers a request whose body never comes when its time is up, and stops', async () => {
    const server = await serve({ REQUEST_DEADLINE_MS: '2000', DATABASE_STATEMENT_TIMEOUT_MS: '1500' })
    const { hostname, port } = new URL(server.url)
    const stalled = connect(Number(port), hostname)
    let answer = ''
    stalled.on('data', (chunk) => {
      answer += chunk
    })
    stalled.write('POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n')
    stalled.write('Content-Length: 9\r\n\r\n')
    await fetch(new URL('/api/v1/health/live', server.url))

    const asked = performance.now()
    server.process.kill('SIGTERM')
    expect((await server.exit).code).toBe(0)
    expect(performance.now() - asked).toBeLessThan(4000)
    expect(answer).toMatch(/^HTTP\/1\.1 503 /)
    stalled.destroy()
  })

  test('a second signal ends it at once, and leaves the order in flight whole or undone', async () => {
    const server = await serve()
    const product = await makeProduct(api, { stock: 10 })
    const unlock = await lockProduct(product.id)
    const answer = order(server, product.id).catch((error: unknown) => error)
    await waitForBlockedOrder()
    server.process.kill('SIGTERM')
    await vi.waitFor(() => expect(server.output()).toContain('"message":"stopping"'))
    await new Promise((resolve) => setTimeout(resolve, 600))
    server.process.kill('SIGTERM')
    expect((await server.exit).code).toBe(128 + 15)
    expect(await answer).toBeInstanceOf(TypeError)
    await unlock()
    await vi.waitFor(async () => expect(await sessions()).toEqual([]))
    expect(await stockOf(api, product.id)).toBe(10 - 3 * (await countOrders()))
  })

  test('does not start without its settings, and lists every one that is missing', async () => {
    const server = start({})
    servers.push(server)
    const { code, output } = await server.exit
    expect(code).toBe(1)
    expect(output).toBe('The settings are not usable:\n  DATABASE_URL: is required\n  AUTH_SECRET: is required\n')
  })

  test('says why when it cannot listen', async () => {
    const first = await serve()
    const { LOG_LEVEL: _, NODE_ENV: __, ...environment } = database.environment
    const second = start({ ...environment, PORT: new URL(first.url).port })
    servers.push(second)
    const { code, output } = await second.exit
    expect(code).toBe(1)
    expect(output).toContain('EADDRINUSE')
  })
})

test('an HTTP server that cannot answer in time cuts the connection off and says so', async () => {
  const server = await startHttpServer({ fetch: () => new Promise(() => {}), host: '127.0.0.1', port: 0 })
  const answer = fetch(server.url).catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(await server.drain(100)).toBe(false)
  expect(await answer).toBeInstanceOf(TypeError)
})

test('an HTTP server answers the requests of one connection in order while it drains', async () => {
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const fetch = async ({ url }: Request) => {
    if (url.endsWith('/slow')) await released
    return new Response(new URL(url).pathname)
  }
  const server = await startHttpServer({ fetch, host: '127.0.0.1', port: 0 })
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  let answers = ''
  socket.on('data', (chunk) => {
    answers += chunk
  })
  const ended = once(socket, 'close')
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /quick HTTP/1.1\r\nHost: x\r\n\r\n')
  await new Promise((resolve) => setTimeout(resolve, 50))
  const drained = server.drain(2000)
  release()
  expect(await drained).toBe(true)
  await ended
  expect(answers.match(/\/(slow|quick)/g)).toEqual(['/slow', '/quick'])
})

test('an HTTP server ends the connection on which it refused to read a body, and no later request fails for it', async () => {
  const fetchApp = (request: Request) => new Response(null, { status: request.headers.has('X-Refuse') ? 413 : 204 })
  const server = await startHttpServer({ fetch: fetchApp, host: '127.0.0.1', port: 0 })
  const post = (body: string, headers = {}) => fetch(server.url, { method: 'POST', body, headers })
  for (let round = 0; round < 5; round++) {
    const refused = await post('x'.repeat(2 ** 20), { 'X-Refuse': '1' })
    expect([refused.status, refused.headers.get('Connection')]).toEqual([413, 'close'])
    for (const body of ['a', 'b', 'c']) expect((await post(body)).status).toBe(204)
  }
  await server.drain(1000)
})
