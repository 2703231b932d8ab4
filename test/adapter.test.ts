import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
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

const one = { DATABASE_POOL_SIZE: '1', DATABASE_MAX_OVERFLOW: '0' }
const product = (sku: string) => ({ data: { sku, name: 'name', priceCents: 1 } })

describe.each(transports)('%s', (transport) => {
  let fixture: FaultFixture
  const open = async (settings: Record<string, string> = {}) => {
    fixture = await openFaultFixture(testDatabase, transport, { DATABASE_PRE_PING_IDLE_MS: '-1', ...settings })
    await fixture.database.connect()
    fixture.events.length = 0
    return fixture
  }
  afterEach(async () => {
    expect(fixture.database.poolStatus()).toMatchObject({ checkedOut: 0, waiting: 0 })
    await fixture.close()
  })
  const sku = (name: string) => `${transport}-${name}`

  describe('round trips', () => {
    /** Of `work` on a warm connection: ReadyForQuery says how often the client had to wait for the server. */
    async function countRoundTrips(work: () => Promise<unknown>): Promise<{ waits: number; frames: number }> {
      const { bridge } = fixture
      bridge.messages.length = 0
      bridge.requestFrames = 0
      await work()
      const waits = bridge.messages.filter(({ direction, type }) => direction === 'reply' && type === 'Z').length
      const syncs = bridge.messages.filter(({ direction, type }) => direction === 'request' && type === 'S').length
      expect(syncs).toBe(waits)
      return { waits, frames: bridge.requestFrames }
    }

    test.each([0, 1, 2, 5])('a transaction of %i statements costs one more than it has, or nothing', async (n) => {
      const { database } = await open()
      const work = (isolationLevel?: 'Serializable') =>
        database.client.$transaction(async (tx) => {
          for (let i = 0; i < n; i++) await tx.product.count()
        }, isolationLevel && { isolationLevel })
      const expected = n === 0 ? 0 : n + 1
      expect(await countRoundTrips(() => work())).toEqual({ waits: expected, frames: expected })
      expect(await countRoundTrips(() => work('Serializable'))).toEqual({ waits: expected, frames: expected })
    })

    test('a single statement costs one, and so does a batch of one', async () => {
      const { database } = await open()
      expect(await countRoundTrips(() => database.client.product.count())).toEqual({ waits: 1, frames: 1 })
      const batch = () => database.client.$transaction([database.client.product.count()])
      expect(await countRoundTrips(batch)).toEqual({ waits: 1, frames: 1 })
    })

    test('a transaction that fails costs its statements and a ROLLBACK', async () => {
      const { database } = await open()
      const work = () =>
        errorOf(
          database.client.$transaction(async (tx) => {
            await tx.product.count()
            await tx.$queryRaw`SELECT 1 / 0`
          }),
        )
      expect(await countRoundTrips(work)).toEqual({ waits: 3, frames: 3 })
    })

    test('statements asked for at once go one after the other', async () => {
      const { database } = await open()
      await database.client.$transaction(async (tx) => {
        const counts = await Promise.all([1, 2, 3].map((n) => tx.$queryRaw`SELECT ${n}::int AS n`))
        expect(counts).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]])
      })
    })
  })

  test('the isolation level asked for is the one the transaction runs in', async () => {
    const { database } = await open()
    for (const [isolationLevel, shown] of [
      ['Serializable', 'serializable'],
      ['RepeatableRead', 'repeatable read'],
      ['ReadCommitted', 'read committed'],
    ] as const) {
      const rows = await database.client.$transaction((tx) => tx.$queryRaw`SHOW transaction_isolation`, {
        isolationLevel,
      })
      expect(rows).toEqual([{ transaction_isolation: shown }])
    }
  })

  test('a nested transaction is a savepoint, also as the first thing in a transaction', async () => {
    const { database } = await open()
    await database.client.$transaction(async (tx) => {
      const inner = tx.$transaction(async (nested) => {
        await nested.product.create(product(sku('nested-lost')))
        throw new Error('on purpose')
      })
      await expect(inner).rejects.toThrow('on purpose')
      await tx.product.create(product(sku('nested-kept')))
    })
    const rows = await testDatabase.query('SELECT sku FROM products WHERE sku LIKE $1', [sku('nested-%')])
    expect(rows).toEqual([{ sku: sku('nested-kept') }])
  })

  describe('prepared statements', () => {
    const prepared = () =>
      fixture.database.client.$queryRaw<{ n: number }[]>`SELECT count(*)::int AS n FROM pg_prepared_statements`
    const parses = () =>
      fixture.bridge.messages.filter(({ type, direction }) => direction === 'request' && type === 'P')

    test('are parsed once on a connection', async () => {
      const { database, bridge } = await open(one)
      await database.client.product.count()
      bridge.messages.length = 0
      await database.client.product.count()
      await database.client.product.count()
      expect(parses()).toEqual([])
    })

    test('are parsed anew each time, and not kept, when they are off', async () => {
      const { database, bridge } = await open({ ...one, DATABASE_PREPARED_STATEMENTS: 'off' })
      await database.client.product.count()
      bridge.messages.length = 0
      await database.client.product.count()
      expect(parses()).toHaveLength(1)
      expect(await prepared()).toEqual([{ n: 0 }])
    })

    test('are bounded on each connection', async () => {
      const { database } = await open(one)
      for (let i = 0; i < 230; i++) await database.client.$queryRawUnsafe(`SELECT ${i}`)
      const [row] = await prepared()
      expect(row?.n).toBeGreaterThan(150)
      expect(row?.n).toBeLessThanOrEqual(201)
    })

    test('that fail are run again as if nothing had been', async () => {
      const { database } = await open(one)
      const divide = (by: number) => database.client.$queryRaw`SELECT 6 / ${by}::int AS n`
      const parse = () => errorOf(database.client.$queryRaw`SELECT nonsense`)
      for (let i = 0; i < 3; i++) {
        expect((await errorOf(divide(0))).kind).toBe('invalid_input')
        expect(await divide(2)).toEqual([{ n: 3 }])
        expect((await parse()).sqlState).toBe('42703')
      }
    })

    describe.each([
      ['a migration changed a result', () => migrate()],
      ['a pooler forgot them', () => fixture.database.client.$executeRaw`DEALLOCATE ALL`],
    ])('heal after %s', (_name, forget) => {
      test('alone and as the first statement of a transaction, unseen; further on, as a conflict', async () => {
        await testDatabase.query('DROP TABLE IF EXISTS shifting')
        await testDatabase.query('CREATE TABLE shifting (value int)')
        const { database } = await open(one)
        const read = (handle: Pick<typeof database.client, '$queryRaw'>) => handle.$queryRaw`SELECT * FROM shifting`
        await database.client.product.count()
        await read(database.client)

        await forget()
        await expect(read(database.client)).resolves.toEqual([])
        await forget()
        await expect(database.client.$transaction((tx) => read(tx))).resolves.toEqual([])
        await forget()
        const late = database.client.$transaction(async (tx) => {
          await tx.$queryRaw`SELECT 1`
          await read(tx)
        })
        expect(await errorOf(late)).toMatchObject({ kind: 'conflict', retryable: true })
        await expect(read(database.client)).resolves.toEqual([])
      })
    })

    let columns = 0
    const migrate = () => testDatabase.query(`ALTER TABLE shifting ADD COLUMN extra_${columns++} int`)
  })

  describe('a session that is not ours', () => {
    test('gets its limits and its time zone with every transaction, and no start-up parameters', async () => {
      fixture = await openFaultFixture(testDatabase, transport, { DATABASE_STATEMENT_TIMEOUT_MS: '700' })
      const { bridge, database } = fixture
      bridge.madeUpKeys = true
      await database.connect()
      const settings = () =>
        database.client
          .$queryRaw`SELECT current_setting('TimeZone') AS zone, current_setting('statement_timeout') AS ms`
      const expected = [{ zone: 'UTC', ms: '700ms' }]
      bridge.messages.length = 0
      expect(await settings()).toEqual(expected)
      expect(
        await database.client.$transaction(async (tx) => {
          await tx.product.count()
          return tx.$queryRaw`SELECT current_setting('TimeZone') AS zone, current_setting('statement_timeout') AS ms`
        }),
      ).toEqual(expected)
      expect((await errorOf(database.client.$queryRaw`SELECT pg_sleep(5)`)).sqlState).toBe('57014')
      const parses = bridge.messages.filter(({ type, text }) => type === 'P' && text.includes('set_config'))
      // One for each of two single statements, one for the transaction.
      expect(parses).toHaveLength(3)
    })
  })

  describe('time', () => {
    let elsewhere: TestDatabase
    beforeEach(async () => {
      elsewhere = await createTestDatabase()
      const [row] = await elsewhere.query('SELECT current_database() AS name')
      await elsewhere.query(`ALTER DATABASE ${String(row?.['name'])} SET timezone = 'America/New_York'`)
    })
    afterEach(() => elsewhere.drop())

    test.each([false, true])('is right whatever the server says (behind a pooler: %s)', async (pooled) => {
      fixture = await openFaultFixture(elsewhere, transport)
      fixture.bridge.madeUpKeys = pooled
      const noon = new Date('2026-07-01T12:00:00.123Z')
      const { client } = fixture.database
      const inTransaction = await client.$transaction(async (tx) => {
        await tx.product.create({ data: { sku: 'in-tx', name: 'n', priceCents: 1, createdAt: noon } })
        return tx.product.findFirst({ where: { sku: 'in-tx' } })
      })
      await client.product.create({ data: { sku: 'alone', name: 'n', priceCents: 1, createdAt: noon } })
      const alone = await client.product.findFirst({ where: { sku: 'alone', createdAt: noon } })
      expect([inTransaction?.createdAt, alone?.createdAt]).toEqual([noon, noon])
      const stored = await elsewhere.query(`SELECT extract(epoch FROM created_at)::float8 AS at FROM products`)
      expect(stored).toEqual([{ at: noon.getTime() / 1000 }, { at: noon.getTime() / 1000 }])
      expect((await fixture.database.ping()).timeZone).toBe('UTC')
    })
  })

  describe('a transaction', () => {
    test('whose COMMIT the server answers with ROLLBACK is an error', async () => {
      const { database } = await open()
      const work = database.client.$transaction(async (tx) => {
        await tx.product.create(product(sku('swallowed')))
        await tx.$queryRaw`SELECT 1 / 0`.catch(() => {})
      })
      expect((await errorOf(work)).kind).toBe('not_committed')
      expect(await testDatabase.query('SELECT 1 FROM products WHERE sku = $1', [sku('swallowed')])).toEqual([])
    })

    test('that a statement ends is an error, and so is one that a lone statement leaves open', async () => {
      const { database, events } = await open()
      const ended = database.client.$transaction(async (tx) => {
        await tx.product.count()
        await tx.$executeRaw`ROLLBACK AND NO CHAIN`
        await tx.product.create(product(sku('after-the-end')))
      })
      expect((await errorOf(ended)).kind).toBe('misuse')
      expect((await errorOf(database.client.$executeRaw`BEGIN`)).kind).toBe('misuse')
      expect(events).toContainEqual({ type: 'discard', reason: 'open_transaction' })
      expect(await testDatabase.query('SELECT 1 FROM products WHERE sku = $1', [sku('after-the-end')])).toEqual([])
    })

    test('refuses statements after its end', async () => {
      const { database } = await open()
      let late: Promise<unknown> = Promise.resolve()
      await database.client.$transaction(async (tx) => {
        await tx.product.count()
        late = new Promise((resolve) => setTimeout(resolve, 50)).then(() => tx.product.create(product(sku('late'))))
      })
      expect((await errorOf(late)).kind).toBe('misuse')
    })

    test('that takes too long is cut, however it spends its time', async () => {
      const limits = { DATABASE_STATEMENT_TIMEOUT_MS: '700', REQUEST_DEADLINE_MS: '900' }
      const { database } = await open(limits)
      const started = performance.now()
      const dawdling = database.client.$transaction(async (tx) => {
        await tx.product.create(product(sku('dawdling')))
        for (;;) await tx.$executeRaw`SELECT pg_sleep(0.05)`
      })
      expect((await errorOf(dawdling)).kind).toBe('timeout')
      expect(performance.now() - started).toBeLessThan(900)
      expect(await database.client.product.count({ where: { sku: sku('dawdling') } })).toBe(0)
    })

    test('that its caller forgets is ended by the server', async () => {
      const { database } = await open({ DATABASE_STATEMENT_TIMEOUT_MS: '300', REQUEST_DEADLINE_MS: '4000' })
      const forgotten = database.client.$transaction(async (tx) => {
        await tx.product.create(product(sku('forgotten')))
        await new Promise((resolve) => setTimeout(resolve, 600))
        await tx.product.count()
      })
      expect(await errorOf(forgotten)).toMatchObject({ kind: 'timeout', sqlState: '25P03' })
    })
  })

  describe('errors', () => {
    test('of statements have a kind, a SQLSTATE and names, whether by model or raw', async () => {
      const { client } = (await open()).database
      const user = await client.user.create({
        data: { email: sku('e@x.y'), passwordHash: 'x', fullName: 'Secret Name' },
      })
      const order = await client.order.create({ data: { userId: user.id, status: 'placed', totalCents: 0n } })
      const seen = async (promise: Promise<unknown>) => {
        const error = await errorOf(promise)
        expect(JSON.stringify([error.message, error.cause, String(error.cause)])).not.toMatch(/Secret Name|e@x\.y/)
        const { kind, sqlState, constraint, columns } = error
        return { kind, sqlState, constraint, columns }
      }
      const nobody = '00000000-0000-0000-0000-00000000dead'
      const duplicate = { kind: 'unique', sqlState: '23505', constraint: 'idx_users_email', columns: ['email'] }
      const { email } = user
      expect(await seen(client.user.create({ data: { email, passwordHash: 'x', fullName: 'x' } }))).toEqual(duplicate)
      const raw = client.$executeRaw`INSERT INTO users (email, password_hash, full_name) VALUES (${email}, 'x', 'x')`
      expect(await seen(raw)).toEqual(duplicate)
      expect(
        await seen(client.order.create({ data: { userId: nobody, status: 'placed', totalCents: 0n } })),
      ).toMatchObject({ kind: 'foreign_key', columns: ['user_id'] })
      expect(await seen(client.user.delete({ where: { id: user.id } }))).toMatchObject({ kind: 'foreign_key' })
      expect(await seen(client.order.update({ where: { id: order.id }, data: { status: 'odd' } }))).toMatchObject({
        kind: 'check',
        sqlState: '23514',
      })
      const nameless = client.$executeRaw`UPDATE users SET full_name = NULL WHERE id = ${user.id}::uuid`
      expect(await seen(nameless)).toMatchObject({ kind: 'not_null', columns: ['full_name'] })
      expect(await seen(client.user.findFirst({ where: { id: 'Secret Name' } }))).toMatchObject({
        kind: 'invalid_input',
        sqlState: '22P02',
      })
      expect(await seen(client.product.create(product('nul\0')))).toMatchObject({ kind: 'invalid_input' })
      expect(await seen(client.user.update({ where: { id: nobody }, data: {} }))).toMatchObject({ kind: 'not_found' })
      // @ts-expect-error a field that is not in the model
      expect(await seen(client.user.findFirst({ where: { nonsense: 1 } }))).toMatchObject({ kind: 'misuse' })
      expect(await seen(client.$queryRaw`SELECT nonsense`)).toMatchObject({ kind: 'internal', sqlState: '42703' })
    })

    test('of time are the server’s first: statement and lock limits leave the connection in use', async () => {
      const { database, events } = await open({ DATABASE_STATEMENT_TIMEOUT_MS: '1500' })
      await database.client.product.create(product(sku('locked')))
      // Two connections, so that opening one is not part of the wait for the lock.
      await Promise.all([database.client.product.count(), database.client.product.count()])
      const lock = (handle: Pick<typeof database.client, '$queryRaw'>) =>
        handle.$queryRaw`SELECT 1 FROM products WHERE sku = ${sku('locked')} FOR UPDATE`
      const slow = await errorOf(database.client.$queryRaw`SELECT pg_sleep(5)`)
      expect(slow).toMatchObject({ kind: 'timeout', sqlState: '57014' })
      await database.client.$transaction(async (tx) => {
        await lock(tx)
        expect(await errorOf(lock(database.client))).toMatchObject({ kind: 'lock_not_available', sqlState: '55P03' })
      })
      expect(events.filter(({ type }) => type === 'discard')).toEqual([])
    })

    test('of collisions are conflicts: serialization, at a statement and at COMMIT, and deadlock', async () => {
      const { client } = (await open()).database
      for (const name of ['x', 'y']) await client.product.create(product(sku(name)))
      const read = (tx: Pick<typeof client, 'product'>) =>
        tx.product.findMany({ where: { sku: { in: [sku('x'), sku('y')] } } })
      const write = (tx: Pick<typeof client, 'product'>, name: string) =>
        tx.product.updateMany({ where: { sku: sku(name) }, data: { stock: { increment: 1 } } })
      const both = (isolationLevel: 'Serializable' | 'ReadCommitted', reads: boolean, orders: string[][]) => {
        let ready = 0
        let proceed = () => {}
        const meet = new Promise<void>((resolve) => {
          proceed = resolve
        })
        return Promise.allSettled(
          orders.map((names) =>
            client.$transaction(
              async (tx) => {
                if (reads) await read(tx)
                const [first = '', ...others] = names
                await write(tx, first)
                if (++ready === orders.length) proceed()
                await meet
                for (const other of others) await write(tx, other)
              },
              { isolationLevel },
            ),
          ),
        )
      }
      const reasons = (results: PromiseSettledResult<unknown>[]) =>
        results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      const skew = reasons(await both('Serializable', true, [['x'], ['y']]))
      expect(skew).toEqual([expect.objectContaining({ kind: 'conflict', sqlState: '40001' })])
      const deadlock = reasons(
        await both('ReadCommitted', false, [
          ['x', 'y'],
          ['y', 'x'],
        ]),
      )
      expect(deadlock).toEqual([expect.objectContaining({ kind: 'conflict', sqlState: '40P01' })])
    })
  })

  test('values of every kind come back as they went in', async () => {
    const { client } = (await open()).database
    const [row] = await client.$queryRaw<Record<string, unknown>[]>`SELECT
      ${7}::int AS int, ${2n ** 60n}::bigint AS bigint, ${1.5}::float8 AS float, ${'1.10'}::numeric AS numeric,
      ${true}::bool AS bool, ${null}::text AS null, ${'ü"\\\n'}::text AS text, ${['a"b', 'c,d', '{}']}::text[] AS texts,
      ${[1, 2]}::int[] AS ints, ${new Uint8Array([0, 255])}::bytea AS bytes, ${'{"a": [1]}'}::jsonb AS json,
      ${new Date('2026-01-01T00:00:00.5Z')}::timestamptz AS at`
    expect(row).toEqual({
      int: 7,
      bigint: 2n ** 60n,
      float: 1.5,
      numeric: expect.objectContaining({ d: [1, 1_000_000] }),
      bool: true,
      null: null,
      text: 'ü"\\\n',
      texts: ['a"b', 'c,d', '{}'],
      ints: [1, 2],
      bytes: new Uint8Array([0, 255]),
      json: { a: [1] },
      at: new Date('2026-01-01T00:00:00.5Z'),
    })
  })
})
