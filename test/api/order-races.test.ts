import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Api, makeProduct, makeUser, openApi, type TestProduct, type TestUser } from '../support/api.ts'

const BUYERS = 200
const ROUNDS = 20
const START_STOCK = 1500

let api: Api
let buyers: TestUser[]
let products: TestProduct[]

beforeAll(async () => {
  // What is tested is that all of them end well, not how soon: a slow machine may take its time.
  api = await openApi({ DATABASE_POOL_TIMEOUT_MS: '60000', REQUEST_DEADLINE_MS: '90000' })
  buyers = await Promise.all(Array.from({ length: BUYERS }, () => makeUser(api)))
  products = await Promise.all(
    Array.from({ length: 5 }, (_, index) => makeProduct(api, { stock: START_STOCK, priceCents: 100 + index })),
  )
})
afterAll(() => api.close())

/** 1 to 5 different products in random order, 1 to 3 of each. */
function randomLines() {
  const shuffled = products
    .map((product) => ({ product, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, 1 + Math.floor(Math.random() * products.length))
  return shuffled.map(({ product }) => ({ productId: product.id, quantity: 1 + Math.floor(Math.random() * 3) }))
}

test(`${BUYERS} buyers at once, ${ROUNDS} times: no deadlock, nothing oversold, every total adds up`, async () => {
  const outcomes = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++) {
    const answers = await Promise.all(
      buyers.map(({ token }) => api.call('/api/v1/orders', { method: 'POST', token, body: { items: randomLines() } })),
    )
    for (const { status, json } of answers) {
      const outcome = status === 201 ? 'placed' : `${status} ${json.code}`
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
  }

  // Demand is above stock on purpose: both outcomes must have happened, and no other.
  expect([...outcomes.keys()].sort()).toEqual(['409 insufficient_stock', 'placed'])

  const ids = products.map(({ id }) => id)
  const balance = await api.query(
    `SELECT p.id, p.stock, coalesce(sum(i.quantity), 0)::int AS sold
     FROM products p LEFT JOIN order_items i ON i.product_id = p.id
     WHERE p.id = ANY($1) GROUP BY p.id`,
    [ids],
  )
  for (const { stock, sold } of balance) expect(START_STOCK - Number(stock)).toBe(sold)

  const wrong = await api.query(
    `SELECT o.id FROM orders o LEFT JOIN order_items i ON i.order_id = o.id
     GROUP BY o.id HAVING o.total_cents IS DISTINCT FROM sum(i.quantity::bigint * i.unit_price_cents)`,
  )
  expect(wrong).toEqual([])
  const [placed] = await api.query(
    `SELECT count(DISTINCT order_id)::int AS orders FROM order_items WHERE product_id = ANY($1)`,
    [ids],
  )
  expect(placed?.['orders']).toBe(outcomes.get('placed'))
}, 120_000)
