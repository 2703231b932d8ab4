import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { DatabaseError, type DatabaseErrorKind } from '../db/errors.ts'
import { AppError, type ErrorCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { AppContext } from './context.ts'

const problems = {
  malformed_json: [400, 'The body is not JSON'],
  invalid_parameter: [400, 'A parameter is not valid'],
  invalid_cursor: [400, 'The cursor is not valid here'],
  unauthenticated: [401, 'Authentication is required'],
  forbidden: [403, 'Not allowed'],
  not_found: [404, 'Not found'],
  method_not_allowed: [405, 'Method not allowed'],
  conflict: [409, 'Already exists'],
  in_use: [409, 'Still in use'],
  insufficient_stock: [409, 'Not enough stock'],
  order_state: [409, 'The order is not in the right state'],
  idempotency_in_progress: [409, 'The first request with this key is still running'],
  precondition_failed: [412, 'The resource has changed'],
  payload_too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'The body must be application/json'],
  validation_failed: [422, 'The input is not valid'],
  unknown_product: [422, 'Unknown product'],
  idempotency_key_reused: [422, 'The key was used with another request'],
  rate_limited: [429, 'Too many attempts'],
  internal: [500, 'Something went wrong here'],
  unavailable: [503, 'Not available right now'],
} as const satisfies Record<ErrorCode, readonly [ContentfulStatusCode, string]>

const unavailable = (message: string, cause: DatabaseError) =>
  new AppError('unavailable', message, { retryAfterSeconds: 1, cause })

/** What callers are told of a database error that nobody nearer to its cause has explained. */
const translations: Record<DatabaseErrorKind, (error: DatabaseError) => AppError> = {
  unavailable: (cause) => unavailable('The database cannot be reached. Nothing was changed.', cause),
  pool_timeout: (cause) => unavailable('No database connection became free in time. Nothing was changed.', cause),
  timeout: (cause) => unavailable('The database did not answer in time. Nothing was changed.', cause),
  conflict: (cause) => unavailable('The request kept colliding with others. Nothing was changed.', cause),
  lock_not_available: (cause) => unavailable('Another request holds what this one needs. Nothing was changed.', cause),
  ambiguous_commit: (cause) =>
    unavailable('The connection was lost while the change was being saved: it may or may not have been.', cause),
  unique: (cause) => new AppError('conflict', 'A record with the same unique value exists.', { cause }),
  foreign_key: (cause) => new AppError('validation_failed', 'A record it refers to does not exist.', { cause }),
  invalid_input: (cause) => new AppError('validation_failed', 'A value cannot be stored.', { cause }),
  not_found: (cause) => new AppError('not_found', 'There is no such record.', { cause }),
  in_use: (cause) => new AppError('in_use', 'Other records refer to this one.', { cause }),
  stale: (cause) => new AppError('precondition_failed', 'The record has changed since it was read.', { cause }),
  invalid_cursor: (cause) => new AppError('invalid_cursor', 'The cursor does not belong to this list.', { cause }),
  check: (cause) => internal(cause),
  not_null: (cause) => internal(cause),
  not_committed: (cause) => internal(cause),
  misuse: (cause) => internal(cause),
  internal: (cause) => internal(cause),
}

const internal = (cause: unknown) => new AppError('internal', 'The request could not be served.', { cause })

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof DatabaseError) return translations[error.kind](error)
  return internal(error)
}

/**
 * Answers with an RFC 9457 problem. What is shown is the code, its title and the message of an {@link AppError};
 * everything else about the error goes to the log.
 */
export function problemResponse(c: AppContext, log: Log, thrown: unknown): Response {
  const error = toAppError(thrown)
  const [status, title] = problems[error.code]
  const requestId = c.get('requestId')
  if (status >= 500) log[status === 500 ? 'error' : 'warn']('request failed', { requestId, code: error.code, error })
  if (error.retryAfterSeconds !== undefined) c.header('Retry-After', String(error.retryAfterSeconds))
  if (status === 401) c.header('WWW-Authenticate', 'Bearer')
  const problem = {
    type: `urn:problem-type:${error.code}`,
    title,
    status,
    detail: error.message,
    instance: c.req.path,
    code: error.code,
    requestId,
    ...(error.errors.length > 0 && { errors: error.errors }),
    ...error.details,
  }
  return c.body(JSON.stringify(problem), status, { 'Content-Type': 'application/problem+json' })
}
