// A repository and a plain list of rows are put through the same random calls, and must never disagree.
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import type { Product } from '../src/db/generated/client.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { transaction } from '../src/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const definition = {
  model: 'Product',
  filterable: ['sku', 'name', 'priceCents', 'createdAt', 'deletedAt'],
  sortable: { name: 'required', priceCents: 'required', createdAt: 'required', deletedAt: 'nullable' },
  keptBy: ['orderItems'],
} as const satisfies RepositoryDefinition<'Product'>

type Products = Repository<typeof definition>
type Listing = Parameters<Products['list']>[0]
type Filter = NonNullable<Listing['filter']>
type Sort = NonNullable<Listing['sort']>
type Deleted = NonNullable<Listing['deleted']>

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

// Few values, so that they meet; and such as sort alike in every collation.
const sku = fc.constantFrom(...'abcdefghij')
const name = fc.constantFrom('', '100% \\ wool', 'anvil', 'bolt', 'x_y')
const cents = fc.integer({ min: 0, max: 3 })
const time = fc.constantFrom(1, 2, 3).map((day) => new Date(Date.UTC(2026, 0, day, 12, 0, 0, day)))
const newRow = fc.record({ sku, name, priceCents: cents, createdAt: time })
const rowsToBegin = fc.uniqueArray(newRow, { selector: (row) => row.sku, minLength: 3, maxLength: 8 })
const patch = some({ sku, name, priceCents: cents, createdAt: time })
const deleted = fc.constantFrom<Deleted>('exclude', 'include', 'only')
/** The number of a row there is or was. */
const which = fc.nat({ max: 7 })

const times = fc.array(time, { maxLength: 2 })
const condition: fc.Arbitrary<Filter> = fc.oneof(
  oneOf({ eq: sku, not: sku, in: fc.array(sku, { maxLength: 5 }) }).map((chosen) => ({ sku: chosen })),
  oneOf({
    contains: fc.constantFrom('o', '%', '_', '\\', ''),
    startsWith: fc.constantFrom('a', '100%', 'x_', '_'),
  }).map((chosen) => ({ name: chosen })),
  fc.constantFrom('VIL', 'Wool', '%').map((search) => ({ name: { search } })),
  oneOf({ lt: cents, lte: cents, gt: cents, gte: cents, between: fc.tuple(cents, cents) }).map((chosen) => ({
    priceCents: chosen,
  })),
  oneOf({ eq: time, not: time, gt: time, lte: time, in: times }).map((chosen) => ({ createdAt: chosen })),
  oneOf({ isNull: fc.boolean(), eq: fc.constant(null), not: fc.constantFrom(null, new Date(0)), gt: time }).map(
    (chosen) => ({ deletedAt: chosen }),
  ),
)
const conditions = fc.array(condition, { maxLength: 3 })
const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 3, arbitrary: condition },
  { weight: 1, arbitrary: conditions.map((all) => Object.assign({}, ...all)) },
  { weight: 1, arbitrary: conditions.map((and) => ({ and })) },
  {
    weight: 2,
    arbitrary: fc.tuple(condition, conditions).map(([first, or]) => ({ ...first, or: [...or, { and: or }] })),
  },
  { weight: 1, arbitrary: conditions.map((or) => ({ or })) },
)
const field = fc.constantFrom('name' as const, 'priceCents' as const, 'createdAt' as const, 'deletedAt' as const)
const direction = fc.constantFrom('asc' as const, 'desc' as const)
const sort = fc.uniqueArray(fc.record({ field, direction }), { selector: (key) => key.field, maxLength: 3 })

/** Each makes a call, works out what it should give, and asserts that it does. */
type Call = (products: Products, model: Model) => Promise<void>

