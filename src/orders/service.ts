import type { Caller } from '../caller.ts'
import type { Database, DatabaseHandle } from '../db/database.ts'
import { DatabaseError } from '../db/errors.ts'
import { transaction } from '../db/transaction.ts'
import { AppError } from '../errors.ts'
import { ProductRepository, type StockLine } from '../products/repository.ts'
import { sha256 } from '../sha256.ts'
import { type IdempotencyClaim, IdempotencyRepository, type StoredResponse } from './idempotency-repository.ts'
import { OrderRepository, type OrderWithItems } from './repository.ts'
import { type PlaceOrderBody, toOrderView } from './schema.ts'

export interface PlacedOrder extends StoredResponse {
  /** Whether this is the response of an earlier request with the same key. */
  replayed: boolean
}

/**
 * Places an order: takes the stock, freezes names and prices, writes the order and its lines, all in one transaction or
 * not at all. With a key, the response is stored in that transaction and given again to whoever sends the key again.
 * @throws {AppError} `unknown_product`, `insufficient_stock`, `idempotency_key_reused`, `idempotency_in_progress`
 */
export async function placeOrder(
  database: Database,
  caller: Caller,
  body: PlaceOrderBody,
  key: string | undefined,
): Promise<PlacedOrder> {
  if (key === undefined) {
    const order = await transaction(database, (tx) => writeOrder(tx, caller.id, body))
    return { ...toResponse(order), replayed: false }
  }
  const claim = { userId: caller.id, key, requestHash: await sha256(JSON.stringify(['POST /orders', body])) }
  try {
    return await transaction(database, (tx) => writeOrderOnce(tx, claim, body))
  } catch (error) {
    const stored = await findOutcome(database, claim, error)
    if (stored === undefined) throw error
    return { ...stored, replayed: false }
  }
}

async function writeOrderOnce(tx: DatabaseHandle, claim: IdempotencyClaim, body: PlaceOrderBody): Promise<PlacedOrder> {
  const keys = new IdempotencyRepository(tx)
  const earlier = await keys.claim(claim)
  if (earlier !== undefined) return { ...earlier, replayed: true }
  const response = toResponse(await writeOrder(tx, claim.userId, body))
  await keys.complete(claim, 201, response)
  return { ...response, replayed: false }
}

/** If the connection was lost while committing, the key tells whether the order was placed. */
async function findOutcome(database: Database, claim: IdempotencyClaim, error: unknown) {
  if (!(error instanceof DatabaseError && error.kind === 'ambiguous_commit')) return undefined
  return new IdempotencyRepository(database.client).find(claim.userId, claim.key)
}

async function writeOrder(tx: DatabaseHandle, userId: string, body: PlaceOrderBody): Promise<OrderWithItems> {
  const lines = await new ProductRepository(tx).takeStock(mergeLines(body.items))
  return new OrderRepository(tx).place(userId, lines)
}

/** One line for each product: the same product twice is the sum of both. */
function mergeLines(lines: readonly StockLine[]): StockLine[] {
  const quantities = new Map<string, number>()
  for (const { productId, quantity } of lines) quantities.set(productId, (quantities.get(productId) ?? 0) + quantity)
  return Array.from(quantities, ([productId, quantity]) => ({ productId, quantity }))
}

function toResponse(order: OrderWithItems): StoredResponse {
  return { body: JSON.stringify(toOrderView(order)), location: `/api/v1/orders/${order.id}` }
}

/**
 * The caller's own order, or anyone's for an admin.
 * @throws {AppError} `not_found`, also for an order of someone else: that it exists is theirs to know
 */
export async function getOrder(database: Database, caller: Caller, id: string): Promise<OrderWithItems> {
  const order = await new OrderRepository(database.client).findWithItems(id)
  if (order === null || (order.userId !== caller.id && caller.role !== 'admin')) {
    throw new AppError('not_found', 'There is no such order.')
  }
  return order
}
