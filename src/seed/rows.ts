import type { Field } from './copy.ts'
import type { BulkOrder, Ledger, Shop } from './shop.ts'

export const columns = {
  users: 'id, email, password_hash, full_name, role, is_active, created_at, updated_at, deleted_at',
  products: 'id, sku, name, description, price_cents, stock, created_at, updated_at, deleted_at',
  orders: 'id, user_id, status, total_cents, created_at, updated_at',
  order_items: 'order_id, product_id, sku, name, quantity, unit_price_cents',
} as const

/** Tables whose rows have an id of their own, each with its part of that id. */
const tableParts = { users: '0001', products: '0002', orders: '0003' } as const

export type IdTable = keyof typeof tableParts

/** A UUID of version 8, whose bits are free to mean something: seed, table and number can be read from it. */
function bulkId(seed: number, table: IdTable, index: number): string {
  return `5eed${hex(seed, 4)}-${tableParts[table]}-8000-8000-${hex(index, 12)}`
}

/** The least and the greatest id that a table can have for a seed. */
export function bulkIdRange(seed: number, table: IdTable): [string, string] {
  return [bulkId(seed, table, 0), bulkId(seed, table, 2 ** 48 - 1)]
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')

export function* userRows(shop: Shop, ledger: Ledger, passwordHash: string): Generator<Field[]> {
  for (let index = 0; index < shop.counts.users; index++) {
    const { email, fullName, role, isActive, createdAt, updatedAt, deletedAt } = shop.user(index, ledger)
    const id = bulkId(shop.seed, 'users', index)
    yield [id, email, passwordHash, fullName, role, isActive, time(createdAt), time(updatedAt), timeOrNull(deletedAt)]
  }
}

export function* productRows(shop: Shop, ledger: Ledger): Generator<Field[]> {
  for (let index = 0; index < shop.counts.products; index++) {
    const { sku, name, description, priceCents, createdAt } = shop.product(index)
    const { stock, updatedAt, deletedAt } = shop.stock(index, ledger)
    const times = [time(createdAt), time(updatedAt), timeOrNull(deletedAt)]
    yield [bulkId(shop.seed, 'products', index), sku, name, description, priceCents, stock, ...times]
  }
}

export function* orderRows(shop: Shop, orders: Iterable<BulkOrder>): Generator<Field[]> {
  for (const { index, user, status, createdAt, updatedAt, lines } of orders) {
    const total = lines.reduce((sum, { product, quantity }) => sum + quantity * shop.product(product).priceCents, 0)
    const id = bulkId(shop.seed, 'orders', index)
    yield [id, bulkId(shop.seed, 'users', user), status, total, time(createdAt), time(updatedAt)]
  }
}

export function* lineRows(shop: Shop, orders: Iterable<BulkOrder>): Generator<Field[]> {
  for (const { index, lines } of orders) {
    const orderId = bulkId(shop.seed, 'orders', index)
    for (const { product, quantity } of lines) {
      const { sku, name, priceCents } = shop.product(product)
      yield [orderId, bulkId(shop.seed, 'products', product), sku, name, quantity, priceCents]
    }
  }
}

const time = (milliseconds: number) => new Date(milliseconds).toISOString()
const timeOrNull = (milliseconds: number | null) => (milliseconds === null ? null : time(milliseconds))