const calls: fc.Arbitrary<Call>[] = [
  newRow.map((row) => async (products, model) => {
    await model.expectSame(
      () => products.create(row),
      () => model.insert([row])[0],
    )
  }),
  fc.array(newRow, { maxLength: 3 }).map((rows) => async (products, model) => {
    await model.expectSame(
      () => products.bulkCreate(rows),
      () => model.insert(rows),
    )
  }),
  fc.array(newRow, { maxLength: 3 }).map((rows) => async (products, model) => {
    const conflict = { on: ['sku'], update: ['name', 'priceCents'] } as const
    await model.expectSame(
      () => products.bulkUpsert(rows, conflict),
      () => model.upsert(rows),
    )
  }),
  fc.tuple(which, patch, fc.option(cents)).map(([nth, fields, expected]) => async (products, model) => {
    const id = model.id(nth)
    const options = expected === null ? {} : { expected: { priceCents: expected } }
    await model.expectSame(
      () => products.updateById(id, fields, options),
      () => {
        const row = model.find(id, 'exclude')
        if (row !== undefined && expected !== null && row.priceCents !== expected) throw new Refused('stale')
        return row === undefined ? null : model.change([row], fields)[0]
      },
    )
  }),
  fc.tuple(filter, patch, deleted).map(([chosen, fields, mode]) => async (products, model) => {
    if (everything(chosen)) return
    await model.expectSame(
      () => products.updateWhere(chosen, fields, { deleted: mode }),
      () => model.change(model.matching(chosen, mode), fields).length,
    )
    const { rows } = await products.getByIds(
      model.rows.map(({ id }) => id),
      { deleted: 'include' },
    )
    model.adopt(model.rows, rows)
  }),
  which.map((nth) => async (products, model) => {
    const id = model.id(nth)
    await model.expectSame(
      () => products.softDelete(id),
      (result) => {
        const row = model.find(id, 'exclude')
        return row === undefined
          ? null
          : model.change([row], { deletedAt: result?.deletedAt ?? new Date(Number.NaN) })[0]
      },
    )
  }),
  which.map((nth) => async (products, model) => {
    const id = model.id(nth)
    await model.expectSame(
      () => products.restore(id),
      () => {
        const row = model.find(id, 'only')
        return row === undefined ? null : model.change([row], { deletedAt: null })[0]
      },
    )
  }),
  fc.tuple(which, deleted).map(([nth, mode]) => async (products, model) => {
    const id = model.id(nth)
    await model.expectSame(
      () => products.hardDelete(id, { deleted: mode }),
      () => model.remove(({ id: other, ...row }) => other === id && visible(row, mode)) === 1,
    )
  }),
  fc.constantFrom(new Date(0), new Date(Date.now() + 3_600_000)).map((olderThan) => async (products, model) => {
    await model.expectSame(
      () => products.purge(olderThan),
      () => model.remove(({ deletedAt }) => deletedAt !== null && deletedAt < olderThan),
    )
  }),
  fc.tuple(fc.array(which, { maxLength: 5 }), deleted).map(([numbers, mode]) => async (products, model) => {
    const ids = numbers.map((nth) => model.id(nth))
    const rowOf = (id: string) => model.find(id, mode)
    await model.expectSame(
      () => products.getByIds(ids, { deleted: mode }),
      () => ({ rows: ids.flatMap((id) => rowOf(id) ?? []), missing: ids.filter((id) => rowOf(id) === undefined) }),
    )
    const [id = model.id(0)] = ids
    await model.expectSame(
      () => products.getById(id, { deleted: mode }),
      () => rowOf(id) ?? null,
    )
  }),
]

const list: fc.Arbitrary<Call> = fc
  .tuple(filter, sort, deleted, fc.integer({ min: 1, max: 4 }), fc.nat({ max: 4 }))
  .map(([chosen, keys, mode, limit, offset]) => async (products, model) => {
    const all = ordered(model.matching(chosen, mode), keys)
    const page = await products.list({ filter: chosen, sort: keys, deleted: mode, limit, offset, total: true })
    expect(page.rows).toEqual(all.slice(offset, offset + limit))
    expect(page.total).toBe(all.length)
    expect(page.next !== null).toBe(all.length > offset + limit)
    expect(await products.findOne(chosen, { sort: keys, deleted: mode })).toEqual(all[0] ?? null)
    expect(await products.count(chosen, { deleted: mode })).toBe(all.length)
    expect(await products.exists(chosen, { deleted: mode })).toBe(all.length > 0)
  })

