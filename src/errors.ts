/**
 * Everything this software refuses or fails with, as a closed set of codes. Each code is a promise to callers
 * (the HTTP layer gives it a status and a title); the message is for people and may change.
 */
export type ErrorCode =
  | 'malformed_json'
  | 'invalid_parameter'
  | 'invalid_cursor'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'in_use'
  | 'insufficient_stock'
  | 'order_state'
  | 'idempotency_in_progress'
  | 'precondition_failed'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'validation_failed'
  | 'unknown_product'
  | 'idempotency_key_reused'
  | 'rate_limited'
  | 'internal'
  | 'unavailable'

/** One thing wrong with the input: where (a path such as `items.0.quantity`) and what. */
export interface FieldProblem {
  path: string
  message: string
}

export interface AppErrorOptions {
  /** Members that callers may read beside the code, e.g. `shortages`. Safe to show: they leave the process. */
  details?: Readonly<Record<string, unknown>>
  errors?: readonly FieldProblem[]
  /** Seconds after which trying again may help. */
  retryAfterSeconds?: number
  /** For logs only; never shown to callers. */
  cause?: unknown
}

/** An error with a code that callers can act on. Its message is shown to them: no SQL, no secrets, no one else's data. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>
  readonly errors: readonly FieldProblem[]
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
    this.errors = options.errors ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}
