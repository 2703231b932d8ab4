import type { Database } from '../db/database.ts'
import { MaintenanceRepository } from './repository.ts'

/** An idempotency key is promised to be kept for a day; a window of failed logins is over long before. */
const KEPT_SECONDS = 24 * 60 * 60

const BATCH_ROWS = 1000

export interface Purged {
  deleted: number
  /** Whether time was up before everything was deleted: the next run goes on. */
  more: boolean
}

export interface Maintenance {
  idempotencyKeys: Purged
  loginFailures: Purged
}

/**
 * Deletes what has expired, a thousand rows at a time, until nothing is left or the time is up. Two runs at once share
 * the work and do not wait for each other.
 * @param budgetMs after which no further batch is begun
 */
export async function runMaintenance(database: Database, budgetMs: number): Promise<Maintenance> {
  const repository = new MaintenanceRepository(database.client)
  const endsAt = performance.now() + budgetMs
  return {
    idempotencyKeys: await purge(() => repository.deleteIdempotencyKeys(KEPT_SECONDS, BATCH_ROWS), endsAt),
    loginFailures: await purge(() => repository.deleteLoginFailures(KEPT_SECONDS, BATCH_ROWS), endsAt),
  }
}

async function purge(deleteBatch: () => Promise<number>, endsAt: number): Promise<Purged> {
  let deleted = 0
  while (performance.now() < endsAt) {
    const rows = await deleteBatch()
    deleted += rows
    if (rows < BATCH_ROWS) return { deleted, more: false }
  }
  return { deleted, more: true }
}
