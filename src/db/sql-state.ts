import type { DatabaseErrorKind } from './errors.ts'

const kindsByState: Readonly<Record<string, DatabaseErrorKind>> = {
  '23001': 'foreign_key',
  '23502': 'not_null',
  '23503': 'foreign_key',
  '23505': 'unique',
  '23514': 'check',
  '23P01': 'unique',
  '25P02': 'not_committed',
  '25P03': 'timeout',
  '25P04': 'timeout',
  '3D000': 'unavailable',
  '40001': 'conflict',
  '40003': 'ambiguous_commit',
  '40P01': 'conflict',
  '55P03': 'lock_not_available',
  '57014': 'timeout',
}

/** Connection exceptions, refused credentials, no resources left, an operator at work: another time it may succeed. */
const unavailableClasses: ReadonlySet<string> = new Set(['08', '28', '53', '57'])

/**
 * What a SQLSTATE means to callers.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function kindOfSqlState(sqlState: string, message: string): DatabaseErrorKind {
  if (tellsForgottenPlan(sqlState, message)) return 'conflict'
  const kind = kindsByState[sqlState]
  if (kind !== undefined) return kind
  const stateClass = sqlState.slice(0, 2)
  if (stateClass === '22') return 'invalid_input'
  return unavailableClasses.has(stateClass) ? 'unavailable' : 'internal'
}

/** Whether the server's copy of a prepared statement is gone, outdated by a migration, or already there. */
export function tellsForgottenPlan(sqlState: string, message: string): boolean {
  return sqlState === '26000' || sqlState === '42P05' || (sqlState === '0A000' && message.includes('cached plan'))
}