test('a repository is what a list of rows would be', async () => {
  const property = fc.asyncProperty(
    rowsToBegin,
    fc.array(fc.oneof(...calls.map((arbitrary) => ({ weight: 1, arbitrary })), { weight: 10, arbitrary: list }), {
      maxLength: 25,
    }),
    fc.boolean(),
    async (rows, all, nested) => {
      await server.query('TRUNCATE products CASCADE')
      const model = new Model()
      const products = nested ? eachInTransaction() : new Repository(database.client, definition)
      await model.expectSame(
        () => products.bulkCreate(rows),
        () => model.insert(rows),
      )
      for (const call of all) await call(products, model)
      const { rows: left } = await new Repository(database.client, definition).list({ limit: 1000, deleted: 'include' })
      expect(left).toEqual(ordered(model.rows, []))
      expect(left).toEqual(await database.client.product.findMany({ orderBy: { id: 'asc' } }))
    },
  )
  await fc.assert(property, { numRuns: 60 })
}, 60_000)

/** A repository whose every call is made in a transaction of its own. */
const eachInTransaction = (): Products =>
  new Proxy(new Repository(database.client, definition), {
    get:
      (_products, method) =>
      (...args: unknown[]) =>
        transaction(database, async (tx) => {
          const products = new Repository(tx, definition)
          return Reflect.apply(Reflect.get(products, method), products, args)
        }),
  })

/** Why a call should fail. */
class Refused extends Error {
  readonly kind: string
  constructor(kind: string) {
    super(kind)
    this.kind = kind
  }
}

/** What the table should hold. */
class Model {
  rows: Product[] = []
  readonly #ids: string[] = []

  id(nth: number): string {
    return this.#ids[nth % this.#ids.length] ?? '00000000-0000-4000-8000-000000000000'
  }

  find(id: string, mode: Deleted): Product | undefined {
    return this.rows.find((row) => row.id === id && visible(row, mode))
  }

  matching(chosen: Filter, mode: Deleted): Product[] {
    return this.rows.filter((row) => visible(row, mode) && matches(row, chosen))
  }

  insert(added: Partial<Product>[]): Product[] {
    const rows = added.map(
      (row) => ({ id: '', description: '', stock: 0, updatedAt: new Date(0), deletedAt: null, ...row }) as Product,
    )
    this.#refuseDuplicates([...this.rows, ...rows])
    this.rows.push(...rows)
    return rows
  }

  upsert(added: Partial<Product>[]): { row: Product; created: boolean }[] {
    if (new Set(added.map((row) => row.sku)).size < added.length) throw new Refused('invalid_input')
    return added.map((row) => {
      const existing = this.rows.find((other) => other.sku === row.sku && other.deletedAt === null)
      if (existing === undefined) return { row: this.insert([row])[0] as Product, created: true }
      const { name: newName, priceCents } = row as Product
      return { row: this.change([existing], { name: newName, priceCents })[0] as Product, created: false }
    })
  }

  change(rows: Product[], fields: Partial<Product>): Product[] {
    this.#refuseDuplicates(this.rows.map((row) => (rows.includes(row) ? { ...row, ...fields } : row)))
    for (const row of rows) Object.assign(row, fields, { updatedAt: new Date(row.updatedAt.getTime() + 1) })
    return rows
  }

  remove(condition: (row: Product) => boolean): number {
    const before = this.rows.length
    this.rows = this.rows.filter((row) => !condition(row))
    return before - this.rows.length
  }

