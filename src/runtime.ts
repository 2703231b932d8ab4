import type { Hono } from 'hono'
import { createApp } from './app.ts'
import { type Config, type Environment, readConfig } from './config.ts'
import { Database } from './db/database.ts'
import { echo } from './db/echo.ts'
import type { AppEnv } from './http/context.ts'
import { createLog, type Log } from './log.ts'
import type { MigrationManifest } from './migrations/manifest.ts'

export interface Runtime {
  config: Config
  database: Database
  app: Hono<AppEnv>
  log: Log
}

/**
 * Makes the application from its settings, once for the life of a process: functions, the development server and the
 * tests all enter here. Opens no connection yet.
 * @param migrations the migrations of this build, which health compares the database with
 * @throws {ConfigError} listing every bad or missing setting
 */
export async function boot(environment: Environment, migrations: MigrationManifest): Promise<Runtime> {
  const config = readConfig(environment)
  const log = createLog(config.logLevel)
  const database = new Database(config.database)
  if (config.database.echo) database.observe(echo(log))
  const { authSecret, requestDeadlineMs } = config
  const app = createApp({ database, log, migrations, authSecret, requestDeadlineMs })
  return { config, database, app, log }
}
