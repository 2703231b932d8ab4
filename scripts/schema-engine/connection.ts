import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ConnectionInfo,
  DriverAdapterError,
  type SqlDriverAdapter,
  type SqlQuery,
  type SqlResultSet,
  type Transaction,
} from '@prisma/driver-adapter-utils'
import pg from 'pg'
import { columnOf } from './column-types.ts'
import { connectionError, driverError } from './errors.ts'
import { describeScriptError, type ScriptFailure } from './migration-error.ts'

/** What Prisma's URLs mean by `schema` and `connect_timeout` (seconds; 0 waits for ever) when they do not say. */
const DEFAULT_SCHEMA = 'public'
const DEFAULT_CONNECT_TIMEOUT = '5'

/** The statement by which the engine keeps two migrations apart, and how long it waits for it. */
const TAKE_LOCK = 'SELECT pg_advisory_lock(72707369)'
const TRY_LOCK = 'SELECT pg_try_advisory_lock(72707369)'
const LOCK_TIMEOUT_MS = 10_000
const LOCK_POLL_MS = 100

export const schemaOf = (url: URL): string => url.searchParams.get('schema') ?? DEFAULT_SCHEMA

/**
 * The engine's driver: one connection for all it does. Not a pool, because the advisory lock that keeps two migrations
 * apart and the search path belong to a session.
 */
export class Connection implements SqlDriverAdapter {
  readonly provider = 'postgres'
  readonly adapterName = 'schema-engine-pg'
  readonly #client: pg.Client
  readonly #url: URL
  readonly #afterwards: () => Promise<void>
  #closing: Promise<void> | undefined
  /** Why the last script failed, if it did. */
  scriptFailure: ScriptFailure | undefined

  private constructor(client: pg.Client, url: URL, afterwards: () => Promise<void>) {
    this.#client = client
    this.#url = url
    this.#afterwards = afterwards
  }

  /**
   * @param afterwards what to do once it is closed
   * @throws {KnownError} P1000, P1001, P1003, P1010 or P1011
   */
  static async open(url: URL, afterwards = async () => {}): Promise<Connection> {
    const client = new pg.Client({
      connectionString: url.href,
      connectionTimeoutMillis: Number(url.searchParams.get('connect_timeout') ?? DEFAULT_CONNECT_TIMEOUT) * 1000,
      types: { getTypeParser: () => (text: string) => text },
    })
    // A connection lost while idle is reported by the next query.
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query(`SET search_path TO ${pg.escapeIdentifier(schemaOf(url))}`)
    } catch (error) {
      await client.end().catch(() => {})
      throw connectionError(error, url)
    }
    return new Connection(client, url, afterwards)
  }

  /** For statements of our own: throws what pg throws. */
  async execute(sql: string): Promise<void> {
    await this.#client.query(sql)
  }

  async queryRaw({ sql, args }: SqlQuery): Promise<SqlResultSet> {
    const { fields, rows } = await this.#query(sql, args)
    const columns = fields.map(({ dataTypeID }) => columnOf(dataTypeID))
    return {
      columnNames: fields.map(({ name }) => name),
      columnTypes: columns.map(({ type }) => type),
      rows: rows.map((row) => columns.map(({ parse }, i) => (row[i] == null ? null : parse(row[i])))),
    }
  }

  async executeRaw({ sql, args }: SqlQuery): Promise<number> {
    if (sql === TAKE_LOCK) return this.#takeLock()
    return (await this.#query(sql, args)).rowCount ?? 0
  }

  /**
   * Runs a migration. Sent whole, as one simple query, like the native engine does: the server finds the statements, so
   * function bodies survive, and several statements without a BEGIN of their own are one transaction.
   */
  async executeScript(script: string): Promise<void> {
    try {
      await this.#client.query(script)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw driverError(error)
      this.scriptFailure = describeScriptError(error, script)
      // Without the SQLSTATE: for some the engine has a message of its own, and that is what it would keep in its journal.
      const { severity, text } = this.scriptFailure
      const rest = { detail: undefined, column: undefined, hint: undefined }
      throw new DriverAdapterError({ kind: 'postgres', code: 'N/A', severity, message: text, ...rest })
    }
  }

  async startTransaction(): Promise<Transaction> {
    await this.#query('BEGIN', [])
    // The engine sends COMMIT and ROLLBACK itself.
    return {
      provider: this.provider,
      adapterName: this.adapterName,
      options: { usePhantomQuery: false },
      queryRaw: (query) => this.queryRaw(query),
      executeRaw: (query) => this.executeRaw(query),
      commit: async () => {},
      rollback: async () => {},
    }
  }

  getConnectionInfo(): ConnectionInfo {
    return { schemaName: schemaOf(this.#url), supportsRelationJoins: true }
  }

  dispose(): Promise<void> {
    this.#closing ??= this.#client.end().then(this.#afterwards)
    return this.#closing
  }

  /**
   * Asks for the lock again and again, because whoever waits for it inside a statement is itself waited for by the
   * CREATE INDEX CONCURRENTLY of whoever holds it, and PostgreSQL ends one of the two as deadlocked.
   */
  async #takeLock(): Promise<number> {
    // The engine cannot see the environment.
    if (process.env['PRISMA_SCHEMA_DISABLE_ADVISORY_LOCK']) return 0
    const deadline = performance.now() + LOCK_TIMEOUT_MS
    for (;;) {
      const { rows } = await this.#query(TRY_LOCK, [])
      if (rows[0]?.[0] === 't') return 1
      // By now the engine has stopped waiting, and said so.
      if (performance.now() > deadline) throw new DriverAdapterError({ kind: 'SocketTimeout' })
      await sleep(LOCK_POLL_MS)
    }
  }

  async #query(text: string, values: unknown[]): Promise<pg.QueryArrayResult<(string | null)[]>> {
    try {
      return await this.#client.query<(string | null)[]>({ text, values, rowMode: 'array' })
    } catch (error) {
      throw driverError(error)
    }
  }
}
