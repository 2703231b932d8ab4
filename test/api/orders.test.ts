import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Api, countRows, makeProduct, makeUser, openApi, stockOf, type TestUser } from '../support/api.ts'

let api: Api
let buyer: TestUser

beforeAll(async () => {
  api = await openApi()
  buyer = await makeUser(api)
})
afterAll(() => api.close())

const placeOrder = (
  items: { productId: string; quantity: number }[],
  { token = buyer.token, key }: { token?: string; key?: string } = {},
) =>
  api.call('/api/v1/orders', {
    method: 'POST',
    body: { items },
    token,
    ...(key !== undefined && { headers: { 'Idempotency-Key': key } }),
  })

describe('an order', () => {
  test('takes the stock, freezes prices, and can be read back', async () => {
    const cup = await makeProduct(api, { stock: 5, priceCents: 1250, name: 'Cup' })
    const tray = await makeProduct(api, { stock: 2, priceCents: 0, name: 'Tray' })

    const placed = await placeOrder([
      { productId: tray.id, quantity: 2 },
      { productId: cup.id, quantity: 3 },
    ])

    expect(placed.status).toBe(201)
    expect(placed.json).toMatchObject({ userId: buyer.id, status: 'placed', totalCents: 3750 })
    const lines = [
      { productId: tray.id, sku: tray.sku, name: 'Tray', quantity: 2, unitPriceCents: 0, lineTotalCents: 0 },
      { productId: cup.id, sku: cup.sku, name: 'Cup', quantity: 3, unitPriceCents: 1250, lineTotalCents: 3750 },
    ]
    expect(placed.json.items).toEqual(lines.sort((a, b) => (a.productId < b.productId ? -1 : 1)))
    expect(placed.json.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect([await stockOf(api, cup.id), await stockOf(api, tray.id)]).toEqual([2, 0])

    await api.query(`UPDATE products SET price_cents = 9999, name = 'Renamed' WHERE id = $1`, [cup.id])
    const read = await api.call(placed.headers.get('Location') ?? '', { token: buyer.token })
    expect(read.status).toBe(200)
    expect(read.json).toEqual(placed.json)
  })

  test('merges lines for the same product, however its id is written', async () => {
    const product = await makeProduct(api, { stock: 9, priceCents: 100 })
    const placed = await placeOrder([
      { productId: product.id, quantity: 2 },
      { productId: product.id.toUpperCase(), quantity: 3 },
    ])
    expect(placed.status).toBe(201)
    expect(placed.json.items).toMatchObject([{ productId: product.id, quantity: 5, lineTotalCents: 500 }])
    expect(await stockOf(api, product.id)).toBe(4)
  })

  test('may be worth more than 32 bits of cents', async () => {
    const product = await makeProduct(api, { stock: 1000, priceCents: 2_147_483_647 })
    const placed = await placeOrder([{ productId: product.id, quantity: 1000 }])
    expect(placed.json.totalCents).toBe(2_147_483_647_000)
    const read = await api.call(`/api/v1/orders/${placed.json.id}`, { token: buyer.token })
    expect(read.json.totalCents).toBe(2_147_483_647_000)
  })

  test('is shown to its owner and to admins, and to nobody else', async () => {
    const product = await makeProduct(api)
    const { json: order } = await placeOrder([{ productId: product.id, quantity: 1 }])
    const stranger = await makeUser(api)
    const admin = await makeUser(api, { role: 'admin' })
    const statusFor = async (token: string) => (await api.call(`/api/v1/orders/${order.id}`, { token })).status
    expect(await statusFor(buyer.token)).toBe(200)
    expect(await statusFor(admin.token)).toBe(200)
    expect(await statusFor(stranger.token)).toBe(404)
  })

  test('that does not exist is not found', async () => {
    const answer = await api.call('/api/v1/orders/00000000-0000-0000-0000-0000000fffff', { token: buyer.token })
    expect(answer.status).toBe(404)
    expect(answer.json).toMatchObject({ code: 'not_found', status: 404 })
  })
})

describe('all or nothing', () => {
  test('a line that is short leaves no order, no line and no stock change', async () => {
    const [first, second, third] = [
      await makeProduct(api),
      await makeProduct(api),
      await makeProduct(api, { stock: 2 }),
    ]
    const before = await countRows(api)
    const refused = await placeOrder([
      { productId: first.id, quantity: 1 },
      { productId: second.id, quantity: 1 },
      { productId: third.id, quantity: 3 },
    ])
    expect(refused.status).toBe(409)
    expect(refused.json).toMatchObject({
      code: 'insufficient_stock',
      shortages: [{ productId: third.id, requested: 3, available: 2 }],
    })
    expect(await countRows(api)).toEqual(before)
  })

  test('unknown and deleted products are refused by name, and nothing is taken', async () => {
    const [known, deleted] = [await makeProduct(api), await makeProduct(api)]
    await api.query('UPDATE products SET deleted_at = now() WHERE id = $1', [deleted.id])
    const unknown = '00000000-0000-0000-0000-0000000fffff'
    const before = await countRows(api)
    const refused = await placeOrder([
      { productId: known.id, quantity: 1 },
      { productId: unknown, quantity: 1 },
      { productId: deleted.id, quantity: 1 },
    ])
    expect(refused.status).toBe(422)
    expect(refused.json.code).toBe('unknown_product')
    expect(refused.json.productIds.toSorted()).toEqual([unknown, deleted.id].toSorted())
    expect(await countRows(api)).toEqual(before)
  })
})

describe('a race', () => {
  test('of 50 buyers for the last unit has one winner', async () => {
    const product = await makeProduct(api, { stock: 1 })
    const buyers = await Promise.all(Array.from({ length: 50 }, () => makeUser(api)))
    const answers = await Promise.all(
      buyers.map(({ token }) => placeOrder([{ productId: product.id, quantity: 1 }], { token })),
    )
    const outcomes = answers.map((answer) => answer.json.code ?? answer.status)
    expect(outcomes.filter((outcome) => outcome === 201)).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'insufficient_stock')).toHaveLength(49)
    expect(await stockOf(api, product.id)).toBe(0)
  })
})

