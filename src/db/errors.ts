import { describeError, unwrap } from './error-description.ts'
import { tellsForgottenPlan } from './sql-state.ts'

/**
 * What went wrong in the database, whatever layer said so.
 *
 * - `unavailable`: no connection, or it was lost before anything could have been committed (`not committed`, for sure)
 * - `pool_timeout`: no connection became free in time
 * - `timeout`: the server or the client gave up on a statement, a lock or a transaction; nothing was committed
 * - `conflict`: serialization failure or deadlock; the whole transaction may be tried again
 * - `lock_not_available`: a row lock was not free (`NOWAIT`, or the lock timeout)
 * - `unique`, `foreign_key`, `check`, `not_null`: a constraint refused the row; `constraint` names it
 * - `invalid_input`: a value the type or the database cannot hold
 * - `ambiguous_commit`: the connection was lost after COMMIT was sent; the transaction may or may not have been committed
 * - `not_committed`: COMMIT was answered with ROLLBACK, because a statement's error had been swallowed
 * - `misuse`: the calling code broke a rule of this layer; `message` names it
 * - `not_found`: an operation needed a record that is not there
 * - `in_use`: the record cannot be removed, because others refer to it
 * - `stale`: the record has changed since the caller last saw it
 * - `invalid_cursor`: the cursor was made for another list, or altered
 * - `internal`: anything else
 */
export type DatabaseErrorKind =
  | 'unavailable'
  | 'pool_timeout'
  | 'timeout'
  | 'conflict'
  | 'lock_not_available'
  | 'unique'
  | 'foreign_key'
  | 'check'
  | 'not_null'
  | 'invalid_input'
  | 'ambiguous_commit'
  | 'not_committed'
  | 'misuse'
  | 'not_found'
  | 'in_use'
  | 'stale'
  | 'invalid_cursor'
  | 'internal'

export interface DatabaseErrorOptions {
  sqlState?: string | undefined
  /** Name of the constraint or index that refused the row, where the driver tells it. */
  constraint?: string | undefined
  /** Database names of the columns concerned, where the driver tells them. */
  columns?: readonly string[] | undefined
  /** The model's names of these columns, where a repository adds them. */
  fields?: readonly string[] | undefined
  cause?: unknown
}

/** The only error that leaves `src/db`. Its message never carries values of rows. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly kind: DatabaseErrorKind
  readonly sqlState: string | undefined
  readonly constraint: string | undefined
  readonly columns: readonly string[]
  readonly fields: readonly string[]

  constructor(kind: DatabaseErrorKind, message: string, options: DatabaseErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.kind = kind
    this.sqlState = options.sqlState
    this.constraint = options.constraint
    this.columns = options.columns ?? []
    this.fields = options.fields ?? []
  }

  /** Whether running the whole transaction again is safe and may succeed. */
  get retryable(): boolean {
    return this.kind === 'conflict'
  }
}

const sentences: Readonly<Record<DatabaseErrorKind, string>> = {
  unavailable: 'The database cannot be reached',
  pool_timeout: 'No connection became free in time',
  timeout: 'The database did not answer in time',
  conflict: 'The transaction collided with another one',
  lock_not_available: 'Another transaction holds the lock',
  unique: 'A unique constraint refused the row',
  foreign_key: 'A foreign key refused the row',
  check: 'A check constraint refused the row',
  not_null: 'A required column is null',
  invalid_input: 'A value cannot be stored',
  ambiguous_commit: 'The connection was lost while committing',
  not_committed: 'The transaction was rolled back because a statement in it had failed',
  misuse: 'The database was called in a way it does not allow',
  not_found: 'A record that the operation needs is not there',
  in_use: 'Other records refer to this one',
  stale: 'The record has changed since it was read',
  invalid_cursor: 'The cursor does not belong to this list',
  internal: 'The database operation failed',
}

/**
 * Whatever was thrown or emitted, as a {@link DatabaseError}: errors of the server, of either driver and of Prisma in
 * any of its shapes, socket errors, WebSocket events, strings. Its cause keeps the server's words, but no row's values.
 */
export function toDatabaseError(error: unknown): DatabaseError {
  const layers = [...unwrap(error)]
  const translated = layers.find((layer) => layer instanceof DatabaseError)
  if (translated !== undefined) return translated
  const { kind, detail, ...rest } = describeError(layers)
  const state = rest.sqlState === undefined ? '' : ` (SQLSTATE ${rest.sqlState})`
  return new DatabaseError(kind, `${sentences[kind]}${detail === '' ? '' : `: ${detail}`}${state}`, rest)
}

/** Whether a statement did not run because its prepared form is no longer good; it will run when prepared anew. */
export function isForgottenPlan(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || error.sqlState === undefined) return false
  return tellsForgottenPlan(error.sqlState, error.cause instanceof Error ? error.cause.message : '')
}
