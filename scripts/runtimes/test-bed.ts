import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { migrations } from '../../src/migrations/generated/manifest.ts'
import { boot } from '../../src/runtime.ts'
import { seed } from '../../src/seed.ts'
import { startBridge } from '../local/bridge.ts'
import { migrate } from '../local/migrate.ts'
import { startPostgres } from '../local/postgres.ts'

/** Settings of one server under test, and the way to its database that does not go through it. */
export interface Place {
  environment: Record<string, string>
  databaseUrl: string
}

/** A throw-away PostgreSQL with its bridge, and in it a migrated and seeded database to clone. */
export interface TestBed {
  /** Outside the checkout, so that nothing in it finds `node_modules`. */
  folder: string
  createPlace(): Promise<Place>
  close(): Promise<void>
}

/** Of no value after a crash; and where every request has its own pool, there are many connections. */
const DISPOSABLE = { fsync: 'off', max_connections: '400' }

const TEMPLATE = 'seeded'

export async function prepareTestBed(): Promise<TestBed> {
  const folder = await mkdtemp(join(tmpdir(), 'runtimes-'))
  const postgres = await startPostgres({ dataDir: join(folder, 'postgres'), settings: DISPOSABLE })
  const bridge = await startBridge({ allow: (host, port) => host === '127.0.0.1' && port === postgres.port })
  const settings = (url: string) => ({
    DATABASE_URL: url,
    NEON_WS_PROXY: bridge.address,
    AUTH_SECRET: authSecret,
    LOG_LEVEL: 'info',
    // What is tested is that all of 200 orders at once end well, not how soon: a slow machine may take its time.
    DATABASE_POOL_TIMEOUT_MS: '60000',
    REQUEST_DEADLINE_MS: '90000',
  })
  const authSecret = randomBytes(32).toString('base64url')
  const close = async () => {
    await bridge.close()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await migrate(postgres.url(TEMPLATE))
    const { database, config } = await boot(settings(postgres.url(TEMPLATE)), migrations)
    await seed(database, config).finally(() => database.close())
  } catch (error) {
    await close()
    throw error
  }
  let places = 0
  return {
    folder,
    close,
    async createPlace() {
      const name = `place_${places++}`
      const client = new Client({ connectionString: postgres.url() })
      await client.connect()
      await client.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`).finally(() => client.end())
      const databaseUrl = postgres.url(name)
      return { databaseUrl, environment: { ...settings(databaseUrl), NODE_ENV: 'production' } }
    },
  }
}
