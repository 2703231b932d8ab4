import { neonConfig } from '@neondatabase/serverless'
import { PrismaNeon } from '@prisma/adapter-neon'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { DatabaseError, toDatabaseError } from '../src/db/errors.ts'
import { PrismaClient } from '../src/db/generated/client.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

let testDatabase: TestDatabase
beforeAll(async () => {
  testDatabase = await createTestDatabase()
  const proxy = testDatabase.environment['NEON_WS_PROXY']
  neonConfig.webSocketConstructor = WebSocket
  neonConfig.wsProxy = (host, port) => `${proxy}/v1?address=${host}:${port}`
  neonConfig.useSecureWebSocket = false
  neonConfig.pipelineConnect = false
})
afterAll(() => testDatabase.drop())

/** What the promise was refused with, as it is. */
const thrown = (promise: Promise<unknown>) =>
  promise.then(
    () => 'it succeeded',
    (error: unknown) => error,
  )

// The errors of Prisma's own adapters, as they come: the shapes differ by adapter, by call and by Prisma's version.
describe.each(['neon', 'pg'])('the errors of adapter-%s as it is', (name) => {
  const open = (url = testDatabase.url) =>
    new PrismaClient({
      errorFormat: 'minimal',
      adapter: name === 'neon' ? new PrismaNeon({ connectionString: url }) : new PrismaPg({ connectionString: url }),
    })

  test('have the kind of their SQLSTATE, by model, raw and at COMMIT', async () => {
    const client = open()
    const email = `secret@${name}.local`
    const user = { data: { email, passwordHash: 'x', fullName: 'x' } }
    await client.user.create(user)
    const seen = async (promise: Promise<unknown>) => {
      const { kind, sqlState, columns, message, cause } = toDatabaseError(await thrown(promise))
      expect(`${message} ${cause}`).not.toContain('secret')
      return { kind, sqlState, columns }
    }
    expect(await seen(client.user.create(user))).toMatchObject({ kind: 'unique', sqlState: '23505' })
    expect(
      await seen(client.$executeRaw`INSERT INTO users (email, password_hash, full_name) VALUES (${email}, 'x', 'x')`),
    ).toMatchObject({ kind: 'unique', sqlState: '23505' })
    const id = '00000000-0000-0000-0000-00000000dead'
    const orphan = client.order.create({ data: { userId: id, status: 'placed', totalCents: 0n } })
    expect(await seen(orphan)).toMatchObject({ kind: 'foreign_key', sqlState: '23503' })
    expect(await seen(client.user.findFirst({ where: { id: 'secret' } }))).toMatchObject({ kind: 'invalid_input' })
    expect(await seen(client.user.update({ where: { id }, data: { fullName: 'x' } }))).toMatchObject({
      kind: 'not_found',
    })
    // @ts-expect-error a field that is not in the model
    expect(await seen(client.user.findFirst({ where: { nonsense: 1 } }))).toMatchObject({ kind: 'misuse' })

    await testDatabase.query(`CREATE TABLE IF NOT EXISTS deferred
      (id int PRIMARY KEY, parent int REFERENCES deferred DEFERRABLE INITIALLY DEFERRED)`)
    const atCommit = client.$transaction((tx) => tx.$executeRaw`INSERT INTO deferred VALUES (1, 2)`)
    expect(await seen(atCommit)).toMatchObject({ kind: 'foreign_key', sqlState: '23503' })
    const late = client.$transaction((tx) => tx.$executeRaw`SELECT pg_sleep(0.3)`, { timeout: 50 })
    expect(await seen(late)).toMatchObject({ kind: 'timeout' })
    await client.$disconnect()
  })

  test('are unavailable when there is no connection, whatever says so', async () => {
    const refused = open('postgresql://postgres:x@127.0.0.1:1/x')
    expect(toDatabaseError(await thrown(refused.user.count())).kind).toBe('unavailable')
    const unknown = open(testDatabase.url.replace(/:[^:@/]+@/, ':wrong@'))
    expect(toDatabaseError(await thrown(unknown.user.count()))).toMatchObject({ kind: 'unavailable' })
    await refused.$disconnect()
    await unknown.$disconnect()
  })
})

test('a WebSocket that cannot be opened ends in an event, which is an error like any other', async () => {
  const event = await new Promise((resolve) => new WebSocket('ws://127.0.0.1:1').addEventListener('error', resolve))
  expect(event).not.toBeInstanceOf(Error)
  expect(toDatabaseError(event)).toBeInstanceOf(DatabaseError)
  expect(toDatabaseError(event).kind).toBe('unavailable')
})

test.each([
  ['Connection terminated unexpectedly', 'unavailable'],
  ['timeout exceeded when trying to connect', 'pool_timeout'],
  ['Query read timeout', 'timeout'],
  ['something else', 'internal'],
])('the words %j mean %s, as a string, an Error, or the cause of one', (words, kind) => {
  for (const error of [words, new Error(words), new Error('outer', { cause: new Error('middle', { cause: words }) })]) {
    expect(toDatabaseError(error).kind).toBe(kind)
  }
})

test.each([undefined, null, 0, {}, new AggregateError([])])('%s is an error too', (error) => {
  expect(toDatabaseError(error)).toBeInstanceOf(DatabaseError)
})

test('a socket error is found inside what wraps it, circles and all', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  expect(toDatabaseError(new AggregateError([refused])).kind).toBe('unavailable')
  const circle = new Error('circle')
  circle.cause = circle
  expect(toDatabaseError(circle).kind).toBe('internal')
})

test('what is translated already stays what it is', () => {
  const error = new DatabaseError('conflict', 'x')
  expect(toDatabaseError(error)).toBe(error)
  expect(toDatabaseError(new Error('outer', { cause: error }))).toBe(error)
})
