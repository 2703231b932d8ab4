// Every line after a @ts-expect-error is one that the compiler must refuse: `npm run check` fails if it does not. At run
// time, where the compiler has no say, the same lines must be refused too.
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import type { Order, OrderItem, User } from '../src/db/generated/client.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { type Transaction, transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const userDefinition = {
  model: 'User',
  filterable: ['email', 'isActive', 'deletedAt'],
  sortable: { createdAt: 'required', deletedAt: 'nullable' },
} as const satisfies RepositoryDefinition<'User'>

let server: TestDatabase
let database: Database
let users: Repository<typeof userDefinition>
let orders: Repository<{ model: 'Order'; filterable: ['totalCents']; sortable: Record<never, never> }>

beforeAll(async () => {
  server = await createTestDatabase()
  database = new Database(readConfig(server.environment).database)
  users = new Repository(database.client, userDefinition)
  await users.create({ id, email: 'bob@example.org', passwordHash: 'x', fullName: 'Bob' })
  orders = new Repository(database.client, { model: 'Order', filterable: ['totalCents'], sortable: {} })
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

const id = '00000000-0000-4000-8000-000000000001'
const ada = { email: 'ada@example.org', passwordHash: 'x', fullName: 'Ada' }
const refused = (call: Promise<unknown>) =>
  expect(call).rejects.toMatchObject({
    name: 'DatabaseError',
    kind: expect.stringMatching(/^(invalid_input|misuse|not_null)$/),
  })

test('what comes back has the types of the model', () => {
  const getUser = () => users.getById(id)
  expectTypeOf(getUser).returns.resolves.toEqualTypeOf<User | null>()
  expectTypeOf(users.create).returns.resolves.toEqualTypeOf<User>()
  expectTypeOf(orders.create).returns.resolves.toEqualTypeOf<Order>()
  const withRelations = () => orders.getByIdOrThrow(id, { include: ['user', 'items'] })
  expectTypeOf(withRelations).returns.resolves.toExtend<Order & { user: User | null; items: OrderItem[] }>()
  const without = () => orders.getByIdOrThrow(id)
  expectTypeOf(without).returns.resolves.not.toHaveProperty('user')
})

describe('the compiler refuses', () => {
  test('fields that are not there, or not listed', async () => {
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { mail: { eq: 'x' } } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { passwordHash: { eq: 'x' } } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { or: [{ mail: { eq: 'x' } }] } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, sort: [{ field: 'email', direction: 'asc' }] }))
    // @ts-expect-error
    await refused(users.create({ ...ada, nickname: 'Countess' }))
    // @ts-expect-error
    await refused(users.updateById(id, { nickname: 'Countess' }))
    // @ts-expect-error
    await refused(users.updateById(id, { fullName: 'x' }, { expected: { nickname: 'x' } }))
    // @ts-expect-error
    await refused(users.upsert(ada, { on: ['mail'], update: ['fullName'] }))
    // @ts-expect-error
    await refused(users.upsert(ada, { on: ['email'], update: ['nickname'] }))
  })

  test('values of other types, and missing ones', async () => {
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { email: { eq: 1 } } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { email: 'ada@example.org' } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: { email: { eq: undefined } } }))
    // @ts-expect-error
    await refused(users.list({ limit: 1, filter: undefined }))
    // @ts-expect-error
    await refused(users.list({}))
    // @ts-expect-error
    await refused(orders.count({ totalCents: { gt: 1 } }))
    // @ts-expect-error
    await refused(users.create({ email: 'ada@example.org', fullName: 'Ada' }))
    // @ts-expect-error
    await refused(users.updateById(id, { isActive: 'yes' }))
    // @ts-expect-error
    await refused(users.updateById(id, { fullName: null }))
    // @ts-expect-error
    await refused(users.updateById(id, { fullName: undefined }))
    // @ts-expect-error
    await refused(users.upsert(ada, { on: ['email'], update: [] }))
  })

  test('a text operator on what is no text', async () => {
    // @ts-expect-error
    await expect(users.count({ isActive: { contains: 'x' } })).rejects.toMatchObject({ name: 'DatabaseError' })
  })

  test('to change an id, and to mark deleted what cannot be', async () => {
    // @ts-expect-error
    await refused(users.updateById(id, { id }))
    // @ts-expect-error
    await refused(orders.softDelete(id))
    // @ts-expect-error
    await refused(orders.restore(id))
    // @ts-expect-error
    await refused(orders.purge(new Date()))
  })

  test('relations that are not there', async () => {
    // @ts-expect-error
    await refused(users.getById(id, { include: ['friends'] }))
  })

  test('definitions that do not fit the model', () => {
    // @ts-expect-error
    void ({ model: 'User', filterable: ['mail'], sortable: {} } satisfies RepositoryDefinition<'User'>)
    // @ts-expect-error
    void ({ model: 'User', filterable: [], sortable: { deletedAt: 'required' } } satisfies RepositoryDefinition<'User'>)
    // @ts-expect-error
    void ({ model: 'User', filterable: [], sortable: { email: 'nullable' } } satisfies RepositoryDefinition<'User'>)
    // @ts-expect-error
    void ({ model: 'User', filterable: [], sortable: {}, keptBy: ['friends'] } satisfies RepositoryDefinition<'User'>)
    // @ts-expect-error no single id
    type _OrderItems = RepositoryDefinition<'OrderItem'>
  })

  test('a client where a transaction is needed', () => {
    // @ts-expect-error
    const _start = () => transaction(database.client, async () => {})
    // @ts-expect-error
    const _pass = (): Transaction => database.client
  })
})
