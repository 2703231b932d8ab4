import type { DatabaseHandle } from '../db/database.ts'
import { Repository, type RepositoryDefinition } from '../db/repository.ts'
import { AppError } from '../errors.ts'

export interface StockLine {
  productId: string
  quantity: number
}

/** A line whose stock has been taken, with what the product was called and cost at that moment. */
export interface TakenLine extends StockLine {
  sku: string
  name: string
  unitPriceCents: number
}

interface WantedRow {
  productId: string
  quantity: number
  sku: string | null
  name: string | null
  unitPriceCents: number | null
  available: number | null
  takenCount: number
}

const definition = {
  model: 'Product',
  filterable: ['name', 'sku', 'stock', 'priceCents'],
  sortable: { createdAt: 'required', name: 'required', priceCents: 'required', sku: 'required', stock: 'required' },
  keptBy: ['orderItems'],
} as const satisfies RepositoryDefinition<'Product'>

export class ProductRepository extends Repository<typeof definition> {
  constructor(handle: DatabaseHandle) {
    super(handle, definition)
  }

  /**
   * Takes stock for every line or for none, in one statement. Rows are locked in id order, so that orders for the same
   * products wait for each other and cannot deadlock; the lock is released when the transaction ends.
   * @param lines each product at most once
   * @returns the lines in the order of their product ids
   * @throws {AppError} `unknown_product` (deleted ones too), `insufficient_stock` with every line that is short
   */
  async takeStock(lines: readonly StockLine[]): Promise<TakenLine[]> {
    const wanted = await this.handle.$queryRaw<WantedRow[]>`
      WITH wanted AS (
        SELECT * FROM unnest(${lines.map((line) => line.productId)}::uuid[], ${lines.map((line) => line.quantity)}::int[])
          AS w (product_id, quantity)
      ), locked AS (
        SELECT p.id, p.sku, p.name, p.price_cents, p.stock, w.quantity
        FROM wanted w JOIN products p ON p.id = w.product_id
        WHERE p.deleted_at IS NULL
        ORDER BY p.id
        FOR NO KEY UPDATE OF p
      ), decision AS (
        SELECT coalesce(bool_and(l.stock >= w.quantity AND l.id IS NOT NULL), false) AS servable
        FROM wanted w LEFT JOIN locked l ON l.id = w.product_id
      ), taken AS (
        UPDATE products p SET stock = p.stock - l.quantity
        FROM locked l CROSS JOIN decision d
        WHERE p.id = l.id AND d.servable AND p.stock >= l.quantity
        RETURNING p.id
      )
      SELECT w.product_id AS "productId", w.quantity, l.sku, l.name, l.price_cents AS "unitPriceCents",
             l.stock AS "available", (SELECT count(*) FROM taken)::int AS "takenCount"
      FROM wanted w LEFT JOIN locked l ON l.id = w.product_id
      ORDER BY w.product_id`
    refuseUnknown(wanted)
    refuseShortages(wanted)
    return wanted.map(toTakenLine)
  }
}

function refuseUnknown(wanted: readonly WantedRow[]): void {
  const productIds = wanted.filter((row) => row.available === null).map((row) => row.productId)
  if (productIds.length === 0) return
  throw new AppError('unknown_product', 'The order names products that are not sold here.', { details: { productIds } })
}

function refuseShortages(wanted: readonly WantedRow[]): void {
  const shortages = wanted.flatMap(({ productId, quantity, available }) =>
    available !== null && available < quantity ? [{ productId, requested: quantity, available }] : [],
  )
  if (shortages.length === 0) return
  throw new AppError('insufficient_stock', 'There is not enough stock for the order.', { details: { shortages } })
}

function toTakenLine(row: WantedRow, _index: number, wanted: readonly WantedRow[]): TakenLine {
  const { productId, quantity, sku, name, unitPriceCents, takenCount } = row
  if (takenCount !== wanted.length || sku === null || name === null || unitPriceCents === null) {
    throw new Error('Stock was neither taken for every line nor refused')
  }
  return { productId, quantity, sku, name, unitPriceCents }
}
