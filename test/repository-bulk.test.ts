import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { Repository, type RepositoryDefinition } from '../src/db/repository.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

const definition = { model: 'Product', filterable: [], sortable: {} } as const satisfies RepositoryDefinition<'Product'>

let server: TestDatabase
let environment: TestDatabase['environment']
let database: Database
let products: Repository<typeof definition>

beforeAll(async () => {
  server = await createTestDatabase()
  // The usual limits are for requests, on a machine that is not busy with other tests.
  environment = { ...server.environment, DATABASE_STATEMENT_TIMEOUT_MS: '60000', REQUEST_DEADLINE_MS: '120000' }
  database = new Database(readConfig(environment).database)
  products = new Repository(database.client, definition)
})

afterAll(async () => {
  await database?.close()
  await server?.drop()
})

beforeEach(async () => {
  await server.query('TRUNCATE products CASCADE')
})

test.each([1, 1000, 100_000])(
  'bulkCreate writes %i rows by one statement, in the order given',
  async (count) => {
    const rows = Array.from({ length: count }, (_, n) => ({ sku: `${(n * 7919) % count}`, name: 'n', priceCents: n }))
    const writes: string[] = []
    const stop = database.observe((event) => {
      if (event.type === 'statement' && event.text.includes('INSERT')) writes.push(event.text)
    })
    const created = await products.bulkCreate(rows)
    stop()
    expect(writes).toHaveLength(1)
    expect(created.every((row, n) => row.sku === rows[n]?.sku && row.priceCents === n)).toBe(true)
    const [stored] = await server.query(
      'SELECT count(*)::int AS rows, count(DISTINCT sku)::int AS skus, max(price_cents) AS last FROM products',
    )
    expect(stored).toEqual({ rows: count, skus: count, last: count - 1 })
  },
  60_000,
)

test('bulkCreate writes none of 100,000 rows if the last one is refused', async () => {
  const rows = Array.from({ length: 100_000 }, (_, n) => ({ sku: `${n % 99_999}`, name: 'n', priceCents: n }))
  await expect(products.bulkCreate(rows)).rejects.toMatchObject({ kind: 'unique', fields: ['sku'] })
  expect(await products.count({})).toBe(0)
}, 60_000)

test('iterate walks through 1,000,000 rows in a heap of 64 MB, and with less than 150 MB of memory more', async () => {
  await server.query(
    'DROP INDEX idx_products_sku, idx_products_created_at, idx_products_price_cents, idx_products_name',
  )
  await server.query(`
    INSERT INTO products (id, sku, name, price_cents)
    SELECT lpad(to_hex(n), 32, '0')::uuid, n, 'Product ' || n, n % 100 FROM generate_series(1, 1000000) n`)
  const program = ['--max-old-space-size=64', '--import', 'tsx', 'test/support/iterate-products.ts']
  const { stdout } = await promisify(execFile)(process.execPath, program, { env: { ...process.env, ...environment } })
  const { rows, sum, grownBytes } = JSON.parse(stdout)
  expect({ rows, sum }).toEqual({ rows: 1_000_000, sum: 49_500_000 })
  expect(grownBytes).toBeLessThan(150_000_000)
}, 120_000)
