import type { DatabaseErrorKind } from './errors.ts'
import { kindOfSqlState } from './sql-state.ts'

export interface ErrorDescription {
  kind: DatabaseErrorKind
  /** Names and words that say more, but no row's values; empty if there are none. */
  detail: string
  sqlState?: string
  constraint?: string | undefined
  columns?: string[]
  cause: unknown
}

/** The error, then what it wraps, outermost first. */
export function* unwrap(error: unknown): Generator<unknown> {
  const seen = new Set<unknown>()
  const queue = [error]
  while (queue.length > 0) {
    const layer = queue.shift()
    if (layer === undefined || layer === null || seen.has(layer)) continue
    seen.add(layer)
    yield layer
    if (layer instanceof AggregateError) queue.push(...layer.errors)
    queue.push(member(member(layer, 'meta'), 'driverAdapterError'), member(layer, 'cause'), member(layer, 'error'))
  }
}

/** What the layers of an error tell, the server's word before Prisma's, and both before a guess. */
export function describeError(layers: readonly unknown[]): ErrorDescription {
  for (const describe of [describeServerError, describePrismaError]) {
    for (const layer of layers) {
      const description = describe(layer)
      if (description !== undefined) return description
    }
  }
  return describeSymptom(layers)
}

/** An ErrorResponse of PostgreSQL, as a driver or as one of Prisma's adapters describes it. */
function describeServerError(layer: unknown): ErrorDescription | undefined {
  const sqlState = text(layer, 'originalCode') ?? (text(layer, 'severity') && text(layer, 'code'))
  if (sqlState === undefined || !/^[0-9A-Z]{5}$/.test(sqlState)) return undefined
  const words = text(layer, 'originalMessage') ?? text(layer, 'message') ?? ''
  const kind = kindOfSqlState(sqlState, words)
  const found = member(layer, 'constraint')
  const constraint = typeof found === 'string' ? found : text(found, 'index')
  // The names in "Key (a, b)=(1, 2) already exists."; the values after them are left where they are.
  const key = /^Key \(([^)]+)\)=/.exec(text(layer, 'detail') ?? '')?.[1]?.split(', ')
  const fields = member(found, 'fields') ?? key ?? text(layer, 'column') ?? []
  const columns = [fields].flat().map((column) => String(column).replaceAll('"', ''))
  const detail = kind === 'unavailable' ? words : (constraint ?? columns.join(', '))
  // Data exceptions repeat the value they refuse.
  const cause = new Error(kind === 'invalid_input' ? `SQLSTATE ${sqlState}` : words)
  return { kind, detail, sqlState, constraint, columns, cause }
}

const kindsByPrismaCode: Readonly<Record<string, DatabaseErrorKind>> = {
  P1008: 'timeout',
  P2000: 'invalid_input',
  P2002: 'unique',
  P2003: 'foreign_key',
  P2006: 'invalid_input',
  P2007: 'invalid_input',
  P2011: 'not_null',
  P2015: 'not_found',
  P2018: 'not_found',
  P2020: 'invalid_input',
  P2023: 'invalid_input',
  P2024: 'pool_timeout',
  P2025: 'not_found',
  P2034: 'conflict',
  P2037: 'unavailable',
}

/** What Prisma says of its own accord, with no server behind it. */
function describePrismaError(layer: unknown): ErrorDescription | undefined {
  const name = text(layer, 'name')
  if (name === 'PrismaClientValidationError') return { kind: 'misuse', detail: '', cause: layer }
  if (name === 'PrismaClientInitializationError') return { kind: 'unavailable', detail: '', cause: layer }
  const code = text(layer, 'code')
  if (code === undefined || !/^P\d{4}$/.test(code)) return undefined
  const words = textOf(layer) ?? ''
  const other = code < 'P2' ? 'unavailable' : 'internal'
  const kind = code === 'P2028' ? kindOfClosedTransaction(words) : (kindsByPrismaCode[code] ?? other)
  return { kind, detail: code, cause: new Error(words) }
}

function kindOfClosedTransaction(words: string): DatabaseErrorKind {
  if (words.includes('Unable to start')) return 'pool_timeout'
  return words.includes('expired transaction') ? 'timeout' : 'misuse'
}

/** What is left are sockets and drivers, which name their troubles by code, by event or only in words. */
function describeSymptom(layers: readonly unknown[]): ErrorDescription {
  const messages = layers.flatMap((layer) => textOf(layer) || [])
  return { kind: kindOfSymptom(layers, messages), detail: messages[0] ?? '', cause: layers[0] }
}

function kindOfSymptom(layers: readonly unknown[], messages: readonly string[]): DatabaseErrorKind {
  const says = (words: RegExp) => messages.some((message) => words.test(message))
  if (says(/timeout exceeded when trying to connect/)) return 'pool_timeout'
  if (says(/query read timeout/i)) return 'timeout'
  if (says(/connection (terminated|ended|error|refused|reset)|not queryable|socket|timeout expired/i))
    return 'unavailable'
  const isLost = (layer: unknown) =>
    /^(error|close)$/.test(text(layer, 'type') ?? '') || /^(E[A-Z_]{3,}|UND_ERR_\w+)$/.test(text(layer, 'code') ?? '')
  return layers.some(isLost) ? 'unavailable' : 'internal'
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !(name in value)) return undefined
  // A cast, because `in` does not tell what is inside.
  return (value as Record<string, unknown>)[name]
}

function text(value: unknown, name: string): string | undefined {
  const found = member(value, name)
  return typeof found === 'string' ? found : undefined
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : text(value, 'message'))
