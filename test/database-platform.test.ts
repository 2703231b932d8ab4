import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { neonConfig } from '@neondatabase/serverless'
import { build } from 'esbuild'
import { afterEach, expect, test, vi } from 'vitest'
import { startPostgres } from '../scripts/local/postgres.ts'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { createTestDatabase } from './support/database.ts'
import { startFaultBridge } from './support/fault-bridge.ts'
import { errorOf } from './support/fault-fixture.ts'

const requestContext = Symbol.for('@vercel/request-context')
const loaded = () =>
  Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('@vercel/functions'))

afterEach(() => {
  vi.unstubAllEnvs()
  Reflect.deleteProperty(globalThis, requestContext)
})

test('away from Vercel nothing of it is loaded; there the instance is kept awake until its connections are closed', async () => {
  const { environment, drop } = await createTestDatabase()
  const elsewhere = new Database(readConfig(environment).database)
  await elsewhere.connect()
  await elsewhere.close()
  expect(loaded()).toEqual([])

  // What the platform puts around a request, and what it sets for its functions.
  const keptAwake: Promise<unknown>[] = []
  const waitUntil = (promise: Promise<unknown>) => keptAwake.push(promise)
  Object.assign(globalThis, { [requestContext]: { get: () => ({ waitUntil }) } })
  vi.stubEnv('VERCEL_URL', 'example.vercel.app')
  vi.stubEnv('VERCEL_REGION', 'fra1')
  const settings = { ...environment, VERCEL: '1', DATABASE_POOL_IDLE_MS: '100' }
  const there = new Database(readConfig(settings).database)
  await there.client.product.count()
  expect(loaded()).not.toEqual([])
  expect(keptAwake.length).toBeGreaterThan(0)
  expect(there.poolStatus().open).toBe(1)
  await Promise.all(keptAwake)
  expect(there.poolStatus().open).toBe(0)
  await there.close()
  await drop()
})

test.each([
  ['websocket', 'node_modules/pg/', 'node_modules/@neondatabase/'],
  ['tcp', 'node_modules/@neondatabase/', 'node_modules/pg/'],
])('a bundle with the %s transport alone has nothing of %s', async (transport, without, within) => {
  const { metafile } = await build({
    entryPoints: { database: 'src/db/database.ts', transport: `src/db/transport-${transport}.ts` },
    bundle: true,
    write: false,
    metafile: true,
    splitting: true,
    outdir: 'out',
    format: 'esm',
    platform: 'node',
    external: ['*.wasm', '*wasm-base64.mjs'],
  })
  const inputs = (name: string, seen = new Set<string>()): string[] => {
    const output = metafile.outputs[name]
    if (output === undefined || seen.has(name)) return []
    seen.add(name)
    const needed = output.imports.filter(({ kind }) => kind === 'import-statement')
    return [...Object.keys(output.inputs), ...needed.flatMap(({ path }) => inputs(path, seen))]
  }
  const needed = [...inputs('out/database.js'), ...inputs('out/transport.js')]
  expect(needed.filter((path) => path.startsWith(without))).toEqual([])
  expect(needed.filter((path) => path.startsWith(within))).not.toEqual([])
})

test('at Neon, log-in and the session’s settings go out before the first answer', { timeout: 30_000 }, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'neon-postgres-'))
  const server = await startPostgres({ dataDir, settings: { fsync: 'off' } })
  const AUTH_SECRET = 'not used here, but it has to be long'
  const bridge = await startFaultBridge({ DATABASE_URL: server.url(), AUTH_SECRET }, 'websocket')
  const { NEON_WS_PROXY, ...environment } = bridge.environment
  const open = (url: string) => new Database(readConfig({ ...environment, DATABASE_URL: url }).database)

  // Neon's proxy takes a password in the clear, inside TLS; so does this server, from now on.
  const tcp = new Database(readConfig({ ...environment, DATABASE_TRANSPORT: 'tcp' }).database)
  const [row] = await tcp.client.$queryRaw<{ path: string }[]>`SELECT current_setting('hba_file') AS path`
  const rules = `COPY (VALUES ('host all all 127.0.0.1/32 password')) TO '${row?.path}'`
  await tcp.client.$executeRawUnsafe(rules)
  await tcp.client.$queryRaw`SELECT pg_reload_conf()`
  await tcp.close()
  // Without NEON_WS_PROXY the driver takes the way to Neon's own proxy: here it ends at the bridge all the same.
  const { wsProxy, useSecureWebSocket } = neonConfig
  Object.assign(neonConfig, { wsProxy: () => `${NEON_WS_PROXY}/v1`, useSecureWebSocket: false })

  const database = open(server.url())
  await database.connect()
  const firstReply = bridge.messages.findIndex(({ direction }) => direction === 'reply')
  expect(bridge.messages.slice(0, firstReply).map(({ type }) => type)).toEqual(
    expect.arrayContaining(['startup', 'p', 'P', 'B', 'E', 'S']),
  )
  expect(await database.client.$transaction((tx) => tx.$queryRaw`SHOW timezone`)).toEqual([{ TimeZone: 'UTC' }])
  const wrong = open(server.url().replace(/:[^:@/]+@/, ':wrong@'))
  expect((await errorOf(wrong.connect())).kind).toBe('unavailable')
  await wrong.close()
  await database.close()

  Object.assign(neonConfig, { wsProxy, useSecureWebSocket })
  await bridge.close()
  await server.stop()
  await rm(dataDir, { recursive: true, force: true })
})
