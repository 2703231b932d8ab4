import type { Hono } from 'hono'
import { authRoutes } from './auth/routes.ts'
import { type AuthOptions, createFindCaller } from './auth/service.ts'
import type { Database } from './db/database.ts'
import { healthRoutes } from './health/routes.ts'
import { authenticate } from './http/authenticate.ts'
import type { AppEnv } from './http/context.ts'
import { createFrame } from './http/frame.ts'
import type { Log } from './log.ts'
import type { MigrationManifest } from './migrations/manifest.ts'
import { orderRoutes } from './orders/routes.ts'
import { productRoutes } from './products/routes.ts'

export interface AppDependencies extends AuthOptions {
  database: Database
  log: Log
  /** The migrations this build was made for; health compares the database with them. */
  migrations: MigrationManifest
  requestDeadlineMs: number
}

/** The HTTP API: one line for each slice. */
export function createApp(dependencies: AppDependencies): Hono<AppEnv> {
  const { database, log, migrations, requestDeadlineMs } = dependencies
  const app = createFrame({ log, requestDeadlineMs })
  const requireCaller = authenticate(createFindCaller(database, dependencies))

  app.route('/api/v1/health', healthRoutes({ database, migrations }))
  app.route('/api/v1/auth', authRoutes({ ...dependencies, requireCaller }))
  app.route('/api/v1/products', productRoutes({ database, requireCaller }))
  app.route('/api/v1/orders', orderRoutes({ database, requireCaller }))

  return app
}
