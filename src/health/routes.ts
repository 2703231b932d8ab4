import { Hono } from 'hono'
import type { Database } from '../db/database.ts'
import type { AppEnv } from '../http/context.ts'
import { neverCached } from '../http/never-cached.ts'
import type { MigrationManifest } from '../migrations/manifest.ts'
import { checkHealth } from './service.ts'

interface HealthDependencies {
  database: Database
  migrations: MigrationManifest
}

export function healthRoutes({ database, migrations }: HealthDependencies) {
  return new Hono<AppEnv>()
    .use(neverCached)
    .get('/', async (c) => {
      const health = await checkHealth(database, migrations)
      return c.json(health, health.status === 'unavailable' ? 503 : 200)
    })
    .get('/live', (c) => c.json({ status: 'ok' }))
}
