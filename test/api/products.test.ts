import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Api, makeProduct, makeUser, openApi } from '../support/api.ts'

let api: Api
/** Marks the products of this file, whatever else there is. */
const mark = `Gadget-${process.pid}-${Date.now()}`

beforeAll(async () => {
  api = await openApi()
  for (let i = 0; i < 12; i++) {
    const name = `${mark} ${String(i).padStart(2, '0')}`
    const { id } = await makeProduct(api, { name, priceCents: 100 * (i % 4), stock: i % 3 })
    // Some are added within the same millisecond.
    await api.query(`UPDATE products SET created_at = created_at - make_interval(secs => $1) WHERE id = $2`, [
      12 - i,
      id,
    ])
  }
})
afterAll(() => api.close())

const list = (query: Record<string, string | number>, token?: string) => {
  const parameters = new URLSearchParams({ q: mark })
  for (const [name, value] of Object.entries(query)) parameters.set(name, String(value))
  return api.call(`/api/v1/products?${parameters}`, token === undefined ? {} : { token })
}
const names = (json: { data: { name: string }[] }) => json.data.map(({ name }) => name.replace(`${mark} `, ''))

describe('a list', () => {
  test('is public, the newest first, and shows what a product is', async () => {
    const answer = await list({ limit: 3 })
    expect(answer.status).toBe(200)
    expect(names(answer.json)).toEqual(['11', '10', '09'])
    expect(answer.json.data[0]).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      sku: expect.any(String),
      name: `${mark} 11`,
      description: '',
      priceCents: 300,
      stock: 2,
      createdAt: expect.stringMatching(/\.\d{3}Z$/),
      updatedAt: expect.stringMatching(/\.\d{3}Z$/),
      deletedAt: null,
    })
    expect(answer.json.page).toEqual({ limit: 3, hasMore: true, nextCursor: expect.any(String) })
  })

  test('can be sorted by several fields', async () => {
    const { json } = await list({ sort: '-priceCents,name' })
    expect(names(json)).toEqual(['03', '07', '11', '02', '06', '10', '01', '05', '09', '00', '04', '08'])
    expect(json.page).toEqual({ limit: 20, hasMore: false, nextCursor: null })
  })

  test('can be filtered', async () => {
    expect(names((await list({ inStock: 'false', sort: 'name' })).json)).toEqual(['00', '03', '06', '09'])
    expect(names((await list({ inStock: 'true', maxPriceCents: 0, sort: 'name' })).json)).toEqual(['04', '08'])
    expect(names((await list({ minPriceCents: 200, maxPriceCents: 200, sort: 'name' })).json)).toEqual([
      '02',
      '06',
      '10',
    ])
    expect(names((await list({ q: `${mark.toUpperCase()} 0`, sort: 'name', limit: 2 })).json)).toEqual(['00', '01'])
    expect((await list({ q: '%' })).json.data).toEqual([])
  })

  test('has pages by offset, with a total', async () => {
    const { json } = await list({ sort: 'name', offset: 10, limit: 5, total: 'true' })
    expect(names(json)).toEqual(['10', '11'])
    expect(json.page).toEqual({ limit: 5, hasMore: false, nextCursor: null, offset: 10, total: 12 })
  })

  test('walked by cursor shows every row once, whatever is added meanwhile', async () => {
    const seen: string[] = []
    let cursor: string | null = null
    let added = 0
    do {
      const { json } = await list({ sort: '-priceCents', limit: 5, ...(cursor !== null && { cursor }) })
      seen.push(...names(json))
      cursor = json.page.nextCursor
      await makeProduct(api, { name: `${mark} new-${added++}`, priceCents: 150 })
    } while (cursor !== null)
    const old = seen.filter((name) => !name.startsWith('new'))
    expect(old.toSorted()).toEqual(Array.from({ length: 12 }, (_, i) => String(i).padStart(2, '0')))
    await api.query(`DELETE FROM products WHERE name LIKE '${mark} new%'`)
  })

  test('takes a cursor only with the order and the filters it was made for', async () => {
    const { json } = await list({ sort: 'name', limit: 2 })
    const cursor = json.page.nextCursor
    for (const query of [
      { sort: '-name', cursor },
      { sort: 'name', inStock: 'true', cursor },
      { cursor: 'nonsense' },
    ]) {
      const refused = await list(query)
      expect([refused.status, refused.json.code]).toEqual([400, 'invalid_cursor'])
    }
  })

  test('hides what was deleted from all but admins who ask', async () => {
    const gone = await makeProduct(api, { name: `${mark} gone` })
    await api.query('UPDATE products SET deleted_at = now() WHERE id = $1', [gone.id])
    expect(names((await list({ limit: 100 })).json)).not.toContain('gone')
    expect((await list({ deleted: 'only' })).status).toBe(401)
    expect((await list({ deleted: 'only' }, (await makeUser(api)).token)).status).toBe(403)
    const admin = await makeUser(api, { role: 'admin' })
    expect(names((await list({ deleted: 'only' }, admin.token)).json)).toEqual(['gone'])
    expect(names((await list({ deleted: 'include', limit: 1 }, admin.token)).json)).toEqual(['gone'])
  })

  test('of ids is in the order asked, and names the missing', async () => {
    const [first, second] = [await makeProduct(api), await makeProduct(api)]
    const unknown = '00000000-0000-0000-0000-0000000fffff'
    const { json } = await api.call(`/api/v1/products?ids=${second.id},${unknown},${first.id.toUpperCase()}`)
    expect(json.data.map(({ id }: { id: string }) => id)).toEqual([second.id, first.id])
    expect(json.missing).toEqual([unknown])
  })

  test.each([
    'limit=0',
    'limit=101',
    'limit=1.5',
    'limit=',
    'limit=0x10',
    'limit=4294967296',
    'offset=-1',
    'offset=10001',
    'offset=18446744073709551616',
    'sort=password',
    'sort=',
    'sort=name,name',
    'sort=name,-name',
    'total=yes',
    'inStock=1',
    'deleted=all',
    'minPriceCents=-1',
    'ids=',
    'ids=seven',
    `ids=${Array(101).fill('00000000-0000-0000-0000-000000000101').join(',')}`,
    'unknown=1',
    'limit=1&limit=2',
    'offset=0&cursor=x',
    'q=%00',
  ])('with %s is invalid_parameter', async (query) => {
    const refused = await api.call(`/api/v1/products?${query}`)
    expect([refused.status, refused.json.code]).toEqual([400, 'invalid_parameter'])
    expect(refused.json.errors.length).toBeGreaterThan(0)
  })
})
