import type { LogLevel } from './config.ts'

export type LogFields = Readonly<Record<string, unknown>>

/** Structured logging: one JSON object a line. Fields never hold secrets, passwords or values of rows. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const severities = { debug: 10, info: 20, warn: 30, error: 40, silent: 100 } as const satisfies Record<LogLevel, number>

/** An error's own words and those of everything that caused it; `Error` objects are empty to `JSON.stringify`. */
function describe(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  const { name, message, stack, cause } = value
  return { ...value, name, message, stack, cause }
}

export function createLog(level: LogLevel, write: (line: string) => void = console.log): Log {
  const at = (severity: Exclude<LogLevel, 'silent'>) => (message: string, fields?: LogFields) => {
    if (severities[severity] < severities[level]) return
    write(JSON.stringify({ time: new Date().toISOString(), level: severity, message, ...fields }, describe))
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