describe('an Idempotency-Key', () => {
  test('sent 20 times at once makes one order, and every answer is the same', async () => {
    const product = await makeProduct(api, { stock: 100 })
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => placeOrder([{ productId: product.id, quantity: 1 }], { key: 'at-once' })),
    )
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(201))
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(new Set(answers.map((answer) => answer.headers.get('Location'))).size).toBe(1)
    expect(answers.filter((answer) => answer.headers.get('Idempotency-Replayed') === 'true')).toHaveLength(19)
    expect(await stockOf(api, product.id)).toBe(99)
  })

  test('sent 20 times in a row gives the first answer again, whatever has happened since', async () => {
    const product = await makeProduct(api, { stock: 100 })
    const send = () => placeOrder([{ productId: product.id, quantity: 2 }], { key: 'in-a-row' })
    const first = await send()
    expect(first.headers.get('Idempotency-Replayed')).toBeNull()
    await api.query(`UPDATE orders SET status = 'fulfilled' WHERE id = $1`, [first.json.id])
    for (let i = 0; i < 20; i++) {
      const again = await send()
      expect([again.status, again.text, again.headers.get('Idempotency-Replayed')]).toEqual([201, first.text, 'true'])
      expect(again.headers.get('Location')).toBe(first.headers.get('Location'))
      expect(again.headers.get('Content-Type')).toBe(first.headers.get('Content-Type'))
    }
    expect(await stockOf(api, product.id)).toBe(98)
  })

  test('with another body is refused', async () => {
    const product = await makeProduct(api)
    await placeOrder([{ productId: product.id, quantity: 1 }], { key: 'reused' })
    const other = await placeOrder([{ productId: product.id, quantity: 2 }], { key: 'reused' })
    expect([other.status, other.json.code]).toEqual([422, 'idempotency_key_reused'])
    expect(await stockOf(api, product.id)).toBe(9)
  })

  test('of another user is another key', async () => {
    const product = await makeProduct(api)
    const other = await makeUser(api)
    const mine = await placeOrder([{ productId: product.id, quantity: 1 }], { key: 'shared' })
    const theirs = await placeOrder([{ productId: product.id, quantity: 1 }], { key: 'shared', token: other.token })
    expect([mine.status, theirs.status]).toEqual([201, 201])
    expect(theirs.json.id).not.toBe(mine.json.id)
  })

  test('of a refused order is free again', async () => {
    const product = await makeProduct(api, { stock: 0 })
    const send = () => placeOrder([{ productId: product.id, quantity: 1 }], { key: 'free-again' })
    expect((await send()).status).toBe(409)
    await api.query('UPDATE products SET stock = 1 WHERE id = $1', [product.id])
    expect((await send()).status).toBe(201)
  })

  test.each(['', ' ', 'a b', 'é', 'x'.repeat(256)])('%j is not accepted', async (key) => {
    const product = await makeProduct(api)
    // A header's value is bytes, and Fetch takes those above ASCII as Latin-1.
    const refused = await placeOrder([{ productId: product.id, quantity: 1 }], { key })
    expect([refused.status, refused.json.code]).toEqual([400, 'invalid_parameter'])
    expect(await stockOf(api, product.id)).toBe(10)
  })
})
