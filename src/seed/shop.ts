import { Random } from './random.ts'
import { firstNames, lastNames, materials, remarks, styles, things, variants } from './words.ts'

export interface BulkCounts {
  users: number
  products: number
  orders: number
}

/** Times are in milliseconds since 1970; users, products and orders are known by their number, from 0. */
export interface BulkUser {
  email: string
  fullName: string
  role: 'user' | 'admin'
  isActive: boolean
  createdAt: number
  updatedAt: number
  deletedAt: number | null
}

export interface BulkProduct {
  sku: string
  name: string
  description: string
  priceCents: number
  createdAt: number
}

export interface BulkOrder {
  index: number
  user: number
  status: 'placed' | 'fulfilled' | 'cancelled'
  createdAt: number
  updatedAt: number
  /** Each product at most once. */
  lines: { product: number; quantity: number }[]
}

/** More products than these, and {@link LARGE_PRIME} times one of them would no longer be exact. */
export const MAX_COUNTS: Readonly<BulkCounts> = { users: 10_000_000, products: 1_000_000, orders: 100_000_000 }

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Fixed, because the same seed is to give the same rows on any day. */
const OPENING = Date.UTC(2024, 0, 1)
const CLOSING = Date.UTC(2026, 0, 1)

/** Products are delivered in lots of so many pieces: what was sold and what is left make whole lots. */
export const STOCK_LOT = 10

/** Coprime to every number of products below it, so that multiplying by it only changes their order. */
const LARGE_PRIME = 2_654_435_761

const USERS = 1
const PRODUCTS = 2
const STOCK = 3
const ORDERS = 4

/**
 * Two years of a shop that never was: each row follows from the seed, the counts and its own number, so that nothing
 * needs to be remembered. Sales grow from day to day and rise and fall within each; nobody orders before joining,
 * nothing is sold before it is listed, and nothing happens after the end.
 */
export class Shop {
  readonly seed: number
  readonly counts: BulkCounts

  constructor(seed: number, counts: BulkCounts) {
    this.seed = seed
    this.counts = counts
  }

  user(index: number, { orderedAt }: Ledger): BulkUser {
    const random = new Random(this.seed, USERS, index)
    // One place earlier than an even spread: whoever orders at a position is chosen among those before it.
    const createdAt = timeAt(Math.max(0, index - random.next()) / this.counts.users)
    const fullName = `${random.pick(firstNames)} ${random.pick(lastNames)}`
    const lastSeen = Math.max(createdAt, orderedAt[index] ?? 0)
    const later = Math.floor(lastSeen + (CLOSING - lastSeen) * random.next())
    const fate = random.next()
    const deletedAt = fate < 0.01 ? later : null
    return {
      email: `${toAddress(fullName)}.${index}@seed-${this.seed}.example.com`,
      fullName,
      role: random.next() < 0.001 ? 'admin' : 'user',
      isActive: fate > 0.03,
      createdAt,
      updatedAt: fate > 0.03 ? createdAt : later,
      deletedAt,
    }
  }

  product(index: number): BulkProduct {
    const random = new Random(this.seed, PRODUCTS, index)
    const thing = random.pick(things)
    const material = random.pick(materials)
    return {
      sku: `${thing.slice(0, 3).toUpperCase()}-S${this.seed}-${String(index).padStart(6, '0')}`,
      name: `${random.pick(styles)} ${material} ${thing}, ${random.pick(variants)}`,
      description: `${thing.charAt(0).toUpperCase()}${thing.slice(1)} of ${material.replace('-', ' ')}. ${random.pick(remarks)}`,
      priceCents: Math.floor(20 * 250 ** random.next()) * 10 + 9,
      createdAt: Math.floor(OPENING - 180 * DAY * random.next()),
    }
  }

  /** What became of a product: what is left of it, when that last changed, and when it was taken off the list, if it was. */
  stock(index: number, { sold, stockChangedAt }: Ledger) {
    const random = new Random(this.seed, STOCK, index)
    const lastChange = Math.max(this.product(index).createdAt, stockChangedAt[index] ?? 0)
    const deletedAt = random.next() < 0.01 ? Math.floor(lastChange + (CLOSING - lastChange) * random.next()) : null
    const partOfLot = (STOCK_LOT - ((sold[index] ?? 0) % STOCK_LOT)) % STOCK_LOT
    return { stock: partOfLot + STOCK_LOT * random.below(30, 3), updatedAt: deletedAt ?? lastChange, deletedAt }
  }

  order(index: number): BulkOrder {
    const { users, products, orders } = this.counts
    const random = new Random(this.seed, ORDERS, index)
    const position = (index + random.next()) / orders
    const createdAt = timeAt(position)
    const known = Math.min(users, Math.floor(position * users) + 1)
    const user = random.below(known, 2)

    const cancelled = random.next() < 0.04
    const updatedAt = createdAt + HOUR + random.below((cancelled ? 2 : 30) * DAY, 2)
    const settled = updatedAt < CLOSING

    const quantities = new Map<number, number>()
    for (let line = 1 + random.below(7, 2); line > 0; line--) {
      const product = (random.rank(products) * LARGE_PRIME) % products
      quantities.set(product, 1 + random.below(5, 4))
    }
    return {
      index,
      user,
      status: !settled ? 'placed' : cancelled ? 'cancelled' : 'fulfilled',
      createdAt,
      updatedAt: settled ? updatedAt : createdAt,
      lines: Array.from(quantities, ([product, quantity]) => ({ product, quantity })),
    }
  }
}

/** What orders have done to a shop's users and products. */
export class Ledger {
  /** Pieces of each product, orders that were cancelled not counted. */
  readonly sold: Uint32Array
  /** When an order last took of a product or put back; 0: never. */
  readonly stockChangedAt: Float64Array
  /** When one of a user's orders last changed; 0: never. */
  readonly orderedAt: Float64Array
  lines = 0

  constructor({ users, products }: BulkCounts) {
    this.sold = new Uint32Array(products)
    this.stockChangedAt = new Float64Array(products)
    this.orderedAt = new Float64Array(users)
  }

  record({ user, status, createdAt, updatedAt, lines }: BulkOrder): void {
    const cancelled = status === 'cancelled'
    raise(this.orderedAt, user, updatedAt)
    for (const { product, quantity } of lines) {
      this.lines++
      if (!cancelled) this.sold[product] = (this.sold[product] ?? 0) + quantity
      raise(this.stockChangedAt, product, cancelled ? updatedAt : createdAt)
    }
  }
}

function raise(times: Float64Array, index: number, time: number): void {
  times[index] = Math.max(times[index] ?? 0, time)
}

/**
 * When the part `position` (0 to 1) of all business was done. Never runs backwards: the more there is, the denser; and
 * noon (UTC) is the densest part of a day.
 */
function timeAt(position: number): number {
  const days = ((CLOSING - OPENING) / DAY) * position ** 0.6
  const day = Math.floor(days)
  const hours = days - day + (0.5 * Math.sin(2 * Math.PI * (days - day))) / (2 * Math.PI)
  return Math.floor(OPENING + (day + hours) * DAY)
}

const toAddress = (name: string) =>
  name
    .normalize('NFD')
    .toLowerCase()
    .replaceAll(' ', '.')
    .replace(/[^a-z.]/g, '')
