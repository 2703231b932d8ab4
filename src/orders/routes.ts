import { Hono } from 'hono'
import type { Database } from '../db/database.ts'
import type { AppEnv, AppMiddleware } from '../http/context.ts'
import { idPath, readBody, readParameters, readPath } from '../http/validation.ts'
import { idempotencyKeySchema, placeOrderSchema, toOrderView } from './schema.ts'
import { getOrder, placeOrder } from './service.ts'

interface OrderDependencies {
  database: Database
  requireCaller: AppMiddleware
}

export function orderRoutes({ database, requireCaller }: OrderDependencies) {
  return new Hono<AppEnv>()
    .use(requireCaller)
    .post('/', async (c) => {
      const header = { 'Idempotency-Key': c.req.header('Idempotency-Key') }
      const { 'Idempotency-Key': key } = readParameters(header, idempotencyKeySchema)
      const order = await placeOrder(database, c.var.caller, await readBody(c, placeOrderSchema), key)
      if (order.replayed) c.header('Idempotency-Replayed', 'true')
      return c.body(order.body, 201, { 'Content-Type': 'application/json', Location: order.location })
    })
    .get('/:id', async (c) => {
      const order = await getOrder(database, c.var.caller, readPath(c, idPath).id)
      return c.json(toOrderView(order))
    })
}
