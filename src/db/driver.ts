import type { StatementClass } from './statement.ts'

/**
 * The part of node-postgres that is used here. `pg` and `@neondatabase/serverless` both have it, at run time; their
 * declared types leave the protocol side out.
 */
export interface DriverClient {
  readonly connection: DriverConnection
  /** What BackendKeyData said; null until then. */
  readonly processID: number | null
  connect(): Promise<unknown>
  query(statement: DriverQuery): unknown
  end(): Promise<void>
  on(event: 'error', listener: (error: unknown) => void): unknown
  on(event: 'end', listener: () => void): unknown
}

export interface DriverConnection {
  readonly stream: DriverStream
  /** Only `pg` has it: names it believes to be on their way to the server. */
  readonly submittedNamedStatements?: Record<string, string>
  on(event: 'readyForQuery', listener: (message: { status: TransactionStatus }) => void): unknown
  on(event: 'sslconnect', listener: () => void): unknown
  parse(message: { text: string; name?: string }): void
  bind(message: object): void
  execute(message: object): void
  close(message: { type: 'S'; name: string }): void
}

export interface DriverStream {
  emit(event: string, ...values: unknown[]): boolean
  destroy(): void
  cork?(): void
  uncork?(): void
}

/** The server's word in ReadyForQuery: idle, in a transaction, in a transaction that failed. */
export type TransactionStatus = 'I' | 'T' | 'E'

export interface QueryInput {
  text: string
  values?: unknown[]
  rowMode?: 'array'
  types?: unknown
}

export interface QueryResult {
  command: string | null
  rowCount: number | null
  fields: { name: string; dataTypeID: number }[]
  rows: unknown[][]
}

/** node-postgres's own Query: it encodes values, and decodes rows by the parsers it is given. */
export interface DriverQuery {
  name: string | undefined
  submit(connection: DriverConnection): Error | null
  requiresPreparation(): boolean
  hasBeenParsed(connection: DriverConnection): unknown
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: DriverConnection): void
  handleEmptyQuery(connection: DriverConnection): void
}

export type DriverQueryConstructor = new (
  input: QueryInput,
  values: unknown[] | undefined,
  callback: (error: unknown, result: QueryResult) => void,
) => DriverQuery

/** One of the two ways to the database. */
export interface Driver {
  readonly Statement: StatementClass
  /** A client that has not begun to connect. */
  createClient(): DriverClient
  /** Closes the client's socket at once, without a word to the other side. */
  destroy(client: DriverClient): void
}
