import type { z } from 'zod'
import type { Product } from '../db/generated/client.ts'
import { deletedFilter, listQuery, trueOrFalse, wholeNumber } from '../http/list-query.ts'
import { text } from '../http/validation.ts'

const cents = wholeNumber(0, 2_147_483_647)

export const productListQuery = listQuery(['createdAt', 'name', 'priceCents', 'sku', 'stock'], {
  q: text(1, 100).optional(),
  inStock: trueOrFalse.optional(),
  minPriceCents: cents.optional(),
  maxPriceCents: cents.optional(),
  deleted: deletedFilter,
})

/** The filters of a list, as data for the repository. */
export function productFilter(query: z.output<typeof productListQuery>) {
  const { q, inStock, minPriceCents, maxPriceCents } = query
  return {
    ...(q !== undefined && { or: [{ name: { search: q } }, { sku: { search: q } }] }),
    ...(inStock !== undefined && { stock: inStock ? { gt: 0 } : { eq: 0 } }),
    and: [
      ...(minPriceCents === undefined ? [] : [{ priceCents: { gte: minPriceCents } }]),
      ...(maxPriceCents === undefined ? [] : [{ priceCents: { lte: maxPriceCents } }]),
    ],
  }
}

/** A product as callers see it. Money is in integer cents. */
export function toProductView(product: Product) {
  return {
    id: product.id,
    sku: product.sku,
    name: product.name,
    description: product.description,
    priceCents: product.priceCents,
    stock: product.stock,
    createdAt: product.createdAt.toISOString(),
    updatedAt: product.updatedAt.toISOString(),
    deletedAt: product.deletedAt?.toISOString() ?? null,
  }
}
