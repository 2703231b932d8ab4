import type { Connection } from './connection.ts'
import type { QueryInput, QueryResult } from './driver.ts'
import { DatabaseError, isForgottenPlan } from './errors.ts'
import { Lease } from './lease.ts'
import type { Pool } from './pool.ts'
import type { TimeLimits } from './time-limits.ts'

/** What Prisma's adapters take for the driver's pool: single statements, and leases for transactions. */
export class PooledClient {
  readonly #pool: Pool
  readonly #limits: TimeLimits

  constructor(pool: Pool, limits: TimeLimits) {
    this.#pool = pool
    this.#limits = limits
  }

  /**
   * Runs one statement, which commits by itself.
   * @throws {DatabaseError} also `ambiguous_commit`, if the connection was lost after a statement that is no SELECT had
   * been sent. A function that writes and is called by a SELECT needs a transaction to be told apart.
   */
  async query(input: QueryInput, values?: unknown[]): Promise<QueryResult> {
    const endsAt = performance.now() + this.#limits.transactionMs
    const connection = await this.#pool.acquire()
    try {
      const timeoutMs = Math.max(1, Math.min(this.#limits.replyMs, endsAt - performance.now()))
      return await runAlone(connection, values === undefined ? input : { ...input, values }, timeoutMs)
    } finally {
      this.#pool.release(connection)
    }
  }

  /** Lends a connection to a transaction, for `transactionMs` at most, the wait for it included. */
  async connect(): Promise<Lease> {
    const endsAt = performance.now() + this.#limits.transactionMs
    return new Lease(this.#pool, await this.#pool.acquire(), this.#limits, endsAt)
  }
}

async function runAlone(connection: Connection, input: QueryInput, timeoutMs: number): Promise<QueryResult> {
  try {
    const result = await connection
      .query(input, timeoutMs)
      .catch((error) => (isForgottenPlan(error) ? connection.query(input, timeoutMs) : Promise.reject(error)))
    if (connection.status === 'I') return result
  } catch (error) {
    if (!connection.outcomeUnknown || /^\s*SELECT\b/i.test(input.text)) throw error
    const message = 'The connection was lost while a statement was running: it may or may not have been committed'
    throw new DatabaseError('ambiguous_commit', message, { cause: error })
  }
  throw new DatabaseError('misuse', 'A statement outside a transaction left one open')
}
