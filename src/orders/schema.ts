import * as z from 'zod'
import type { Order, OrderItem } from '../db/generated/client.ts'
import { uuid } from '../http/validation.ts'

const lineSchema = z.strictObject({ productId: uuid, quantity: z.int().min(1).max(1000) })

export const placeOrderSchema = z.strictObject({ items: z.array(lineSchema).min(1).max(100) })

/** Visible ASCII, as the contract has it; the IETF draft's quotes are taken as part of the key. */
export const idempotencyKeySchema = z.strictObject({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 visible ASCII characters')
    .optional(),
})

export type PlaceOrderBody = z.output<typeof placeOrderSchema>

/** An order as callers see it. Money is in integer cents. */
export function toOrderView(order: Order & { items: readonly OrderItem[] }) {
  return {
    id: order.id,
    userId: order.userId,
    status: order.status,
    // Within 2^53: at most 100 lines of 1000 pieces at 2^31 cents.
    totalCents: Number(order.totalCents),
    createdAt: order.createdAt.toISOString(),
    updatedAt: order.updatedAt.toISOString(),
    items: order.items.map((item) => ({
      productId: item.productId,
      sku: item.sku,
      name: item.name,
      quantity: item.quantity,
      unitPriceCents: item.unitPriceCents,
      lineTotalCents: item.quantity * item.unitPriceCents,
    })),
  }
}
