import type { Database, PoolHealth, PoolStatus } from '../db/database.ts'
import { compareWithJournal, type MigrationState } from '../migrations/journal.ts'
import type { MigrationManifest } from '../migrations/manifest.ts'

export interface Health {
  status: 'ok' | 'degraded' | 'unavailable'
  database: { reachable: boolean; latencyMs: number | null; timeZone: string | null }
  pool: PoolStatus & PoolHealth
  migrations: MigrationState
}

/** Longest time spent on finding out, in milliseconds; the contract promises an answer within 2 s. */
const CHECK_TIMEOUT_MS = 1500

/**
 * `unavailable` when the database does not answer in time or is not at the migrations this build was made for,
 * `degraded` when it is but 80 % or more of the pool is in use, `ok` otherwise. Never throws.
 */
export async function checkHealth(database: Database, manifest: MigrationManifest): Promise<Health> {
  // Before the check borrows a connection of its own.
  const pool = { ...database.poolStatus(), ...database.poolHealth() }
  const found = await inspect(database, manifest).catch(() => undefined)
  if (found === undefined) {
    return {
      status: 'unavailable',
      database: { reachable: false, latencyMs: null, timeZone: null },
      pool,
      migrations: { current: null, applied: 0, pending: manifest.map(({ name }) => name), modified: [] },
    }
  }
  const { ping, migrations } = found
  const migrated = migrations.pending.length === 0 && migrations.modified.length === 0
  return {
    status: migrated ? (pool.healthy ? 'ok' : 'degraded') : 'unavailable',
    database: { reachable: true, latencyMs: Math.round(ping.latencyMs * 10) / 10, timeZone: ping.timeZone },
    pool,
    migrations,
  }
}

async function inspect(database: Database, manifest: MigrationManifest) {
  const endsAt = performance.now() + CHECK_TIMEOUT_MS
  const ping = await database.ping(CHECK_TIMEOUT_MS)
  const migrations = await database.probe(
    (query) => compareWithJournal(query, manifest),
    Math.max(1, endsAt - performance.now()),
  )
  return { ping, migrations }
}
