import type { Hono } from 'hono'
import type { Config } from '../config.ts'
import type { Database } from '../db/database.ts'
import type { AppEnv } from '../http/context.ts'
import { createFrame } from '../http/frame.ts'
import type { Log } from '../log.ts'
import { maintenanceRoutes } from './routes.ts'

/** The cron door, at `/cron/maintenance`: a caller with the secret has what has expired deleted. */
export function createMaintenanceApp(config: Config, database: Database, log: Log): Hono<AppEnv> {
  const { cronSecret, requestDeadlineMs } = config
  // The last statement begun may take as long as any, and the answer must still be in time.
  const budgetMs = requestDeadlineMs - config.database.statementTimeoutMs
  const app = createFrame({ log, requestDeadlineMs })
  app.route('/cron/maintenance', maintenanceRoutes({ database, cronSecret, budgetMs }))
  return app
}
