import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import type { User } from '../src/db/generated/client.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const definition = {
  model: 'User',
  filterable: ['role', 'isActive'],
  sortable: {
    fullName: 'required',
    role: 'required',
    isActive: 'required',
    createdAt: 'required',
    deletedAt: 'nullable',
  },
} as const satisfies RepositoryDefinition<'User'>

type Listing = Parameters<Repository<typeof definition>['paginate']>[0]

let server: TestDatabase
let database: Database
let users: Repository<typeof definition>

beforeAll(async () => {
  server = await createTestDatabase()
  database = new Database(readConfig(server.environment).database)
  users = new Repository(database.client, definition)
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

beforeEach(async () => {
  await server.query('TRUNCATE users CASCADE')
})

// Few values, so that there are ties; and such as sort alike in every collation.
const time = fc.constantFrom(1, 2, 3).map((day) => new Date(Date.UTC(2026, 0, day, 0, 0, 0, day)))
type Someone = Pick<User, 'id' | 'fullName' | 'role' | 'isActive' | 'createdAt' | 'deletedAt'>
const someone: fc.Arbitrary<Someone> = fc.record({
  id: fc.uuid(),
  fullName: fc.constantFrom('', 'a', 'b', 'ü "\\'),
  role: fc.constantFrom('admin', 'user'),
  isActive: fc.boolean(),
  createdAt: time,
  deletedAt: fc.option(time),
})

const people = fc.uniqueArray(someone, { selector: ({ id }) => id, maxLength: 14, size: 'max' })
const field = fc.constantFrom('fullName', 'role', 'isActive', 'createdAt', 'deletedAt', 'deletedAt', 'id')
const sort = fc.uniqueArray(fc.record({ field, direction: fc.constantFrom('asc', 'desc') }), {
  selector: (key) => key.field,
  maxLength: 4,
}) as fc.Arbitrary<NonNullable<Listing['sort']>>
const listing: fc.Arbitrary<Listing> = fc.record({
  sort,
  limit: fc.integer({ min: 1, max: 3 }),
  deleted: fc.constantFrom('exclude', 'include', 'include', 'only'),
  filter: fc.constantFrom(
    {},
    { role: { eq: 'user' } },
    { or: [{ isActive: { eq: true } }, { role: { eq: 'admin' } }] },
  ),
})

const insert = ({ id, fullName, role, isActive, createdAt, deletedAt }: Someone) =>
  server.query(
    `INSERT INTO users (id, email, password_hash, full_name, role, is_active, created_at, deleted_at)
     VALUES ($1::uuid, $1::uuid || '@x.org', '', $2, $3, $4, $5, $6)`,
    [id, fullName, role, isActive, createdAt, deletedAt],
  )

const listed = (row: Someone, { deleted, filter }: Listing) =>
  (deleted === 'include' || (row.deletedAt === null) === (deleted === 'exclude')) &&
  (filter?.role === undefined || row.role === 'user') &&
  (filter?.or === undefined || row.isActive || row.role === 'admin')

/** Walks to the end, page by page, with something done in between. */
async function walk(options: Listing, way: 'after' | 'before', meanwhile: (page: number) => Promise<void>) {
  const visited: User[] = []
  let place: Parameters<typeof users.paginate>[0] = options
  if (way === 'before') {
    // The last page of all: from behind the last row.
    const last = await users.paginate({ ...options, limit: 1000 })
    if (last.rows.length === 0) return visited
    const one = await users.list({ ...options, limit: 1, offset: last.rows.length - 1 })
    visited.push(...one.rows)
    if (one.previous === null) return visited
    place = { ...options, before: one.previous }
  }
  for (let page = 0; ; page++) {
    const { rows, next, previous } = await users.paginate(place)
    expect(rows.length).toBeLessThanOrEqual(options.limit)
    if (way === 'after') visited.push(...rows)
    else visited.unshift(...rows)
    const cursor = way === 'after' ? next : previous
    if (cursor === null) return visited
    await meanwhile(page)
    place = { ...options, [way]: cursor }
  }
}

/** By the order of the words in the definition, not by SQL. */
function compare(one: User, other: User, keys: NonNullable<Listing['sort']>): number {
  const tieBreak = { field: 'id', direction: keys.at(-1)?.direction ?? 'asc' } as const
  for (const { field: key, direction } of [...keys, tieBreak]) {
    const [a, b] = [one[key], other[key]].map((value) => (value instanceof Date ? value.getTime() : value))
    if (a === b || a === undefined || b === undefined) continue
    const less = b === null || (a !== null && a < b)
    return less === (direction === 'asc') ? -1 : 1
  }
  return 0
}

test.each(['after', 'before'] as const)(
  'a walk (%s) visits what was there all the time once and in order, and nothing twice',
  async (way) => {
    const property = fc.asyncProperty(
      people,
      listing,
      fc.array(fc.oneof(someone, fc.nat({ max: 20 })), { maxLength: 8 }),
      async (initial, options, changes) => {
        await server.query('TRUNCATE users CASCADE')
        for (const row of initial) await insert(row)
        const removed = new Set<string>()
        const visited = await walk(options, way, async (page) => {
          const change = changes[page]
          if (typeof change === 'object') await insert({ ...change, id: randomUUID() })
          const victim = typeof change === 'number' ? initial[change] : undefined
          if (victim === undefined) return
          removed.add(victim.id)
          await server.query('DELETE FROM users WHERE id = $1', [victim.id])
        })
        const ids = visited.map(({ id }) => id)
        expect(new Set(ids).size).toBe(ids.length)
        expect(visited.toSorted((a, b) => compare(a, b, options.sort ?? []))).toEqual(visited)
        const stayed = initial.filter((row) => !removed.has(row.id) && listed(row, options))
        expect(ids).toEqual(expect.arrayContaining(stayed.map(({ id }) => id)))
        expect(visited.every((row) => listed(row, options))).toBe(true)
      },
    )
    await fc.assert(property, { numRuns: 60 })
  },
  60_000,
)

test('a walk beside a busy writer does too', async () => {
  const stayer = (n: number): Someone => ({
    id: randomUUID(),
    fullName: 'ab'[n % 2] ?? '',
    role: 'user',
    isActive: n % 3 === 0,
    createdAt: new Date(Date.UTC(2026, 0, 1 + (n % 5))),
    deletedAt: n % 7 === 0 ? new Date(Date.UTC(2026, 1, 1 + (n % 2))) : null,
  })
  const stay = Array.from({ length: 300 }, (_, n) => stayer(n))
  for (const row of stay) await insert(row)
  let walking = true
  const write = async () => {
    for (let n = 0; walking; n++) {
      const id = randomUUID()
      await insert({ ...stayer(n), id })
      if (n % 2 === 0) await server.query('DELETE FROM users WHERE id = $1', [id])
    }
  }
  const writing = write()
  const visited = await walk(
    {
      sort: [
        { field: 'deletedAt', direction: 'desc' },
        { field: 'isActive', direction: 'asc' },
        { field: 'fullName', direction: 'desc' },
      ],
      limit: 7,
      deleted: 'include',
    },
    'after',
    async () => {},
  ).finally(() => {
    walking = false
  })
  await writing
  const ids = visited.map(({ id }) => id)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toEqual(expect.arrayContaining(stay.map(({ id }) => id)))
})

test('pages lead to each other', async () => {
  for (const n of [1, 2, 3, 4, 5]) {
    await users.create({ email: `${n}@x.org`, passwordHash: '', fullName: `${n}` })
  }
  const options = { sort: [{ field: 'fullName', direction: 'asc' }], limit: 2 } as const
  const names = (rows: User[]) => rows.map((row) => row.fullName).join()
  const one = await users.paginate(options)
  const two = await users.paginate({ ...options, after: one.next ?? '' })
  const three = await users.paginate({ ...options, after: two.next ?? '' })
  expect([names(one.rows), names(two.rows), names(three.rows)]).toEqual(['1,2', '3,4', '5'])
  expect([one.previous, three.next]).toEqual([null, null])
  const back = await users.paginate({ ...options, before: three.previous ?? '', total: true })
  expect(back).toEqual({ ...two, total: 5 })
  const first = await users.paginate({ ...options, before: back.previous ?? '' })
  expect(first).toEqual({ ...one, next: first.next })
  const further = await users.list({ ...options, offset: 2 })
  expect(further).toEqual(two)
})

describe('a cursor', () => {
  const refused = { kind: 'invalid_cursor' }
  const options = { sort: [{ field: 'fullName', direction: 'asc' }], limit: 1 } as const

  async function cursor(): Promise<string> {
    await users.bulkCreate(['a', 'b'].map((fullName) => ({ email: `${fullName}@x.org`, passwordHash: '', fullName })))
    const { next } = await users.paginate(options)
    return next ?? expect.fail('there is no second page')
  }

  test.each<[string, Partial<Listing>]>([
    ['order', { sort: [{ field: 'fullName', direction: 'desc' }] }],
    ['sorted field', { sort: [{ field: 'role', direction: 'asc' }] }],
    ['filter', { filter: { role: { eq: 'user' } } }],
    ['choice of deleted rows', { deleted: 'include' }],
  ])('is refused with another %s', async (_what, change) => {
    await expect(users.paginate({ ...options, ...change, after: await cursor() })).rejects.toMatchObject(refused)
  })

  test('is refused if it was altered, or is none', async () => {
    const good = await cursor()
    const altered = btoa(atob(good.replaceAll('-', '+').replaceAll('_', '/')).replace('"a"', '"b"'))
    for (const bad of [
      altered,
      good.slice(1),
      `${good}AAAA`,
      '',
      'x',
      'bnVsbA',
      'W10',
      '\u{1f600}',
      'a'.repeat(10_000),
    ]) {
      await expect(users.paginate({ ...options, after: bad })).rejects.toMatchObject(refused)
    }
  })

  test('is safe in a URL', async () => {
    await users.create({ email: 'x@x.org', passwordHash: '', fullName: '>>>???ÿÿÿ' })
    expect(await cursor()).toMatch(/^[\w-]+$/)
    const { next } = await users.paginate(options)
    expect(next).toMatch(/^[\w-]+$/)
    expect((await users.paginate({ ...options, after: next ?? '' })).rows).toHaveLength(1)
  })
})

test('the limit, the offset and the order are within bounds', async () => {
  for (const bad of [{ limit: 0 }, { limit: -1 }, { limit: 1.5 }, { limit: 1001 }, { limit: Number.NaN }]) {
    await expect(users.list(bad)).rejects.toMatchObject({ kind: 'invalid_input' })
  }
  await expect(users.paginate({ limit: 1, after: 'x', before: 'y' })).rejects.toMatchObject({ kind: 'invalid_input' })
  for (const offset of [-1, 0.5, 2 ** 53, Number.NaN, 1e300]) {
    await expect(users.list({ limit: 1, offset })).rejects.toMatchObject({ kind: 'invalid_input' })
  }
  await users.create({ email: 'x@x.org', passwordHash: '', fullName: 'x' })
  expect((await users.list({ limit: 1, offset: 2 ** 32, total: true })).rows).toEqual([])
  // As a route would pass it on, if it did not look.
  const unknown = ['passwordHash', 'nothing', 'constructor', '__proto__', 'id"; DROP TABLE users; --']
  for (const wrong of unknown) {
    const keys = [{ field: wrong as 'id', direction: 'asc' }] as const
    await expect(users.list({ limit: 1, sort: keys })).rejects.toMatchObject({ kind: 'invalid_input' })
  }
  const twice = [
    { field: 'role', direction: 'asc' },
    { field: 'role', direction: 'desc' },
  ] as const
  await expect(users.list({ limit: 1, sort: twice })).rejects.toMatchObject({ kind: 'invalid_input' })
})

test('a page in one direction of required fields reads one index, from where it begins', async () => {
  await server.query(`INSERT INTO users (email, password_hash, full_name, created_at)
    SELECT n || '@x.org', '', '', '2026-01-01'::timestamptz + (n / 50) * interval '1 day' FROM generate_series(1, 5000) n`)
  await server.query('ANALYZE users')
  const statements: string[] = []
  const stop = database.observe((event) => event.type === 'statement' && statements.push(event.text))
  const options = { sort: [{ field: 'createdAt', direction: 'desc' }], limit: 20, deleted: 'include' } as const
  const { next } = await users.paginate(options)
  await users.paginate({ ...options, after: next ?? '' })
  stop()
  const text = statements[1] ?? ''
  await server.query(`PREPARE page AS ${text}`)
  const plan = JSON.stringify(
    await server.query(`EXPLAIN EXECUTE page ('2026-03-01', '80000000-0000-4000-8000-000000000000', 21, 0)`),
  )
  expect(plan).toContain('Index Scan Backward using idx_users_created_at')
  expect(plan).toMatch(/Index Cond: \(ROW\(created_at, id\) < ROW/)
  expect(plan).not.toContain('Sort')
})
