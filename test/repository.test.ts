import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database, type DatabaseHandle } from '../src/db/database.ts'
import type { DatabaseError } from '../src/db/errors.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const userDefinition = {
  model: 'User',
  filterable: ['email', 'fullName', 'role', 'isActive', 'createdAt'],
  sortable: { email: 'required', createdAt: 'required' },
  keptBy: ['orders'],
} as const satisfies RepositoryDefinition<'User'>

const orderDefinition = {
  model: 'Order',
  filterable: ['userId', 'totalCents'],
  sortable: { createdAt: 'required' },
} as const satisfies RepositoryDefinition<'Order'>

const usersOn = (handle: DatabaseHandle) => new Repository(handle, userDefinition)
const ordersOn = (handle: DatabaseHandle) => new Repository(handle, orderDefinition)

let server: TestDatabase
let database: Database
let users: ReturnType<typeof usersOn>
let orders: ReturnType<typeof ordersOn>

beforeAll(async () => {
  server = await createTestDatabase()
  database = new Database(readConfig(server.environment).database)
  users = usersOn(database.client)
  orders = ordersOn(database.client)
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

beforeEach(async () => {
  await server.query('TRUNCATE users, orders CASCADE')
})

const user = (name: string) => ({ email: `${name}@example.org`, passwordHash: 'hash', fullName: name })
const nobody = '00000000-0000-4000-8000-000000000000'
const failure = async (run: Promise<unknown>): Promise<DatabaseError> => {
  const [result] = await Promise.allSettled([run])
  return result.status === 'rejected' ? result.reason : expect.fail('it did not fail')
}

describe('a row', () => {
  test('is what Prisma makes of it, to the last type', async () => {
    const ada = await users.create(user('ada'))
    const order = await orders.create({ userId: ada.id, totalCents: 2n ** 62n })
    expect(ada).toStrictEqual(await database.client.user.findFirstOrThrow())
    expect(order).toStrictEqual(await database.client.order.findFirstOrThrow())
    expect(order.totalCents).toBe(2n ** 62n)
  })

  test('keeps its times, whatever the zone of the session', async () => {
    await server.query(`DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'America/New_York');
    END $$`)
    const elsewhere = new Database(readConfig(server.environment).database)
    const createdAt = new Date('2026-03-08T07:30:00.123Z')
    const { id } = await usersOn(elsewhere.client).create({ ...user('ada'), createdAt })
    const [stored] = await server.query(
      `SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') AS utc FROM users`,
    )
    expect(stored).toEqual({ utc: '2026-03-08 07:30:00.123' })
    expect(await usersOn(elsewhere.client).getById(id)).toMatchObject({ createdAt })
    expect(await usersOn(elsewhere.client).count({ createdAt: { eq: createdAt } })).toBe(1)
    await elsewhere.close()
  })

  test('moves its updated_at with every change, by raw SQL too, and within one transaction', async () => {
    const { id, updatedAt } = await users.create(user('ada'))
    const times = [updatedAt]
    await transaction(database, async (tx) => {
      for (const fullName of ['a', 'b', 'c']) {
        const changed = await usersOn(tx).updateById(id, { fullName })
        times.push(changed?.updatedAt ?? expect.fail('there was no row'))
      }
    })
    await server.query(`UPDATE users SET full_name = 'd', updated_at = '2000-01-01'`)
    times.push((await users.getByIdOrThrow(id)).updatedAt)
    expect(times).toEqual(times.toSorted((a, b) => a.getTime() - b.getTime()))
    expect(new Set(times.map(Number)).size).toBe(times.length)
  })

  test.each(['', "'; DROP TABLE users; --", '\\', '"', '%_', '\u{1f600}\t\n', '{"a":[null]}', 'null'])(
    'keeps the text %j, and is found by it',
    async (fullName) => {
      const created = await users.create({ ...user('ada'), fullName })
      const updated = await users.updateById(created.id, { fullName })
      expect([created.fullName, updated?.fullName]).toEqual([fullName, fullName])
      for (const condition of [
        { eq: fullName },
        { in: [fullName] },
        { contains: fullName },
        { startsWith: fullName },
      ]) {
        expect(await users.count({ fullName: condition })).toBe(1)
      }
    },
  )
})

describe('a row marked deleted', () => {
  async function oneOfTwoDeleted() {
    const [ada, bob] = await users.bulkCreate([user('ada'), user('bob')])
    if (ada === undefined || bob === undefined) return expect.fail('there were no rows')
    await users.softDelete(bob.id)
    return { ada, bob }
  }

  test('is neither seen nor changed', async () => {
    const { ada, bob } = await oneOfTwoDeleted()
    expect(await users.getById(bob.id)).toBeNull()
    expect(await users.getByIds([bob.id, ada.id])).toEqual({ rows: [ada], missing: [bob.id] })
    expect((await users.list({ limit: 9, total: true })).total).toBe(1)
    expect(await users.findOne({ fullName: { eq: 'bob' } })).toBeNull()
    expect(await users.updateById(bob.id, { fullName: 'x' })).toBeNull()
    expect(await users.updateWhere({ role: { eq: 'user' } }, { fullName: 'x' })).toBe(1)
    expect(await users.softDelete(bob.id)).toBeNull()
    expect(await users.hardDelete(bob.id)).toBe(false)
    expect(await transaction(database, (tx) => usersOn(tx).lockById(bob.id))).toBeNull()
    const ids: string[] = []
    for await (const { id } of users.iterate()) ids.push(id)
    expect(ids).toEqual([ada.id])
  })

  test('is there for those who ask', async () => {
    const { ada, bob } = await oneOfTwoDeleted()
    expect(await users.getById(bob.id, { deleted: 'include' })).toMatchObject({
      id: bob.id,
      deletedAt: expect.any(Date),
    })
    expect(await users.getById(ada.id, { deleted: 'only' })).toBeNull()
    expect(await users.count({}, { deleted: 'only' })).toBe(1)
    expect(await users.restore(bob.id)).toMatchObject({ id: bob.id, deletedAt: null })
    expect(await users.restore(bob.id)).toBeNull()
  })

  test('leaves its unique values to others, and cannot have them back', async () => {
    const { bob } = await oneOfTwoDeleted()
    const { row, created } = await users.upsert(user('bob'), { on: ['email'], update: ['fullName'] })
    expect([created, row.id === bob.id]).toEqual([true, false])
    expect(await failure(users.restore(bob.id))).toMatchObject({ kind: 'unique', fields: ['email'] })
  })

  test('is not among the relations of others', async () => {
    const { ada, bob } = await oneOfTwoDeleted()
    const [hers, his] = await orders.bulkCreate([ada, bob].map(({ id }) => ({ userId: id, totalCents: 1n })))
    const { rows } = await orders.list({ limit: 9, include: ['user', 'items'] })
    const byId = new Map(rows.map((order) => [order.id, order]))
    expect(byId.get(hers?.id ?? '')).toEqual({ ...hers, user: ada, items: [] })
    expect(byId.get(his?.id ?? '')).toEqual({ ...his, user: null, items: [] })
    const all = await orders.getByIdOrThrow(his?.id ?? '', { include: ['user'], deleted: 'include' })
    expect(all.user).toMatchObject({ id: bob.id })
    expect(await users.getById(ada.id, { include: ['orders'] })).toEqual({ ...ada, orders: [hers] })
  })

  test('is purged in time, unless others need it', async () => {
    const { ada, bob } = await oneOfTwoDeleted()
    const { id } = await users.create(user('cat'))
    await users.softDelete(id)
    await orders.create({ userId: bob.id, totalCents: 1n })
    expect(await users.purge(new Date(Date.now() - 60_000))).toBe(0)
    expect(await users.purge(new Date(Date.now() + 60_000))).toBe(1)
    const { missing } = await users.getByIds([ada.id, bob.id, id], { deleted: 'include' })
    expect(missing).toEqual([id])
  })
})

describe('an error', () => {
  test('says which fields are taken', async () => {
    await users.create(user('ada'))
    expect(await failure(users.create(user('ada')))).toMatchObject({ kind: 'unique', fields: ['email'] })
    const { id } = await users.create(user('bob'))
    const taken = { email: user('ada').email }
    expect(await failure(users.updateById(id, taken))).toMatchObject({ kind: 'unique', fields: ['email'] })
    expect(await failure(users.create({ ...user('cat'), id }))).toMatchObject({ kind: 'unique', fields: ['id'] })
  })

  test('says that a row is in use', async () => {
    const { id } = await users.create(user('ada'))
    await orders.create({ userId: id, totalCents: 1n })
    expect(await failure(users.hardDelete(id))).toMatchObject({ kind: 'in_use' })
    expect(await failure(orders.create({ userId: nobody, totalCents: 1n }))).toMatchObject({ kind: 'foreign_key' })
  })

  test('says that a row is not there, or not as it was', async () => {
    expect(await failure(users.getByIdOrThrow(nobody))).toMatchObject({ kind: 'not_found' })
    const { id, updatedAt } = await users.create(user('ada'))
    const expected = { updatedAt }
    expect(await users.updateById(id, { fullName: 'first' }, { expected })).toMatchObject({ fullName: 'first' })
    expect(await failure(users.updateById(id, { fullName: 'second' }, { expected }))).toMatchObject({ kind: 'stale' })
    expect(await failure(users.softDelete(id, { expected }))).toMatchObject({ kind: 'stale' })
    expect(await users.updateById(nobody, { fullName: 'x' }, { expected })).toBeNull()
    expect(await users.getById(id)).toMatchObject({ fullName: 'first' })
  })

  test.each<[string, () => Promise<unknown>]>([
    ['an id', () => users.getById('no uuid')],
    ['ids', () => users.getByIds([nobody, 'no uuid'])],
    ['a long text', () => users.create({ ...user('a'), fullName: 'x'.repeat(101) })],
    ['a NUL', () => users.create({ ...user('a'), fullName: 'a\0b' })],
    ['a NUL in a change', () => users.updateById(nobody, { fullName: 'a\0b' })],
    ['half a character', () => users.create({ ...user('a'), fullName: '\ud800' })],
    ['half a character in a change', () => users.updateById(nobody, { fullName: '\ud800' })],
    ['a time', () => users.create({ ...user('a'), createdAt: new Date(Number.NaN) })],
    ['a number', () => orders.create({ userId: nobody, totalCents: 2n ** 63n })],
  ])('says that %s cannot be stored or sought', async (_what, call) => {
    expect(await failure(call())).toMatchObject({ kind: 'invalid_input' })
  })

  test('names a check, and shows no values of the row', async () => {
    const error = await failure(users.create({ ...user('ada'), role: 'root', fullName: 'a secret' }))
    expect(error).toMatchObject({ kind: 'check', constraint: 'users_role_check' })
    expect(JSON.stringify([error.message, String(error.cause), error])).not.toContain('a secret')
  })
})

describe('undefined never means everything', () => {
  beforeEach(async () => {
    await users.bulkCreate([user('ada'), user('bob')])
  })

  // As JavaScript would pass it on, or a value that was read from where nothing is.
  const nothing = undefined as never
  test.each<[string, () => Promise<unknown>]>([
    ['as a filter', () => users.updateWhere(nothing, { fullName: 'x' })],
    ['as a list filter', () => users.list({ limit: 9, filter: nothing })],
    ['to find one', () => users.findOne(nothing)],
    ['to count', () => users.count(nothing)],
    ['as a condition', () => users.updateWhere({ role: nothing }, { fullName: 'x' })],
    ['as an operand', () => users.updateWhere({ role: { eq: nothing } }, { fullName: 'x' })],
    ['in a list', () => users.count({ role: { in: [nothing] } })],
    ['within or', () => users.count({ or: [nothing] })],
    ['as an id', () => users.getById(nothing)],
    ['as an id to delete', () => users.hardDelete(nothing)],
    ['among ids', () => users.getByIds([nothing])],
    ['as an expected value', () => users.updateById(nobody, { fullName: 'x' }, { expected: { role: nothing } })],
    ['as a new value', () => users.updateById(nobody, { fullName: nothing })],
    ['in a new row', () => users.create({ ...user('x'), fullName: nothing })],
    ['as a filter without conditions', () => users.updateWhere({}, { fullName: 'x' })],
    ['as conditions without operators', () => users.updateWhere({ role: {} }, { fullName: 'x' })],
    ['as an empty list of conditions', () => users.updateWhere({ and: [] }, { fullName: 'x' })],
    ['as no change at all', () => users.updateWhere({ role: { eq: 'user' } }, {})],
  ])('%s', async (_how, call) => {
    expect(await failure(call())).toMatchObject({ kind: 'misuse' })
    expect(await users.count({ fullName: { eq: 'x' } })).toBe(0)
    expect(await users.count({})).toBe(2)
  })
})

describe('a filter from outside', () => {
  // As a route would pass it on, if it did not look.
  const outside = (filter: unknown) => failure(users.list({ limit: 9, filter: filter as object }))

  test.each([
    ['a field that is not listed', { passwordHash: { startsWith: 'h' } }],
    ['a field there is not', { nothing: { eq: 1 } }],
    ['a relation', { orders: { none: {} } }],
    ['an inherited name', { constructor: { eq: 1 } }],
    ['an operator there is not', { role: { regex: '.*' } }],
    ["one of Prisma's", { role: { mode: 'insensitive' } }],
    ['an inherited operator', { role: { toString: 'user' } }],
    ['operators where a value belongs', { role: { eq: { not: '' } } }],
    ['a value of another type', { role: { eq: 1 } }],
    ['a text for a time', { createdAt: { gt: '2026-01-01' } }],
    ['a value where a list belongs', { role: { in: 'user' } }],
    ['three ends', { createdAt: { between: [new Date(), new Date(), new Date()] } }],
    ['a list', [{ role: { eq: 'user' } }]],
    ['a text', 'role'],
    ['a condition that is no object', { role: 'user' }],
    ['null to compare with', { createdAt: { lt: null } }],
    ['null to look for', { role: { contains: null } }],
    ['null in a list', { role: { in: [null] } }],
    ['null for a yes or no', { role: { isNull: null } }],
    ['or that is no list', { or: { role: { eq: 'user' } } }],
    ['SQL', { 'role" = role OR "role': { eq: 'x' } }],
  ])('is refused if it has %s', async (_what, filter) => {
    expect(await outside(filter)).toMatchObject({ kind: 'invalid_input' })
  })
})

describe('many at a time', () => {
  test('are created in the order given, or none of them is', async () => {
    const names = Array.from({ length: 1000 }, (_, n) => `${(n * 7919) % 1000}`)
    const created = await users.bulkCreate(names.map(user))
    expect(created.map(({ fullName }) => fullName)).toEqual(names)
    expect(await failure(users.bulkCreate([user('new'), user('7')]))).toMatchObject({ kind: 'unique' })
    expect(await users.count({})).toBe(1000)
    expect(await users.bulkCreate([])).toEqual([])
  })

  test('must give the same fields, because a default is for all of them or for none', async () => {
    const rows = [user('ada'), { ...user('bob'), role: 'admin' }]
    expect(await failure(users.bulkCreate(rows))).toMatchObject({
      kind: 'misuse',
      message: expect.stringContaining('Row 1'),
    })
  })

  test('are found by their ids, in the order asked for', async () => {
    const [ada, bob] = await users.bulkCreate([user('ada'), user('bob')])
    if (ada === undefined || bob === undefined) return expect.fail('there were no rows')
    const { rows, missing } = await users.getByIds([bob.id, nobody, ada.id, bob.id.toUpperCase()])
    expect(rows).toEqual([bob, ada, bob])
    expect(missing).toEqual([nobody])
    expect(await users.getByIds([])).toEqual({ rows: [], missing: [] })
  })
})

describe('an upsert', () => {
  const byEmail = { on: ['email'], update: ['fullName'] } as const

  test('creates one row, whoever else does at the same time, and tells who did', async () => {
    const names = Array.from({ length: 75 }, (_, n) => `${n}`)
    const results = await Promise.all(names.map((fullName) => users.upsert({ ...user('ada'), fullName }, byEmail)))
    expect(results.filter(({ created }) => created)).toHaveLength(1)
    expect(new Set(results.map(({ row }) => row.id)).size).toBe(1)
    expect(await users.count({})).toBe(1)
    expect(results.map(({ row }) => row.fullName)).toEqual(names)
  })

  test('changes what it should, and nothing else', async () => {
    const before = await users.create(user('ada'))
    const { row, created } = await users.upsert({ ...user('ada'), passwordHash: 'new', fullName: 'Ada' }, byEmail)
    expect(created).toBe(false)
    expect(row).toEqual({ ...before, fullName: 'Ada', updatedAt: row.updatedAt })
  })

  test('of many is done for all or none, in any order, by several at once', async () => {
    await users.create(user('3'))
    const rows = Array.from({ length: 50 }, (_, n) => user(`${n}`))
    const runs = [rows, rows.toReversed(), rows, rows.toReversed()]
    const results = await Promise.all(runs.map((run) => users.bulkUpsert(run, byEmail)))
    results.forEach((result, index) => {
      expect(result.map(({ row }) => row.email)).toEqual(runs[index]?.map(({ email }) => email))
    })
    expect(results.flat().filter(({ created }) => created)).toHaveLength(49)
    const invalid = [user('new'), { ...user('3'), fullName: 'x'.repeat(101) }]
    expect(await failure(users.bulkUpsert(invalid, byEmail))).toMatchObject({ kind: 'invalid_input' })
    expect(await users.count({})).toBe(50)
    const twice = [user('4'), user('5'), user('4')]
    expect((await failure(users.bulkUpsert(twice, byEmail))).message).toBe('Rows 0 and 2 have the same email')
  })
})

describe('a lock', () => {
  test('makes others wait, fail or pass by, as they choose', async () => {
    const [ada, bob] = await users.bulkCreate([user('ada'), user('bob')])
    if (ada === undefined || bob === undefined) return expect.fail('there were no rows')
    await transaction(database, async (tx) => {
      await usersOn(tx).lockById(ada.id)
      const [skipped, refused] = await Promise.allSettled([
        elsewhere((other) => usersOn(other).lockByIds([ada.id, bob.id], { ifLocked: 'skip' })),
        elsewhere((other) => usersOn(other).lockById(ada.id, { ifLocked: 'fail' })),
      ])
      expect(skipped).toMatchObject({ status: 'fulfilled', value: [{ id: bob.id }] })
      expect(refused).toMatchObject({ status: 'rejected', reason: { kind: 'lock_not_available' } })
      // Who refers to the row is not kept from it: an order of hers.
      await server.query('INSERT INTO orders (user_id, total_cents) VALUES ($1, 1)', [ada.id])
    })
  })

  test('of several rows cannot deadlock, whatever the order they are named in', async () => {
    const created = await users.bulkCreate(Array.from({ length: 20 }, (_, n) => user(`${n}`)))
    const ids = created.map(({ id }) => id)
    const lockAll = (order: string[]) =>
      transaction(
        database,
        async (tx) => {
          const rows = await usersOn(tx).lockByIds(order)
          expect(rows.map(({ id }) => id)).toEqual(ids.toSorted())
        },
        { maxAttempts: 1 },
      )
    await Promise.all(Array.from({ length: 10 }, (_, n) => lockAll(n % 2 === 0 ? ids : ids.toReversed())))
  })

  test('needs a transaction, or it would be gone at once', async () => {
    expect(await failure(users.lockById(nobody))).toMatchObject({ kind: 'misuse' })
  })

  /** In another transaction, as another request would: not inside the one that runs. */
  function elsewhere<T>(work: Parameters<typeof transaction<T>>[1]): Promise<T> {
    const other = new Database(readConfig(server.environment).database)
    return transaction(other, work).finally(() => other.close())
  }
})

test('a definition that the client does not know is refused at once', () => {
  const definition = { ...userDefinition, model: 'Nothing' as 'User' }
  expect(() => new Repository(database.client, definition)).toThrow(/no model Nothing/)
})

test('a repository sees what its transaction does, and no other', async () => {
  const id = randomUUID()
  await transaction(database, async (tx) => {
    await usersOn(tx).create({ ...user('ada'), id })
    expect(await usersOn(tx).getById(id)).not.toBeNull()
    expect(await server.query('SELECT * FROM users')).toEqual([])
  })
  expect(await users.getById(id)).not.toBeNull()
})
