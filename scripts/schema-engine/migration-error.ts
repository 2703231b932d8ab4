import type pg from 'pg'
import { KnownError } from './errors.ts'

/** How many lines of the script are shown before the one that failed. */
const CONTEXT_LINES = 5

/** A migration's script that failed: its SQLSTATE, and what the server said about it. */
export interface ScriptFailure {
  sqlState: string
  severity: string
  text: string
}

/** In the layout of Prisma's native engine. */
export function describeScriptError(error: pg.DatabaseError, script: string): ScriptFailure {
  const { code = 'none', severity = 'ERROR', message, detail, hint, position } = error
  const lines = [message]
  if (detail) lines.push(`DETAIL: ${detail}`)
  if (hint) lines.push(`HINT: ${hint}`)
  if (position) lines.push('', 'Position:', ...excerpt(script, Number(position)))
  return { sqlState: code, severity, text: [...lines, '', debugFormat(error)].join('\n') }
}

/** @param position counts characters from 1, like the server does */
function excerpt(script: string, position: number): string[] {
  const lines = script.split('\n')
  const before = [...script].slice(0, position - 1).join('')
  const failed = before.split('\n').length
  const first = Math.max(1, failed - CONTEXT_LINES)
  return lines.slice(first - 1, failed).map((line, i) => {
    const number = String(first + i).padStart(3)
    if (first + i === failed) return `\x1b[1m${number}\x1b[1;31m ${line}\x1b[0m`
    return `\x1b[1m${number}\x1b[0m${line === '' ? '' : ` ${line}`}`
  })
}

/** As Rust prints its struct; what people paste into bug reports. */
function debugFormat(error: pg.DatabaseError): string {
  const optional = (value: string | undefined, render: (value: string) => string = JSON.stringify) =>
    value === undefined ? 'None' : `Some(${render(value)})`
  const severity = error.severity ?? 'ERROR'
  const members = {
    severity: JSON.stringify(severity),
    parsed_severity: optional(severity, (name) => name.charAt(0) + name.slice(1).toLowerCase()),
    code: `SqlState(E${error.code})`,
    message: JSON.stringify(error.message),
    detail: optional(error.detail),
    hint: optional(error.hint),
    position: optional(error.position, (position) => `Original(${position})`),
    where_: optional(error.where),
    schema: optional(error.schema),
    table: optional(error.table),
    column: optional(error.column),
    datatype: optional(error.dataType),
    constraint: optional(error.constraint),
    file: optional(error.file),
    line: optional(error.line, (line) => line),
    routine: optional(error.routine),
  }
  return `DbError { ${Object.entries(members)
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ')} }`
}

const applyError = (name: string, { sqlState, severity, text }: ScriptFailure): KnownError =>
  new KnownError(
    'P3018',
    `A migration failed to apply. New migrations cannot be applied before the error is recovered from. Read more about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve\n\nMigration name: ${name}\n\nDatabase error code: ${sqlState}\n\nDatabase error:\n${severity}: ${text}\n`,
  )

/**
 * The engine's own error for a failed script, as the native engine words it. The WebAssembly one says no more than
 * "external connector error" to `migrate deploy`, and names neither code nor position when the shadow database failed.
 */
export function migrationError(error: Error, code: unknown, failure: ScriptFailure): KnownError | undefined {
  if (code === 'P3006') {
    const name = /^Migration `(.*)` failed/.exec(error.message)?.[1] ?? ''
    return new KnownError(
      code,
      `Migration \`${name}\` failed to apply cleanly to the shadow database. \nError code: P3018\nError:\n${applyError(name, failure).message}`,
    )
  }
  const name = /migration_name="(.*)"/.exec(error.message)?.[1]
  return name === undefined ? undefined : applyError(name, failure)
}
