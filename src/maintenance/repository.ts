import type { DatabaseHandle } from '../db/database.ts'

/** What is of no use any more. Each call takes away one batch, so that no statement runs for long. */
export class MaintenanceRepository {
  readonly #handle: DatabaseHandle

  constructor(handle: DatabaseHandle) {
    this.#handle = handle
  }

  // In both statements: the rows are chosen once (an IN list may be chosen again for every row, and exceed its limit),
  // oldest first, and those that another run is taking away are left to it.

  /** @returns how many keys were deleted: fewer than `limit` if there are no more */
  deleteIdempotencyKeys(olderThanSeconds: number, limit: number): Promise<number> {
    return this.#handle.$executeRaw`
      DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys
        WHERE created_at < now() - make_interval(secs => ${olderThanSeconds}::int)
        ORDER BY created_at LIMIT ${limit}::int
        FOR UPDATE SKIP LOCKED))`
  }

  /** @returns how many windows were deleted: fewer than `limit` if there are no more */
  deleteLoginFailures(olderThanSeconds: number, limit: number): Promise<number> {
    return this.#handle.$executeRaw`
      DELETE FROM login_failures WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM login_failures
        WHERE window_started_at < now() - make_interval(secs => ${olderThanSeconds}::int)
        ORDER BY window_started_at LIMIT ${limit}::int
        FOR UPDATE SKIP LOCKED))`
  }
}
