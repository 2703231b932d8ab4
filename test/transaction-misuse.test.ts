import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { DatabaseError } from '../src/db/errors.ts'
import { afterCommit, executeInTransaction, type Transaction, transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

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
  await server.query('TRUNCATE products CASCADE')
})

const product = (sku: string) => ({ sku, name: sku, priceCents: 100 })
const add = (tx: Pick<Transaction, 'product'>, sku: string) => tx.product.create({ data: product(sku) })
const skus = async () => (await server.query('SELECT sku FROM products ORDER BY sku')).map((row) => row['sku'])

/** That the transaction fails with these words, whoever made the mistake, and that nothing of it is left. */
async function expectMisuse(words: RegExp, work: (tx: Transaction) => Promise<unknown>) {
  const [result] = await Promise.allSettled([transaction(database, work)])
  const error = result.status === 'rejected' ? result.reason : expect.fail('the mistake went unnoticed')
  expect(error).toBeInstanceOf(DatabaseError)
  expect(error).toMatchObject({ kind: 'misuse', message: expect.stringMatching(words) })
  expect(await skus()).toEqual([])
  expect(database.poolStatus().checkedOut).toBe(0)
  return error
}

describe('using the database inside a transaction on it', () => {
  const words = /used inside a transaction: use the handle/

  test.each<[string, () => Promise<unknown>]>([
    ['in a model call', () => database.client.product.count()],
    ['in a raw query', async () => database.client.$queryRaw`SELECT 1`],
    ['in another transaction', () => transaction(database, async () => {})],
    ['in executeInTransaction', () => executeInTransaction(database, database.client.product.count())],
    ['some calls away', async () => setTimeoutPromise().then(() => add(database.client, 'outer'))],
  ])('%s', async (_where, use) => {
    await expectMisuse(words, async (tx) => {
      await add(tx, 'a')
      await use()
    })
  })

  test('in a nested transaction', async () => {
    await expectMisuse(words, (tx) => transaction(tx, () => add(database.client, 'outer')))
  })

  test('is noticed there only: not beside it, before, after, or on another database', async () => {
    const other = new Database(readConfig(server.environment).database)
    let arrive = () => {}
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve
    })
    const running = transaction(database, async (tx) => {
      await add(tx, 'inside')
      arrive()
      await add(other.client, 'other')
    })
    await arrived
    await add(database.client, 'beside')
    await running
    await add(database.client, 'after')
    await other.close()
    expect(await skus()).toEqual(['after', 'beside', 'inside', 'other'])
  })
})

describe('a handle whose time is over', () => {
  test.each<[string, (use: (tx: Transaction) => Promise<void>) => Promise<unknown>]>([
    ['committed', (use) => transaction(database, use)],
    ['rolled back', (use) => transaction(database, (tx) => use(tx).then(() => Promise.reject(new Error('no'))))],
    ['nested', (use) => transaction(database, (tx) => transaction(tx, use))],
  ])('is refused: %s', async (_how, run) => {
    let kept: Transaction | undefined
    await run(async (tx) => {
      kept = tx
    }).catch(() => {})
    if (kept === undefined) return expect.fail('the work did not run')
    const tx = kept
    const ended = { kind: 'misuse', message: expect.stringContaining('has ended') }
    await expect(add(tx, 'late')).rejects.toMatchObject(ended)
    await expect(tx.$queryRaw`SELECT 1`).rejects.toMatchObject(ended)
    await expect(transaction(tx, async () => {})).rejects.toMatchObject(ended)
    expect(() => afterCommit(tx, () => {})).toThrow(expect.objectContaining(ended))
    expect(await skus()).toEqual([])
  })

  test('is refused while the outer transaction goes on', async () => {
    await expectMisuse(/has ended/, async (tx) => {
      let kept: Transaction | undefined
      await transaction(tx, async (inner) => {
        kept = inner
      })
      if (kept !== undefined) await add(kept, 'late')
    })
  })
})

