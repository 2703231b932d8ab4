// The anomalies of Hermitage that PostgreSQL's levels differ in, through this project's transactions.
// Source: https://github.com/ept/hermitage/blob/master/postgres.md
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { DatabaseError } from '../src/db/errors.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { type Transaction, transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

type Level = 'ReadCommitted' | 'RepeatableRead' | 'Serializable'
type Outcome = 'allowed' | 'prevented'

/** As in docs/decisions/0004-transactions-and-repositories.md. */
const table: [anomaly: string, play: (level: Level) => Promise<Outcome>, outcomes: Record<Level, Outcome>][] = [
  [
    'lost update (P4)',
    lostUpdate,
    { ReadCommitted: 'allowed', RepeatableRead: 'prevented', Serializable: 'prevented' },
  ],
  [
    'read skew (G-single)',
    readSkew,
    { ReadCommitted: 'allowed', RepeatableRead: 'prevented', Serializable: 'prevented' },
  ],
  [
    'write skew (G2-item)',
    writeSkew,
    { ReadCommitted: 'allowed', RepeatableRead: 'allowed', Serializable: 'prevented' },
  ],
  [
    'write skew of predicates (G2)',
    predicateWriteSkew,
    { ReadCommitted: 'allowed', RepeatableRead: 'allowed', Serializable: 'prevented' },
  ],
]

const definition = { model: 'Product', filterable: [], sortable: {} } as const satisfies RepositoryDefinition<'Product'>

let server: TestDatabase
let database: Database

beforeAll(async () => {
  server = await createTestDatabase()
  database = new Database(readConfig(server.environment).database)
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

beforeEach(async () => {
  await server.query(`TRUNCATE products CASCADE`)
  await server.query(`INSERT INTO products (sku, name, price_cents, stock) VALUES ('x', 'x', 0, 10), ('y', 'y', 0, 20)`)
})

describe.each(table)('%s', (_anomaly, play, outcomes) => {
  test.each(Object.entries(outcomes) as [Level, Outcome][])('%s: %s', async (level, outcome) => {
    expect(await play(level)).toBe(outcome)
  })
})

test('the one who loses tries again on what the winner left: no sale is lost, at any level', async () => {
  for (const isolationLevel of ['RepeatableRead', 'Serializable'] as const) {
    await server.query(`UPDATE products SET stock = 10 WHERE sku = 'x'`)
    const sell = () =>
      transaction(
        database,
        async (tx) => {
          const stock = await stockOf(tx, 'x')
          await setStock(tx, 'x', stock - 1)
        },
        { isolationLevel, maxAttempts: 50 },
      )
    await Promise.all(Array.from({ length: 8 }, sell))
    expect(await server.query(`SELECT stock FROM products WHERE sku = 'x'`)).toEqual([{ stock: 2 }])
  }
})

test('at ReadCommitted, a locked row is not lost either', async () => {
  const [{ id } = {}] = await server.query(`SELECT id FROM products WHERE sku = 'x'`)
  const sell = () =>
    transaction(database, async (tx) => {
      const products = new Repository(tx, definition)
      const product = await products.lockById(String(id))
      if (product !== null) await products.updateById(product.id, { stock: product.stock - 1 })
    })
  await Promise.all(Array.from({ length: 8 }, sell))
  expect(await server.query(`SELECT stock FROM products WHERE sku = 'x'`)).toEqual([{ stock: 2 }])
})

/** Both read the stock, then both write what they think it is now. */
async function lostUpdate(level: Level): Promise<Outcome> {
  const [one, two] = [await begin(level), await begin(level)]
  await Promise.all([stockOf(one.tx, 'x'), stockOf(two.tx, 'x')])
  await setStock(one.tx, 'x', 11)
  const waiting = two.try(() => setStock(two.tx, 'x', 12))
  await one.commit()
  await waiting
  return (await two.commit()) ? 'allowed' : 'prevented'
}

/** One reads x before and y after the other has changed both. */
async function readSkew(level: Level): Promise<Outcome> {
  const [one, two] = [await begin(level), await begin(level)]
  const x = await stockOf(one.tx, 'x')
  await setStock(two.tx, 'x', 12)
  await setStock(two.tx, 'y', 18)
  await two.commit()
  const y = await stockOf(one.tx, 'y')
  await one.commit()
  return x + y === 30 ? 'prevented' : 'allowed'
}

/** Each writes one of the two rows that both have read. */
async function writeSkew(level: Level): Promise<Outcome> {
  const [one, two] = [await begin(level), await begin(level)]
  for (const { tx } of [one, two]) for (const sku of ['x', 'y']) await stockOf(tx, sku)
  await one.try(() => setStock(one.tx, 'x', 11))
  await two.try(() => setStock(two.tx, 'y', 21))
  return (await one.commit()) && (await two.commit()) ? 'allowed' : 'prevented'
}

/** Each adds a row that the other's search would have found. */
async function predicateWriteSkew(level: Level): Promise<Outcome> {
  const [one, two] = [await begin(level), await begin(level)]
  for (const { tx } of [one, two]) await tx.$queryRaw`SELECT * FROM products WHERE stock % 3 = 0`
  await one.try(() => one.tx.product.create({ data: { sku: 'z', name: 'z', priceCents: 0, stock: 30 } }))
  await two.try(() => two.tx.product.create({ data: { sku: 'w', name: 'w', priceCents: 0, stock: 42 } }))
  return (await one.commit()) && (await two.commit()) ? 'allowed' : 'prevented'
}

interface OpenTransaction {
  tx: Transaction
  /** Runs a statement that may be refused because of a collision, which `commit` then tells. */
  try(run: () => Promise<unknown>): Promise<void>
  /** @returns whether it was committed; false after a collision */
  commit(): Promise<boolean>
}

/** A transaction whose work ends when it is told to. */
async function begin(isolationLevel: Level): Promise<OpenTransaction> {
  let end = () => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  let collision: unknown
  let committed: Promise<boolean> | undefined
  const tx = await new Promise<Transaction>((resolve) => {
    const work = async (open: Transaction) => {
      resolve(open)
      await ended
      if (collision !== undefined) throw collision
    }
    committed = transaction(database, work, { isolationLevel, maxAttempts: 1 }).then(() => true, refuseOnly)
  })
  return {
    tx,
    async try(run) {
      await run().catch((error) => {
        collision = error
      })
    },
    commit() {
      end()
      return committed ?? expect.fail('it has not begun')
    },
  }
}

function refuseOnly(error: unknown): false {
  if (error instanceof DatabaseError && error.kind === 'conflict') return false
  throw error
}

async function stockOf(tx: Transaction, sku: string): Promise<number> {
  const product = await tx.product.findFirstOrThrow({ where: { sku } })
  return product.stock
}

function setStock(tx: Transaction, sku: string, stock: number): Promise<unknown> {
  return tx.product.updateMany({ where: { sku }, data: { stock } })
}
