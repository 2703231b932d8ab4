// The production server, for any host that runs Node: settings from the environment or `.env`, no migration, no seed.
// SIGTERM or SIGINT: no new connections, requests in flight are answered, the pool is closed, exit 0, all of it within
// REQUEST_DEADLINE_MS and two seconds; a second signal ends it at once.
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { ConfigError } from '../src/config.ts'
import { createMaintenanceApp } from '../src/maintenance/app.ts'
import { migrations } from '../src/migrations/generated/manifest.ts'
import { boot } from '../src/runtime.ts'
import { startHttpServer } from './serve/http-server.ts'

/** `npm run` passes on the Ctrl-C that the terminal has sent to the whole process group already. */
const SAME_SIGNAL_MS = 500

async function serve(): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile()
  const { app, config, database, log } = await boot(process.env, migrations)
  const maintenance = createMaintenanceApp(config, database, log)
  // Both doors of `functions`, on one pool.
  const doorOf = ({ url }: Request) => (new URL(url).pathname === '/cron/maintenance' ? maintenance : app)
  const { host, port } = config
  const server = await startHttpServer({ fetch: (request) => doorOf(request).fetch(request), host, port })

  const stop = async (signal: NodeJS.Signals) => {
    log.info('stopping', { signal })
    const started = performance.now()
    const drained = await server.drain(config.requestDeadlineMs)
    // What a request left running when its time was up ends within the deadline as well.
    const remainingMs = config.requestDeadlineMs - (performance.now() - started)
    await database.close(Math.max(1000, remainingMs))
    log[drained ? 'info' : 'warn']('stopped', { drained })
    process.exit(drained ? 0 : 1)
  }

  let stoppingSince: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (stoppingSince === undefined) {
      stoppingSince = performance.now()
      stop(signal).catch(fail)
    } else if (performance.now() - stoppingSince > SAME_SIGNAL_MS) {
      process.exit(128 + constants.signals[signal])
    }
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  log.info('listening', { url: server.url })
}

function fail(error: unknown): never {
  console.error(error instanceof ConfigError ? error.message : error)
  process.exit(1)
}

serve().catch(fail)
