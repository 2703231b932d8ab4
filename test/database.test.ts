import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { echo } from '../src/db/echo.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import type { Fault } from './support/fault-bridge.ts'
import { errorOf, type FaultFixture, openFaultFixture, transports, watchEscapes } from './support/fault-fixture.ts'

let testDatabase: TestDatabase
const escapes = watchEscapes()

beforeAll(async () => {
  testDatabase = await createTestDatabase()
})

afterAll(async () => {
  await testDatabase.drop()
  escapes.stop()
  expect(escapes.escaped).toEqual([])
})

/** Sessions of the database as the server counts them, but for the one that asks. */
async function countSessions(): Promise<number> {
  const [row] = await testDatabase.query(
    'SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  )
  return Number(row?.['n'])
}

describe.each(transports)('%s', (transport) => {
  let fixture: FaultFixture
  const open = async (settings: Record<string, string> = {}) => {
    fixture = await openFaultFixture(testDatabase, transport, settings)
    return fixture
  }
  afterEach(async () => {
    await fixture.close()
    await expect.poll(countSessions, { timeout: 5000 }).toBe(0)
  })
  // Prisma sends nothing before someone waits for it.
  const hold = async (seconds: number) => fixture.database.client.$executeRaw`SELECT pg_sleep(${seconds}::float8)`
  const discards = () => fixture.events.flatMap((event) => (event.type === 'discard' ? [event.reason] : []))

  describe('the pool', () => {
    test('keeps its size, opens its overflow, queues the rest; the counters are what the server sees', async () => {
      const { database } = await open({ DATABASE_POOL_SIZE: '2', DATABASE_MAX_OVERFLOW: '2' })
      const rest = { size: 2, maxOverflow: 2 }
      expect(database.poolStatus()).toEqual({
        ...rest,
        open: 0,
        checkedIn: 0,
        checkedOut: 0,
        overflow: 0,
        waiting: 0,
      })
      const work = Promise.all(Array.from({ length: 7 }, () => hold(1)))
      await expect.poll(countSessions, { interval: 10, timeout: 5000 }).toBe(4)
      const busy = { open: 4, checkedIn: 0, checkedOut: 4, overflow: 2, waiting: 3 }
      expect(database.poolStatus()).toEqual({ ...rest, ...busy })
      expect(database.poolHealth()).toEqual({ utilizationPercent: 100, healthy: false })
      await work
      expect(database.poolStatus()).toEqual({
        ...rest,
        open: 2,
        checkedIn: 2,
        checkedOut: 0,
        overflow: 0,
        waiting: 0,
      })
      expect(database.poolHealth()).toEqual({ utilizationPercent: 0, healthy: true })
      await expect.poll(countSessions).toBe(2)
      expect(discards()).toEqual(['overflow', 'overflow'])
    })

    test('serves those in line in turn, and lets none wait longer than it may', async () => {
      const { database } = await open({
        DATABASE_POOL_SIZE: '1',
        DATABASE_MAX_OVERFLOW: '0',
        DATABASE_POOL_TIMEOUT_MS: '900',
      })
      await database.connect()
      const served: number[] = []
      const started = performance.now()
      const work = Promise.all([0, 1].map((n) => hold(0.1).then(() => served.push(n))))
      const slow = hold(1.3).then(() => served.push(2))
      const late = errorOf(hold(0))
      await expect.poll(() => database.poolStatus(), { interval: 5 }).toMatchObject({ checkedOut: 1, waiting: 3 })
      expect((await late).kind).toBe('pool_timeout')
      expect(performance.now() - started).toBeLessThan(1300)
      await Promise.all([work, slow])
      expect(served).toEqual([0, 1, 2])
      expect(database.poolStatus()).toMatchObject({ checkedOut: 0, waiting: 0, checkedIn: 1 })
    })

    test('has room again after connections that could not be opened', async () => {
      const { bridge, database } = await open({ DATABASE_POOL_SIZE: '1', DATABASE_MAX_OVERFLOW: '1' })
      bridge.onConnect = 'refuse'
      const failures = await Promise.all(Array.from({ length: 5 }, () => errorOf(database.client.product.count())))
      expect(failures.map(({ kind }) => kind)).toEqual(Array(5).fill('unavailable'))
      expect(database.poolStatus()).toMatchObject({ open: 0, checkedIn: 0, checkedOut: 0, waiting: 0 })
      bridge.heal()
      expect(await Promise.all(Array.from({ length: 5 }, () => database.client.product.count()))).toHaveLength(5)
    })

    test('closes connections that stand idle, and drops at once those that the server ends', async () => {
      const { database } = await open({ DATABASE_POOL_IDLE_MS: '1000', DATABASE_POOL_SIZE: '3' })
      await Promise.all([hold(0.3), hold(0.3), hold(0.3)])
      expect(database.poolStatus()).toMatchObject({ open: 3, checkedIn: 3 })
      await testDatabase.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() LIMIT 1`)
      await expect.poll(() => database.poolStatus().open, { interval: 10 }).toBe(2)
      await expect.poll(() => database.poolStatus().open, { timeout: 5000 }).toBe(0)
      expect(discards()).toEqual(['broken', 'idle', 'idle'])
      await expect.poll(countSessions).toBe(0)
      await database.client.product.count()
    })

    test('replaces connections that are too old', async () => {
      const { database } = await open({ DATABASE_POOL_RECYCLE_SECONDS: '1' })
      const session = async () => {
        const [row] = await database.client.$queryRaw<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`
        return row?.pid
      }
      const first = await session()
      expect(await session()).toBe(first)
      await sleep(1050)
      expect(await session()).not.toBe(first)
      expect(discards()).toEqual(['recycle'])
    })

    test('lets what runs end when it is closed, and refuses what is new', async () => {
      const { database } = await open({ DATABASE_POOL_SIZE: '1', DATABASE_MAX_OVERFLOW: '0' })
      await database.connect()
      const running = database.client.$transaction(async (tx) => {
        await tx.$executeRaw`SELECT pg_sleep(0.2)`
        return tx.product.count()
      })
      await sleep(30)
      const waiting = errorOf(database.client.product.count())
      const closed = database.close()
      expect((await errorOf(database.client.product.count())).kind).toBe('unavailable')
      expect((await waiting).kind).toBe('unavailable')
      expect(await running).toBe(0)
      await closed
      expect(database.poolStatus()).toMatchObject({ open: 0, checkedOut: 0 })
      expect((await errorOf(database.connect())).message).toBe('The database is closed')
    })

    test('closes in bounded time, even in a black hole', async () => {
      const { bridge, database } = await open()
      await Promise.all([hold(0.01), hold(0.01)])
      const lost = errorOf(hold(0.01))
      bridge.breakAll('black_hole')
      const started = performance.now()
      await database.close(200)
      expect(performance.now() - started).toBeLessThan(1000)
      expect((await lost).kind).toBe('unavailable')
    })
  })

  describe('a connection that has been idle', () => {
    const checks = () => fixture.statements().filter((text) => text === 'SELECT 1').length

    test('is checked before use after the time set, always, or never', async () => {
      for (const [setting, expected] of [
        ['100', [0, 1]],
        ['0', [1, 2]],
        ['-1', [0, 0]],
      ] as const) {
        await open({ DATABASE_PRE_PING_IDLE_MS: setting })
        const { database } = fixture
        await database.client.product.count()
        await database.client.product.count()
        expect(checks()).toBe(expected[0])
        await sleep(150)
        await database.client.product.count()
        expect(checks()).toBe(expected[1])
        if (setting !== '-1') await fixture.close()
      }
    })

    test('and died unseen is replaced within one bounded check, with all that stood beside it', async () => {
      const { bridge, database } = await open({ DATABASE_PRE_PING_IDLE_MS: '50', DATABASE_POOL_TIMEOUT_MS: '2000' })
      await Promise.all([hold(0.2), hold(0.2), hold(0.2)])
      await sleep(100)
      bridge.breakAll('black_hole')
      const started = performance.now()
      expect(await database.client.product.count()).toBe(0)
      expect(performance.now() - started).toBeLessThan(1000)
      expect(checks()).toBe(1)
      expect(discards()).toEqual(['pre_ping', 'pre_ping', 'pre_ping'])
      expect(database.poolStatus()).toMatchObject({ open: 1, checkedIn: 1 })
    })
  })

  describe('connecting', () => {
    const limits = { DATABASE_POOL_TIMEOUT_MS: '400' }

    test.each(['refuse', 'hang', 'status_503'] as const)('to what will %s fails within its time', async (onConnect) => {
      const { bridge, database } = await open(limits)
      bridge.onConnect = onConnect
      const started = performance.now()
      const errors = await Promise.all([
        errorOf(database.connect()),
        errorOf(database.client.product.count()),
        errorOf(database.client.$transaction((tx) => tx.product.count())),
      ])
      expect(errors.map(({ kind }) => kind)).toEqual(['unavailable', 'unavailable', 'unavailable'])
      expect(performance.now() - started).toBeLessThan(900)
      bridge.heal()
      const recovered = performance.now()
      await database.connect()
      expect(performance.now() - recovered).toBeLessThan(1000)
    })

    test('fails with the reason', async () => {
      await open()
      const reason = async (change: (url: URL) => void) => {
        const url = new URL(fixture.bridge.environment['DATABASE_URL'] ?? '')
        change(url)
        const database = new Database(readConfig({ ...fixture.bridge.environment, DATABASE_URL: url.href }).database)
        const error = await errorOf(database.connect())
        await database.close()
        return error
      }
      const password = await reason((url) => {
        url.password = 'wrong'
      })
      expect(password).toMatchObject({ kind: 'unavailable', sqlState: '28P01' })
      expect(password.message).toMatch(/password authentication failed for user "postgres"/)
      const name = await reason((url) => {
        url.pathname = 'nowhere'
      })
      expect(name).toMatchObject({ kind: 'unavailable', sqlState: '3D000' })
      expect(name.message).toMatch(/database "nowhere" does not exist/)
    })

    test.each(['drop', 'reset', 'close', 'black_hole', 'deaf'] as const)(
      'survives %s at every message of it',
      { timeout: 60_000 },
      async (kind) => {
        const { bridge, database } = await open()
        await database.connect()
        const positions = bridge.messages.map((_message, at) => at)
        const outcomes = new Set<string>()
        const worker = async () => {
          for (let at = positions.shift(); at !== undefined; at = positions.shift()) {
            outcomes.add(await connectUnder((index) => (index === at ? kind : undefined)))
          }
        }
        await Promise.all(Array.from({ length: 8 }, worker))
        expect(['connected', 'unavailable', 'timeout']).toEqual(expect.arrayContaining([...outcomes]))
      },
    )

    async function connectUnder(fault: (index: number) => Fault | undefined): Promise<string> {
      const settings = {
        DATABASE_POOL_TIMEOUT_MS: '1000',
        DATABASE_STATEMENT_TIMEOUT_MS: '500',
        REQUEST_DEADLINE_MS: '2500',
      }
      const { database, bridge, close } = await openFaultFixture(testDatabase, transport, settings)
      let index = 0
      bridge.fault = () => fault(index++)
      const started = performance.now()
      const outcome = await database.connect().then(
        () => 'connected',
        (error) => error.kind,
      )
      expect(performance.now() - started).toBeLessThan(2500)
      bridge.heal()
      await vi.waitFor(() => database.connect(), { timeout: 10_000 })
      expect(database.poolStatus()).toMatchObject({ open: 1, checkedOut: 0 })
      await close()
      return outcome
    }
  })

  test('ping answers within the time given', async () => {
    const { bridge, database } = await open()
    expect(await database.ping()).toEqual({ latencyMs: expect.any(Number), timeZone: 'UTC' })
    bridge.breakAll('black_hole')
    bridge.onConnect = 'hang'
    const started = performance.now()
    expect((await errorOf(database.ping(250))).kind).toMatch(/unavailable|timeout/)
    expect(performance.now() - started).toBeLessThan(1000)
  })

  test('observers hear of everything, and echo tells statements without their values', async () => {
    const { database, events } = await open()
    const lines: string[] = []
    database.observe(echo({ info: (message, fields) => lines.push(JSON.stringify({ message, ...fields })) }))
    await database.client.product.create({ data: { sku: `${transport}-secret-sku`, name: 'n', priceCents: 1 } })
    await errorOf(
      database.client.product.create({ data: { sku: `${transport}-secret-sku`, name: 'n', priceCents: 1 } }),
    )
    await testDatabase.query('DELETE FROM products')
    const insert = expect.stringContaining('INSERT INTO "public"."products"')
    expect(events.map(({ type }) => type)).toEqual([
      'statement',
      'connect',
      'acquire',
      'statement',
      'release',
      'acquire',
      'statement',
      'release',
    ])
    expect(events).toContainEqual({ type: 'statement', text: insert, durationMs: expect.any(Number), rows: 1 })
    expect(lines).toHaveLength(3)
    expect(lines.filter((line) => line.includes('INSERT INTO'))).toHaveLength(2)
    expect(lines.join('')).not.toContain('secret-sku')
  })
})
