import type { TimeLimits } from './time-limits.ts'

/**
 * What every statement runs under. Start-up parameters would be shorter, but transaction poolers refuse them.
 * Prisma writes and reads times without an offset, so that any zone but UTC would move them.
 */
export class SessionSettings {
  /** Applies the settings to the transaction it is run in. */
  readonly local: string
  /** Applies them for good if the session has the process id `$1`; tells its process id and whether it did. */
  readonly verify: string

  constructor(limits: TimeLimits) {
    const settings = {
      TimeZone: 'UTC',
      statement_timeout: limits.statementMs,
      lock_timeout: limits.lockMs,
      idle_in_transaction_session_timeout: limits.idleInTransactionMs,
      // PostgreSQL 17 and later. For a transaction whose client is gone without the server having noticed.
      transaction_timeout: limits.transactionMs,
    }
    const rows = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
    const known = `FROM (VALUES ${rows.join(', ')}) AS settings (name, value) WHERE current_setting(name, true) IS NOT NULL`
    this.local = `SELECT set_config(name, value, true) ${known}`
    this.verify = `SELECT pg_backend_pid(), (SELECT count(set_config(name, value, false)) ${known} AND pg_backend_pid() = $1) > 0`
  }
}
