import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import type { DatabaseError } from '../src/db/errors.ts'
import { afterCommit, executeInTransaction, type Transaction, transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

let server: TestDatabase
let database: Database

beforeAll(async () => {
  server = await createTestDatabase()
  await server.query(`DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 50', current_database());
  END $$`)
  database = new Database(readConfig(server.environment).database)
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

beforeEach(async () => {
  await server.query('TRUNCATE products CASCADE')
})

const product = (sku: string, stock = 10) => ({ sku, name: sku, priceCents: 100, stock })
const add = (tx: Transaction, sku: string) => tx.product.create({ data: product(sku) })
const skus = async () => (await server.query('SELECT sku FROM products ORDER BY sku')).map((row) => row['sku'])
const stocks = async () => (await server.query('SELECT stock FROM products ORDER BY sku')).map((row) => row['stock'])
const addTwo = () =>
  server.query(`INSERT INTO products (sku, name, price_cents, stock) VALUES ('a', 'a', 1, 10), ('b', 'b', 1, 10)`)
const setStock = (tx: Transaction, sku: string, stock: number) =>
  tx.$executeRaw`UPDATE products SET stock = ${stock}::int WHERE sku = ${sku}`
const failure = async (run: Promise<unknown>): Promise<DatabaseError> => {
  const [result] = await Promise.allSettled([run])
  if (result?.status !== 'rejected') return expect.fail('it did not fail')
  return result.reason
}

describe('a unit of work', () => {
  test('is committed when its work resolves, with what the work gave', async () => {
    const seenInside = await transaction(database, async (tx) => {
      await add(tx, 'a')
      await add(tx, 'b')
      return skus()
    })
    expect(seenInside).toEqual([])
    expect(await skus()).toEqual(['a', 'b'])
  })

  test('is rolled back when its work rejects, with the very error it threw', async () => {
    const mine = new Error('changed my mind')
    const error = await failure(
      transaction(database, async (tx) => {
        await add(tx, 'a')
        throw mine
      }),
    )
    expect(error).toBe(mine)
    expect(await skus()).toEqual([])
  })

  test('is rolled back when one of its statements fails', async () => {
    const error = await failure(
      transaction(database, async (tx) => {
        await add(tx, 'a')
        await add(tx, 'a')
      }),
    )
    expect(error).toMatchObject({ name: 'DatabaseError', kind: 'unique' })
    expect(await skus()).toEqual([])
  })

  test('races another one for the same row: both happen, one after the other', async () => {
    await addTwo()
    const take = () =>
      transaction(database, async (tx) => {
        const [row] = await tx.$queryRaw<{ stock: number }[]>`SELECT stock FROM products WHERE sku = 'a' FOR UPDATE`
        await setStock(tx, 'a', (row?.stock ?? 0) - 1)
      })
    await Promise.all([take(), take()])
    expect(await stocks()).toEqual([8, 10])
  })
})

describe('a nested transaction', () => {
  test('that fails leaves the outer one alive', async () => {
    await transaction(database, async (tx) => {
      await add(tx, 'a')
      const error = await failure(
        transaction(tx, async (inner) => {
          await add(inner, 'b')
          await add(inner, 'a')
        }),
      )
      expect(error.kind).toBe('unique')
      await add(tx, 'c')
    })
    expect(await skus()).toEqual(['a', 'c'])
  })

  test('that was committed is undone with the outer one', async () => {
    await failure(
      transaction(database, async (tx) => {
        await transaction(tx, (inner) => add(inner, 'a'))
        throw new Error('the outer one fails')
      }),
    )
    expect(await skus()).toEqual([])
  })

  test('nests again: each level keeps what it did unless it or one around it fails', async () => {
    await transaction(database, async (one) => {
      await add(one, '1')
      await transaction(one, async (two) => {
        await add(two, '2')
        await failure(
          transaction(two, async (three) => {
            await add(three, '3')
            throw new Error('the third fails')
          }),
        )
        await transaction(two, (three) => add(three, '3 again'))
      })
      await failure(
        transaction(one, async (two) => {
          await transaction(two, (three) => add(three, 'lost'))
          throw new Error('the second fails')
        }),
      )
    })
    expect(await skus()).toEqual(['1', '2', '3 again'])
  })

  test('has no isolation level, time or attempts of its own', async () => {
    for (const options of [{ isolationLevel: 'Serializable' as const }, { timeoutMs: 1 }, { maxAttempts: 1 }]) {
      const error = await failure(transaction(database, (tx) => transaction(tx, async () => {}, options)))
      expect(error).toMatchObject({ kind: 'misuse', message: expect.stringContaining(`${Object.keys(options)[0]}`) })
    }
  })
})

describe('the options', () => {
  test.each([
    ['ReadCommitted', 'read committed'],
    ['RepeatableRead', 'repeatable read'],
    ['Serializable', 'serializable'],
  ] as const)('run it at isolation level %s', async (isolationLevel, shown) => {
    const level = await transaction(database, (tx) => tx.$queryRaw`SHOW transaction_isolation`, { isolationLevel })
    expect(level).toEqual([{ transaction_isolation: shown }])
  })

  test('make all of it read only', async () => {
    const error = await failure(transaction(database, (tx) => add(tx, 'a'), { readOnly: true }))
    expect(error.sqlState).toBe('25006')
  })

  test('make a nested one read only, and the outer one is not', async () => {
    await transaction(database, async (tx) => {
      const error = await failure(transaction(tx, (inner) => add(inner, 'a'), { readOnly: true }))
      expect(error.sqlState).toBe('25006')
      await transaction(tx, (inner) => inner.product.count(), { readOnly: true })
      await add(tx, 'b')
    })
    expect(await skus()).toEqual(['b'])
  })
})

describe('a collision', () => {
  /** Runs the work twice: in its first run, the other transaction comes in between. */
  async function collide(
    isolationLevel: 'RepeatableRead' | 'Serializable',
    work: (tx: Transaction, interfere: (...sql: string[]) => Promise<void>) => Promise<unknown>,
  ) {
    const runs: string[] = []
    await transaction(
      database,
      async (tx) => {
        const first = runs.push('started') === 1
        await work(tx, async (...statements) => {
          if (first) for (const sql of statements) await server.query(sql)
        })
        runs[runs.length - 1] = 'ended'
      },
      { isolationLevel },
    )
    return runs
  }

  test('in a model call is repeated', async () => {
    await addTwo()
    const runs = await collide('RepeatableRead', async (tx, interfere) => {
      const { id, stock } = await tx.product.findFirstOrThrow({ where: { sku: 'a' } })
      await interfere(`UPDATE products SET stock = 5 WHERE sku = 'a'`)
      await tx.product.update({ where: { id }, data: { stock: stock - 1 } })
    })
    expect(runs).toEqual(['started', 'ended'])
    expect(await stocks()).toEqual([4, 10])
  })

  test('in a raw query is repeated', async () => {
    await addTwo()
    const runs = await collide('RepeatableRead', async (tx, interfere) => {
      await tx.$queryRaw`SELECT stock FROM products`
      await interfere(`UPDATE products SET stock = 5 WHERE sku = 'a'`)
      await tx.$executeRaw`UPDATE products SET stock = stock - 1 WHERE sku = 'a'`
    })
    expect(runs).toEqual(['started', 'ended'])
    expect(await stocks()).toEqual([4, 10])
  })

  test('found out at COMMIT, after all of the work went well, is repeated', async () => {
    await addTwo()
    const runs = await collide('Serializable', async (tx, interfere) => {
      const [row] = await tx.$queryRaw<{ sum: number }[]>`SELECT sum(stock)::int AS sum FROM products`
      await interfere('BEGIN ISOLATION LEVEL SERIALIZABLE', 'SELECT sum(stock) FROM products')
      await setStock(tx, 'a', row?.sum ?? 0)
      await interfere(`UPDATE products SET stock = 0 WHERE sku = 'b'`, 'COMMIT')
    })
    expect(runs).toEqual(['ended', 'ended'])
    expect(await stocks()).toEqual([10, 0])
  })

  test('wrapped in an error of the work is repeated all the same', async () => {
    await addTwo()
    const runs = await collide('RepeatableRead', async (tx, interfere) => {
      await tx.$queryRaw`SELECT stock FROM products`
      await interfere(`UPDATE products SET stock = 5 WHERE sku = 'a'`)
      await setStock(tx, 'a', 1).catch((cause) => Promise.reject(new Error('no luck', { cause })))
    })
    expect(runs).toEqual(['started', 'ended'])
  })

  test('that is a deadlock is repeated by the one who lost', async () => {
    await addTwo()
    let runs = 0
    const arrived: (() => void)[] = []
    const both = new Promise<void>((resolve) => arrived.push(() => arrived.length > 2 && resolve()))
    const lock = (first: string, second: string) =>
      transaction(database, async (tx) => {
        runs += 1
        await tx.$executeRaw`UPDATE products SET stock = stock - 1 WHERE sku = ${first}`
        arrived.push(() => {})
        arrived[0]?.()
        await both
        await tx.$executeRaw`UPDATE products SET stock = stock - 1 WHERE sku = ${second}`
      })
    await Promise.all([lock('a', 'b'), lock('b', 'a')])
    expect(runs).toBe(3)
    expect(await stocks()).toEqual([8, 8])
  })

  test('inside a nested transaction repeats the outermost, from its beginning', async () => {
    await addTwo()
    const outer: number[] = []
    const inner: number[] = []
    await transaction(
      database,
      async (tx) => {
        await tx.$queryRaw`SELECT stock FROM products`
        const first = outer.push(1) === 1
        await transaction(tx, async (nested) => {
          inner.push(1)
          if (first) await server.query(`UPDATE products SET stock = 5 WHERE sku = 'a'`)
          await setStock(nested, 'a', 1)
        })
      },
      { isolationLevel: 'RepeatableRead' },
    )
    expect([outer.length, inner.length]).toEqual([2, 2])
  })

  const alwaysCollide = (options: { maxAttempts?: number; timeoutMs?: number }, count: () => void) =>
    transaction(
      database,
      async (tx) => {
        count()
        await tx.$queryRaw`SELECT stock FROM products`
        await server.query(`UPDATE products SET stock = stock + 1 WHERE sku = 'a'`)
        await setStock(tx, 'a', 1)
      },
      { isolationLevel: 'RepeatableRead', ...options },
    )

  test('is repeated no more often than allowed, and then reported', async () => {
    await addTwo()
    let runs = 0
    const error = await failure(alwaysCollide({ maxAttempts: 3 }, () => (runs += 1)))
    expect(error).toMatchObject({ kind: 'conflict', sqlState: '40001' })
    expect(runs).toBe(3)
  })

  test('is repeated no longer than there is time', async () => {
    await addTwo()
    const started = performance.now()
    let runs = 0
    const error = await failure(alwaysCollide({ maxAttempts: 1000, timeoutMs: 500 }, () => (runs += 1)))
    expect(['conflict', 'timeout']).toContain(error.kind)
    expect(performance.now() - started).toBeLessThan(1000)
    expect(runs).toBeGreaterThan(2)
  })

  test('is not seen in a lost COMMIT: nobody knows whether that one happened', async () => {
    await server.query(`
      CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON products DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hang_up()`)
    let runs = 0
    const error = await failure(
      transaction(database, (tx) => {
        runs += 1
        return add(tx, 'a')
      }),
    )
    await server.query('DROP TRIGGER hang_up ON products')
    expect(error.kind).toBe('ambiguous_commit')
    expect(runs).toBe(1)
  })
})

describe('what is to be done after the commit', () => {
  test('is done once, after the run that counted, in order', async () => {
    await addTwo()
    const done: string[] = []
    let runs = 0
    await transaction(
      database,
      async (tx) => {
        runs += 1
        const run = runs
        afterCommit(tx, async () => done.push(`${run}: ${await stocks()}`))
        afterCommit(tx, () => done.push(`${run}: second`))
        await tx.$queryRaw`SELECT stock FROM products`
        if (run === 1) await server.query(`UPDATE products SET stock = 5 WHERE sku = 'a'`)
        await setStock(tx, 'a', 1)
      },
      { isolationLevel: 'RepeatableRead' },
    )
    expect(runs).toBe(2)
    expect(done).toEqual(['2: 1,10', '2: second'])
  })

  test('is not done after a rollback, nor is what a nested transaction asked for that failed', async () => {
    const done: string[] = []
    await failure(
      transaction(database, async (tx) => {
        afterCommit(tx, () => done.push('rolled back'))
        throw new Error('no')
      }),
    )
    await transaction(database, async (tx) => {
      await failure(
        transaction(tx, async (inner) => {
          afterCommit(inner, () => done.push('nested, rolled back'))
          throw new Error('no')
        }),
      )
      await transaction(tx, async (inner) => afterCommit(inner, () => done.push('nested')))
      expect(done).toEqual([])
    })
    expect(done).toEqual(['nested'])
  })

  test('may use the database, and may fail: that is said, and what is committed stays', async () => {
    const done: string[] = []
    const error = await failure(
      transaction(database, async (tx) => {
        await add(tx, 'a')
        afterCommit(tx, () => Promise.reject(new Error('no mail today')))
        afterCommit(tx, async () => done.push(`${await database.client.product.count()} there`))
      }),
    )
    expect(error).toMatchObject({ kind: 'internal', message: expect.stringContaining('was committed') })
    expect(done).toEqual(['1 there'])
    expect(await skus()).toEqual(['a'])
  })
})

describe('time', () => {
  const backends = () =>
    server.query(`SELECT state FROM pg_stat_activity WHERE datname = current_database()
                  AND pid <> pg_backend_pid() AND state <> 'idle'`)

  test.each([
    ['waits for something else', () => new Promise<never>(() => {})],
    ['waits for a statement', (tx: Transaction) => tx.$queryRaw`SELECT 1 FROM pg_sleep(1)`],
    ['waits in a nested transaction', (tx: Transaction) => transaction(tx, () => new Promise<never>(() => {}))],
  ])('ends work that %s: it is rolled back, and its connection is free', async (_what, wait) => {
    const started = performance.now()
    let late: Promise<unknown> | undefined
    const error = await failure(
      transaction(
        database,
        async (tx) => {
          await add(tx, 'a')
          late = new Promise((resolve) => setTimeout(resolve, 400)).then(() =>
            failure(Promise.resolve(add(tx, 'late'))),
          )
          await wait(tx)
        },
        { timeoutMs: 300 },
      ),
    )
    expect(error.kind).toBe('timeout')
    expect(performance.now() - started).toBeLessThan(700)
    expect(await late).toMatchObject({ kind: 'timeout' })
    expect(await skus()).toEqual([])
    // The server notices a lost connection when the statement ends.
    await expect.poll(backends, { timeout: 3000 }).toEqual([])
    expect(database.poolStatus().checkedOut).toBe(0)
  })

  test('is also spent waiting for a connection', async () => {
    const small = new Database({ ...readConfig(server.environment).database, poolSize: 1, maxOverflow: 0 })
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const holder = transaction(small, async (tx) => {
      await tx.$queryRaw`SELECT 1`
      await held
    })
    const started = performance.now()
    let ran = false
    const error = await failure(
      transaction(
        small,
        async () => {
          ran = true
        },
        { timeoutMs: 200 },
      ),
    )
    release()
    await holder
    expect(['timeout', 'pool_timeout']).toContain(error.kind)
    expect(performance.now() - started).toBeLessThan(600)
    await transaction(small, (tx) => tx.$queryRaw`SELECT 1`)
    expect(ran).toBe(false)
    await small.close()
  })

  test('that ends COMMIT leaves the outcome open', async () => {
    await server.query(`
      CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON products DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION linger()`)
    const error = await failure(transaction(database, (tx) => add(tx, 'a'), { timeoutMs: 300 }))
    await expect.poll(skus, { timeout: 5000 }).toEqual(['a'])
    await server.query('DROP TRIGGER linger ON products')
    expect(error.kind).toBe('ambiguous_commit')
  })
})

describe('executeInTransaction', () => {
  const createProduct = (sku: string) => database.client.product.create({ data: product(sku) })

  test('runs all, and gives each result its type', async () => {
    const [created, count] = await executeInTransaction(database, createProduct('a'), database.client.product.count())
    expect(created.sku).toBe('a')
    expect(count.toFixed()).toBe('1')
  })

  test('runs none if one fails', async () => {
    const error = await failure(executeInTransaction(database, createProduct('a'), createProduct('a')))
    expect(error).toMatchObject({ name: 'DatabaseError', kind: 'unique' })
    expect(await skus()).toEqual([])
  })

  test('repeats all of it after a deadlock', async () => {
    await addTwo()
    const { client } = database
    const take = (sku: string) => client.$executeRaw`UPDATE products SET stock = stock - 1 WHERE sku = ${sku}`
    const wait = () => client.$queryRaw`SELECT 1 FROM pg_sleep(0.2)`
    await Promise.all([
      executeInTransaction(database, take('a'), wait(), take('b')),
      executeInTransaction(database, take('b'), wait(), take('a')),
    ])
    expect(await stocks()).toEqual([8, 8])
  })

  test('sends a single statement without BEGIN and COMMIT', async () => {
    const statements: string[] = []
    const stop = database.observe((event) => event.type === 'statement' && statements.push(event.text))
    await executeInTransaction(database, database.client.$queryRaw`SELECT 1`)
    stop()
    expect(statements).toEqual(['SELECT 1'])
  })
})

test('n statements cost n + 1 round trips, and none cost none, whatever the options', async () => {
  const statements: string[] = []
  const stop = database.observe((event) => event.type === 'statement' && statements.push(event.text))
  for (const options of [{}, { isolationLevel: 'Serializable', readOnly: true }] as const) {
    await transaction(database, async () => {}, options)
    expect(statements).toEqual([])
    await transaction(database, (tx) => tx.$queryRaw`SELECT ${1}::int`, options)
    expect(statements.splice(0)).toEqual(['SELECT $1::int', 'COMMIT'])
  }
  stop()
})
