import { sign } from 'hono/jwt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { signAccessToken } from '../../src/auth/access-token.ts'
import { type Api, type Call, countRows, makeProduct, makeUser, openApi, type TestUser } from '../support/api.ts'

let api: Api
let buyer: TestUser
let productId: string

beforeAll(async () => {
  api = await openApi()
  buyer = await makeUser(api)
  productId = (await makeProduct(api, { stock: 5000 })).id
})
afterAll(() => api.close())

const post = (call: Call) => api.call('/api/v1/orders', { method: 'POST', token: buyer.token, ...call })
const order = (quantity: unknown) => ({ items: [{ productId, quantity }] })

/** Checks that a call is refused as it should be, and changes nothing. */
async function refusal(call: () => Promise<Awaited<ReturnType<typeof post>>>, status: number, code: string) {
  const before = await countRows(api)
  const answer = await call()
  expect([answer.status, answer.json?.code]).toEqual([status, code])
  expect(answer.headers.get('Content-Type')).toBe('application/problem+json')
  expect(answer.json).toMatchObject({
    type: expect.any(String),
    title: expect.any(String),
    status,
    detail: expect.any(String),
    instance: expect.any(String),
    requestId: answer.headers.get('X-Request-Id'),
  })
  expect(answer.text).not.toMatch(/prisma|select|insert|\.ts|node_modules|stack|127\.0\.0\.1/i)
  expect(await countRows(api)).toEqual(before)
  return answer
}

describe('a body', () => {
  test.each([
    ['is empty', ''],
    ['is cut off', '{"items": ['],
    ['is not JSON', 'items=1'],
    ['is not UTF-8', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])],
  ])('that %s is malformed_json', async (_name, raw) => {
    await refusal(() => post({ raw }), 400, 'malformed_json')
  })

  test.each([
    ['is null', null],
    ['is an array', []],
    ['is a number', 7],
    ['is empty', {}],
    ['has no lines', { items: [] }],
    ['has lines of the wrong type', { items: 'all' }],
    ['has a quantity of 0', () => order(0)],
    ['has a quantity of -1', () => order(-1)],
    ['has a quantity of 1001', () => order(1001)],
    ['has a quantity of 1.5', () => order(1.5)],
    ['has a quantity of "2"', () => order('2')],
    ['has a quantity of null', () => order(null)],
    ['has a quantity of 2^53', () => order(2 ** 53)],
    ['has no quantity', () => ({ items: [{ productId }] })],
    ['has an unknown field', () => ({ ...order(1), note: 'x' })],
    ['has an unknown field in a line', () => ({ items: [{ productId, quantity: 1, unitPriceCents: 1 }] })],
    ['has a product id that is no UUID', { items: [{ productId: 'seven', quantity: 1 }] }],
    ['has 101 lines', () => ({ items: Array(101).fill({ productId, quantity: 1 }) })],
  ])('that %s is validation_failed', async (_name, body) => {
    const refused = await refusal(
      () => post({ body: typeof body === 'function' ? body() : body }),
      422,
      'validation_failed',
    )
    expect(refused.json.errors.length).toBeGreaterThan(0)
    expect(refused.json.errors[0]).toEqual({ path: expect.any(String), message: expect.any(String) })
  })

  test('with __proto__ in it is validation_failed', async () => {
    await refusal(
      () => post({ raw: `{"items":[{"productId":"${productId}","quantity":1}],"__proto__":{"role":"admin"}}` }),
      422,
      'validation_failed',
    )
  })

  test('of 100 lines is served', async () => {
    const products = await Promise.all(Array.from({ length: 100 }, () => makeProduct(api, { stock: 1 })))
    const placed = await post({ body: { items: products.map(({ id }) => ({ productId: id, quantity: 1 })) } })
    expect(placed.status).toBe(201)
    expect(placed.json.items).toHaveLength(100)
  })

  test('of more than a mebibyte is payload_too_large', async () => {
    await refusal(() => post({ raw: `"${'x'.repeat(1024 * 1024)}"` }), 413, 'payload_too_large')
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])(
    'sent as %s is unsupported_media_type',
    async (type) => {
      await refusal(() => post({ body: order(1), headers: { 'Content-Type': type } }), 415, 'unsupported_media_type')
    },
  )

  test('may name its character set', async () => {
    const placed = await post({ body: order(1), headers: { 'Content-Type': 'application/json; charset=utf-8' } })
    expect(placed.status).toBe(201)
  })
})

