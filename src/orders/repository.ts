import type { DatabaseHandle } from '../db/database.ts'
import type { Order, OrderItem } from '../db/generated/client.ts'
import { Repository, type RepositoryDefinition } from '../db/repository.ts'

/** A line before its order has an id. */
type NewLine = Omit<OrderItem, 'orderId'>

export type OrderWithItems = Order & { items: OrderItem[] }

const definition = {
  model: 'Order',
  filterable: ['userId', 'status', 'createdAt'],
  sortable: { createdAt: 'required' },
} as const satisfies RepositoryDefinition<'Order'>

export class OrderRepository extends Repository<typeof definition> {
  constructor(handle: DatabaseHandle) {
    super(handle, definition)
  }

  /** Writes an order and its lines in one statement, one round trip. */
  async place(userId: string, lines: readonly NewLine[]): Promise<OrderWithItems> {
    const id = crypto.randomUUID()
    const column = <K extends keyof NewLine>(key: K) => lines.map((line) => line[key])
    const totalCents = lines.reduce((total, line) => total + line.quantity * line.unitPriceCents, 0)
    const [order] = await this.handle.$queryRaw<Order[]>`
      WITH placed AS (
        INSERT INTO orders (id, user_id, total_cents) VALUES (${id}::uuid, ${userId}::uuid, ${totalCents}::bigint)
        RETURNING *
      ), lines AS (
        INSERT INTO order_items (order_id, product_id, sku, name, quantity, unit_price_cents)
        SELECT ${id}::uuid, *
        FROM unnest(${column('productId')}::uuid[], ${column('sku')}::text[], ${column('name')}::text[],
                    ${column('quantity')}::int[], ${column('unitPriceCents')}::int[])
      )
      SELECT id, user_id AS "userId", status, total_cents AS "totalCents",
             created_at AS "createdAt", updated_at AS "updatedAt"
      FROM placed`
    if (order === undefined) throw new Error('INSERT ... RETURNING gave no row')
    return { ...order, items: lines.map((line) => ({ orderId: id, ...line })) }
  }

  /** An order and its lines in the order of their product ids, the order in which they were placed. */
  findWithItems(id: string): Promise<OrderWithItems | null> {
    return this.handle.order.findUnique({ where: { id }, include: { items: { orderBy: { productId: 'asc' } } } })
  }
}