  /** Makes the call, and the change here, and expects the same of both: the result, or the kind of error. */
  async expectSame<T>(call: () => Promise<T>, expected: (result: T | undefined) => unknown): Promise<void> {
    const [outcome] = await Promise.allSettled([call()])
    const result = outcome?.status === 'fulfilled' ? outcome.value : undefined
    let wanted: unknown
    try {
      wanted = expected(result)
    } catch (refusal) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { kind: refusal instanceof Refused && refusal.kind },
      })
      return
    }
    expect(outcome).toMatchObject({ status: 'fulfilled' })
    this.adopt(wanted, result)
    expect(result).toEqual(wanted)
  }

  /** What PostgreSQL chooses: ids of new rows, and times of changes, which must have moved on. */
  adopt(wanted: unknown, given: unknown): void {
    if (Array.isArray(wanted) && Array.isArray(given)) {
      for (const [index, value] of wanted.entries()) this.adopt(value, given[index])
    }
    if (typeof wanted !== 'object' || wanted === null || typeof given !== 'object' || given === null) return
    if ('row' in wanted && 'row' in given) this.adopt(wanted.row, given.row)
    if (!('id' in wanted && 'updatedAt' in wanted) || !('id' in given && 'updatedAt' in given)) return
    if (wanted.id === '') this.#ids.push(String(given.id))
    wanted.id = given.id
    expect(given.updatedAt).toBeInstanceOf(Date)
    expect(Number(given.updatedAt)).toBeGreaterThanOrEqual(Number(wanted.updatedAt))
    wanted.updatedAt = given.updatedAt
  }

  #refuseDuplicates(rows: Product[]): void {
    const living = rows.filter((row) => row.deletedAt === null).map((row) => row.sku)
    if (new Set(living).size < living.length) throw new Refused('unique')
  }
}

const visible = ({ deletedAt }: Pick<Product, 'deletedAt'>, mode: Deleted) =>
  mode === 'include' || (deletedAt === null) === (mode === 'exclude')

const everything = (chosen: Filter): boolean =>
  Object.entries(chosen).every(([key, value]) => key === 'and' && (value as Filter[]).every(everything))

function matches(row: Product, { and = [], or, ...fields }: Filter): boolean {
  if (!and.every((part) => matches(row, part))) return false
  if (or !== undefined && !or.some((part) => matches(row, part))) return false
  return Object.entries(fields).every(([key, condition]) =>
    Object.entries(condition).every(([operator, operand]) => meets(Reflect.get(row, key), operator, operand)),
  )
}

function meets(stored: unknown, operator: string, operand: unknown): boolean {
  const value = comparable(stored)
  const other = comparable(operand)
  if (operator === 'eq') return value === other
  if (operator === 'not') return value !== other
  if (operator === 'isNull') return (value === null) === other
  if (value === null) return false
  if (operator === 'in') return (operand as unknown[]).map(comparable).includes(value)
  if (operator === 'between') return (operand as number[]).every((end, at) => (at === 0 ? value >= end : value <= end))
  if (operator === 'contains') return String(value).includes(String(other))
  if (operator === 'startsWith') return String(value).startsWith(String(other))
  if (operator === 'search') return String(value).toLowerCase().includes(String(other).toLowerCase())
  if (operator === 'lt') return value < other
  if (operator === 'lte') return value <= other
  if (operator === 'gt') return value > other
  if (operator === 'gte') return value >= other
  return expect.fail(`no such operator: ${operator}`)
}

function ordered(rows: readonly Product[], keys: Sort): Product[] {
  const tieBreak = { field: 'id' as const, direction: keys.at(-1)?.direction ?? 'asc' }
  return rows.toSorted((a, b) => {
    for (const { field: key, direction: way } of [...keys, tieBreak]) {
      const [one, other] = [comparable(a[key]), comparable(b[key])]
      if (one === other) continue
      const less = other === null || (one !== null && one < other)
      return less === (way === 'asc') ? -1 : 1
    }
    return 0
  })
}

// biome-ignore lint/suspicious/noExplicitAny: what is compared is of any type that can be.
const comparable = (value: unknown): any => (value instanceof Date ? value.getTime() : value)

/** Exactly one of these. */
function oneOf<T extends Record<string, fc.Arbitrary<unknown>>>(arbitraries: T) {
  return fc.oneof(
    ...Object.entries(arbitraries).map(([key, arbitrary]) => arbitrary.map((value) => ({ [key]: value }))),
  )
}

/** At least one of these. */
function some<T extends Record<string, fc.Arbitrary<unknown>>>(arbitraries: T) {
  return fc
    .record(arbitraries, { requiredKeys: [] })
    .filter((chosen) => Object.keys(chosen).length > 0) as fc.Arbitrary<{
    [K in keyof T]?: T[K] extends fc.Arbitrary<infer V> ? V : never
  }>
}