describe('a token', () => {
  const expectUnauthenticated = async (headers: Record<string, string>) => {
    const refused = await refusal(
      () => api.call('/api/v1/orders', { method: 'POST', body: order(1), headers }),
      401,
      'unauthenticated',
    )
    expect(refused.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
  }
  const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

  test('that is missing is refused', () => expectUnauthenticated({}))
  test('of another scheme is refused', () => expectUnauthenticated({ Authorization: 'Basic dXNlcjpwYXNz' }))
  test('that is nonsense is refused', () => expectUnauthenticated(bearer('nonsense')))
  test('that has expired is refused', async () => {
    const longAgo = new Date(Date.now() - 2 * 3_600_000)
    await expectUnauthenticated(bearer(await signAccessToken(buyer.id, api.authSecret, longAgo)))
  })
  test('that was tampered with is refused', async () => {
    const [header, , signature] = buyer.token.split('.')
    const claims = btoa(JSON.stringify({ sub: buyer.id, exp: 99_999_999_999 })).replace(/=+$/, '')
    await expectUnauthenticated(bearer(`${header}.${claims}.${signature}`))
  })
  test('signed with another secret is refused', async () =>
    expectUnauthenticated(bearer(await signAccessToken(buyer.id, 'another secret of at least 32 bytes'))))
  test('signed with another algorithm is refused', async () => {
    const exp = Math.floor(Date.now() / 1000) + 60
    await expectUnauthenticated(bearer(await sign({ sub: buyer.id, exp }, api.authSecret, 'HS512')))
    const none = [
      { alg: 'none', typ: 'JWT' },
      { sub: buyer.id, exp },
    ].map((part) => btoa(JSON.stringify(part)))
    await expectUnauthenticated(bearer(`${none.join('.')}.`))
  })
  test('whose user was deactivated or deleted is refused', async () => {
    const [inactive, deleted] = [await makeUser(api, { isActive: false }), await makeUser(api)]
    await api.query('UPDATE users SET deleted_at = now() WHERE id = $1', [deleted.id])
    await expectUnauthenticated(bearer(inactive.token))
    await expectUnauthenticated(bearer(deleted.token))
  })
})

describe('an address', () => {
  test.each(['seven', '123', '00000000-0000-0000-0000-00000000000g'])(
    'with the id %s is invalid_parameter',
    async (id) => {
      await refusal(() => api.call(`/api/v1/orders/${id}`, { token: buyer.token }), 400, 'invalid_parameter')
    },
  )

  test('that is not there is not_found', async () => {
    await refusal(() => api.call('/api/v1/nothing', { token: buyer.token }), 404, 'not_found')
  })

  test('called with the wrong method is method_not_allowed', async () => {
    const refused = await refusal(
      () => api.call('/api/v1/orders', { method: 'PUT', token: buyer.token }),
      405,
      'method_not_allowed',
    )
    expect(refused.headers.get('Allow')?.split(', ')).toContain('POST')
  })
})

describe('a request id', () => {
  test('is kept when it is well formed, and made when it is not', async () => {
    const idFor = async (id: string) =>
      (await api.call('/api/v1/health/live', { headers: { 'X-Request-Id': id } })).headers.get('X-Request-Id')
    expect(await idFor('trace-42_a')).toBe('trace-42_a')
    expect(await idFor('no spaces, please')).toMatch(/^[\w-]{36}$/)
    expect(await idFor('x'.repeat(300))).toMatch(/^[\w-]{36}$/)
  })
})
