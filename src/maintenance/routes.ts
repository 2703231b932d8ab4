import { Hono } from 'hono'
import type { Database } from '../db/database.ts'
import { AppError } from '../errors.ts'
import type { AppEnv, AppMiddleware } from '../http/context.ts'
import { neverCached } from '../http/never-cached.ts'
import { isSecret } from './secret.ts'
import { runMaintenance } from './service.ts'

interface MaintenanceDependencies {
  database: Database
  /** What the caller must know; without one, everybody is refused. */
  cronSecret: string | undefined
  /** How long a run may go on beginning new work. */
  budgetMs: number
}

export function maintenanceRoutes({ database, cronSecret, budgetMs }: MaintenanceDependencies) {
  return new Hono<AppEnv>()
    .use(neverCached)
    .use(requireSecret(cronSecret))
    .get('/', async (c) => c.json(await runMaintenance(database, budgetMs)))
}

const requireSecret = (secret: string | undefined): AppMiddleware =>
  async function requireSecret(c, next) {
    const [, given] = /^Bearer +(\S+)$/i.exec(c.req.header('Authorization') ?? '') ?? []
    if (secret === undefined || given === undefined || !(await isSecret(given, secret))) {
      throw new AppError('unauthenticated', 'Send the secret of the cron jobs as Authorization: Bearer <secret>.')
    }
    await next()
  }
