import { Hono } from 'hono'
import type { Database } from '../db/database.ts'
import type { AppEnv, AppMiddleware } from '../http/context.ts'
import { deletedForAdmins } from '../http/deleted-for-admins.ts'
import { refuseOffsetWithCursor } from '../http/list-query.ts'
import { toListView } from '../http/list-view.ts'
import { readQuery } from '../http/validation.ts'
import { ProductRepository } from './repository.ts'
import { productFilter, productListQuery, toProductView } from './schema.ts'

interface ProductDependencies {
  database: Database
  requireCaller: AppMiddleware
}

export function productRoutes({ database, requireCaller }: ProductDependencies) {
  return new Hono<AppEnv>().get('/', deletedForAdmins(requireCaller), async (c) => {
    const query = readQuery(c, productListQuery)
    const products = new ProductRepository(database.client)
    const { ids, limit, offset, cursor, sort, total, deleted } = query
    if (ids !== undefined) {
      const { rows, missing } = await products.getByIds(ids, { deleted })
      return c.json({ data: rows.map(toProductView), missing })
    }
    refuseOffsetWithCursor(query)
    const listing = { filter: productFilter(query), sort, limit, total, deleted }
    const page =
      offset === undefined
        ? await products.paginate({ ...listing, ...(cursor !== undefined && { after: cursor }) })
        : await products.list({ ...listing, offset })
    return c.json(toListView(page, query, toProductView))
  })
}
