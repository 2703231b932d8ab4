import type { DatabaseConfig } from '../config.ts'
import { loadTransport, pooledAdapter, type Transport } from './adapter.ts'
import { Connection } from './connection.ts'
import { toDatabaseError } from './errors.ts'
import type { DatabaseEvent, DatabaseObserver } from './events.ts'
import { PrismaClient } from './generated/client.ts'
import { Pool, type PoolStatus } from './pool.ts'
import { PooledClient } from './pooled-client.ts'
import { SessionSettings } from './session-settings.ts'
import { type TimeLimits, timeLimits } from './time-limits.ts'
import { refuseOutsideTransaction } from './transaction-scope.ts'

export type { PoolStatus } from './pool.ts'

export interface PoolHealth {
  /** Connections in use, of all that may be open. */
  utilizationPercent: number
  /** Below 80 %. */
  healthy: boolean
}

/** Runs one statement, and gives its rows as lists of values. */
export type ProbeQuery = (text: string) => Promise<unknown[][]>

/** What a repository may be built on: the database's client, or the client inside a transaction. */
export type DatabaseHandle = Omit<
  PrismaClient,
  '$connect' | '$disconnect' | '$on' | '$use' | '$extends' | '$transaction'
>

/**
 * The connections of one instance, and the typed client over them. Everything the client does rejects with a
 * {@link DatabaseError} and within a bounded time.
 */
export class Database {
  readonly client: PrismaClient
  readonly limits: TimeLimits
  readonly #pool: Pool
  readonly #open: (timeoutMs: number) => Promise<Connection>
  readonly #observers = new Set<DatabaseObserver>()

  constructor(config: DatabaseConfig) {
    this.limits = timeLimits(config)
    const observe = (event: DatabaseEvent) => {
      for (const observer of this.#observers) observer(event)
    }
    // A failure is that of whoever needs the transport first, not one that nobody handles.
    const transport = this.#load(config)
    transport.catch(() => {})
    const settings = new SessionSettings(this.limits)
    const { poolSize: size, preparedStatements } = config
    this.#open = async (timeoutMs) => {
      const { driver } = await transport
      return Connection.open({ driver, limits: this.limits, settings, preparedStatements, observe }, timeoutMs)
    }
    this.#pool = new Pool({ ...config, ...this.limits, size, observe, open: this.#open })
    const { transactionMs } = this.limits
    const client = new PrismaClient({
      adapter: pooledAdapter(transport, new PooledClient(this.#pool, this.limits)),
      errorFormat: 'minimal',
      // The pool and the lease keep time themselves, and say more when it is up.
      transactionOptions: { maxWait: transactionMs + 1000, timeout: transactionMs + 1000 },
    }).$extends({
      query: {
        $allOperations: ({ args, query }) => {
          const refusal = refuseOutsideTransaction(this)
          return refusal === undefined ? query(args).catch(rethrow) : Promise.reject(refusal)
        },
      },
    })
    // An extension that changes no result leaves the client's type as it was, which TypeScript does not see.
    this.client = client as unknown as PrismaClient
  }

  /**
   * Opens a first connection.
   * @throws {DatabaseError} with the reason why there is none
   */
  async connect(): Promise<void> {
    await this.ping()
  }

  /**
   * Lets what is running end, refuses what is new, and closes every connection.
   * @param timeoutMs after which what is still running is cut off
   */
  async close(timeoutMs = this.limits.closeMs): Promise<void> {
    await this.#pool.close(timeoutMs)
    await this.client.$disconnect()
  }

  /**
   * One statement to the database and back, which takes `latencyMs` without the wait for a connection.
   * @throws {DatabaseError} within `timeoutMs`
   */
  ping(timeoutMs = this.limits.replyMs): Promise<{ latencyMs: number; timeZone: string }> {
    return this.probe(async (query) => {
      const started = performance.now()
      const [row] = await query(`SELECT current_setting('TimeZone')`)
      return { latencyMs: performance.now() - started, timeZone: String(row?.[0]) }
    }, timeoutMs)
  }

  /**
   * Looks at the database on one connection: of the pool, or beside it when all of the pool is in use, so that a full
   * pool keeps nobody from finding out how things are. For short reads: health checks, and what is done at start-up.
   * @throws {DatabaseError} within `timeoutMs`
   */
  async probe<T>(look: (query: ProbeQuery) => Promise<T>, timeoutMs = this.limits.replyMs): Promise<T> {
    const endsAt = performance.now() + timeoutMs
    const { checkedOut, size, maxOverflow } = this.#pool.status
    const full = checkedOut >= size + maxOverflow
    const connection = full ? await this.#open(timeoutMs) : await this.#pool.acquire(timeoutMs)
    try {
      return await look(async (text) => {
        const timeLeft = Math.max(1, endsAt - performance.now())
        return (await connection.query({ text, rowMode: 'array' }, timeLeft)).rows
      })
    } finally {
      if (full) await connection.end()
      else this.#pool.release(connection)
    }
  }

  poolStatus(): PoolStatus {
    return this.#pool.status
  }

  poolHealth(): PoolHealth {
    const { checkedOut, size, maxOverflow } = this.#pool.status
    const utilizationPercent = (checkedOut / (size + maxOverflow)) * 100
    return { utilizationPercent, healthy: utilizationPercent < 80 }
  }

  async #load(config: DatabaseConfig): Promise<Transport> {
    if (config.vercel) {
      const { attachDatabasePool } = await import('./vercel.ts')
      // Keeps an instance awake until its idle connections are closed: a suspended one runs no timers.
      attachDatabasePool({
        options: { idleTimeoutMillis: config.idleMs },
        on: (_event: 'release', listener: () => void) => this.observe(({ type }) => type === 'release' && listener()),
      })
    }
    return loadTransport(config)
  }

  /** Tells the observer of everything the pool does, until the returned function is called. */
  observe(observer: DatabaseObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }
}

function rethrow(error: unknown): never {
  throw toDatabaseError(error)
}