describe('what was not awaited', () => {
  test('a statement that runs', async () => {
    await expectMisuse(/statement was not awaited/, async (tx) => {
      await add(tx, 'a')
      add(tx, 'b').then(() => {})
    })
  })

  test('a statement that never ran', async () => {
    await expectMisuse(/never awaited, so it never ran/, async (tx) => {
      await add(tx, 'a')
      void add(tx, 'b')
    })
  })

  test('a statement in a function that runs on', async () => {
    await expectMisuse(/statement was not awaited/, async (tx) => {
      const runOn = async () => {
        await add(tx, 'a')
      }
      void runOn()
    })
  })

  test('a nested transaction', async () => {
    await expectMisuse(/nested transaction was not awaited/, async (tx) => {
      await add(tx, 'a')
      void transaction(tx, (inner) => add(inner, 'b')).catch(() => {})
    })
  })

  test('a statement in a nested transaction', async () => {
    await expectMisuse(/never awaited/, (tx) =>
      transaction(tx, async (inner) => {
        void add(inner, 'b')
      }),
    )
  })

  test('several at once are fine when they are awaited together, and so are relations', async () => {
    const [, , orders] = await transaction(database, (tx) =>
      Promise.all([
        add(tx, 'a'),
        add(tx, 'b'),
        tx.user.findUnique({ where: { id: '00000000-0000-0000-0000-000000000001' } }).orders(),
      ]),
    )
    expect(orders).toBeNull()
    expect(await skus()).toEqual(['a', 'b'])
  })
})

describe('an error that was ignored', () => {
  test('is reported, with what it was', async () => {
    const error = await expectMisuse(/error of a statement was ignored/, async (tx) => {
      await add(tx, 'a')
      await add(tx, 'a').catch(() => {})
    })
    expect(error.cause).toMatchObject({ kind: 'unique' })
  })

  test('stops the next statement', async () => {
    const error = await expectMisuse(/failed before/, async (tx) => {
      await add(tx, 'a')
      await add(tx, 'a').catch(() => {})
      await add(tx, 'b')
    })
    expect(error.cause).toMatchObject({ kind: 'unique' })
  })

  test('is one in a nested transaction too', async () => {
    await expectMisuse(/error of a statement was ignored/, (tx) =>
      transaction(tx, async (inner) => {
        await add(inner, 'a')
        await inner.$executeRaw`SELECT 1 / 0`.catch(() => {})
      }),
    )
  })

  test('is none if a nested transaction took it, or if nothing was there to be found', async () => {
    await transaction(database, async (tx) => {
      await add(tx, 'a')
      await transaction(tx, (inner) => add(inner, 'a')).catch(() => {})
      const found = await tx.product
        .findUniqueOrThrow({ where: { sku: 'b', id: crypto.randomUUID() } })
        .catch(() => 'none')
      expect(found).toBe('none')
    })
    expect(await skus()).toEqual(['a'])
  })
})

describe('nesting in parallel', () => {
  const words = /nested transaction is open/

  test('of two nested transactions', async () => {
    await expectMisuse(words, (tx) =>
      Promise.all([transaction(tx, (inner) => add(inner, 'a')), transaction(tx, (inner) => add(inner, 'b'))]),
    )
  })

  test('of a nested transaction and a statement on the outer handle', async () => {
    await expectMisuse(words, (tx) => Promise.all([transaction(tx, (inner) => add(inner, 'a')), add(tx, 'b')]))
  })

  test('of a nested transaction and the outer handle inside it', async () => {
    await expectMisuse(words, (tx) =>
      transaction(tx, async (inner) => {
        await add(inner, 'a')
        await add(tx, 'b')
      }),
    )
  })
})

test("a transaction's statement cannot be given to another transaction", async () => {
  const other = new Database(readConfig(server.environment).database)
  await expectMisuse(/given to executeInTransaction/, (tx) => executeInTransaction(other, add(tx, 'a')))
  await other.close()
})

test('a mistake leaves the next transaction alone', async () => {
  await expectMisuse(/never awaited/, async (tx) => {
    void add(tx, 'a')
  })
  await transaction(database, (tx) => add(tx, 'b'))
  expect(await skus()).toEqual(['b'])
})

function setTimeoutPromise() {
  return new Promise((resolve) => setTimeout(resolve, 5))
}
