import type { DatabaseConfig } from '../config.ts'

/**
 * How long each wait may last, in milliseconds. Ordered so that whoever knows most gives up first:
 * lock < statement (both the server's) < reply < transaction (both the client's) < the request's deadline.
 */
export interface TimeLimits {
  /** For a connection, all told: the queue, the check of an idle one, opening a new one. */
  acquireMs: number
  /** TCP or WebSocket, authentication and the session's settings. */
  connectMs: number
  prePingMs: number
  lockMs: number
  statementMs: number
  /** From a statement's last byte out to the server's last byte in, COMMIT and ROLLBACK too. */
  replyMs: number
  idleInTransactionMs: number
  /** From the wait for a connection to the end of COMMIT. */
  transactionMs: number
  /** For what is running to end when the pool closes. */
  closeMs: number
  /** For the goodbye to the server, before the socket is cut. */
  goodbyeMs: number
}

export function timeLimits(config: DatabaseConfig): TimeLimits {
  const { statementTimeoutMs: statementMs, deadlineMs, poolTimeoutMs } = config
  const margin = Math.min(1000, Math.floor((deadlineMs - statementMs) / 4))
  const transactionMs = deadlineMs - margin
  const acquireMs = Math.min(poolTimeoutMs, transactionMs)
  return {
    acquireMs,
    connectMs: Math.min(5000, acquireMs),
    prePingMs: Math.min(500, Math.ceil(acquireMs / 2)),
    lockMs: Math.max(1, Math.floor(statementMs * 0.8)),
    statementMs,
    replyMs: statementMs + margin,
    idleInTransactionMs: statementMs,
    transactionMs,
    closeMs: transactionMs,
    goodbyeMs: 500,
  }
}
