import type { Driver, DriverClient, QueryInput, QueryResult, TransactionStatus } from './driver.ts'
import { DatabaseError, isForgottenPlan, toDatabaseError } from './errors.ts'
import type { DatabaseObserver } from './events.ts'
import { Exchange } from './exchange.ts'
import { PreparedStatements } from './prepared-statements.ts'
import type { SessionSettings } from './session-settings.ts'
import type { Statement } from './statement.ts'
import type { TimeLimits } from './time-limits.ts'

export interface ConnectionOptions {
  driver: Driver
  limits: TimeLimits
  settings: SessionSettings
  preparedStatements: boolean
  observe: DatabaseObserver
}

/**
 * One connection to the server. It runs one statement at a time and answers each within its time limit; whatever goes
 * wrong on the way (a timeout, the socket, a message out of turn) breaks it for good.
 */
export class Connection {
  // Of the wall clock: a monotonic one stands still while a serverless instance is frozen.
  readonly openedAt = Date.now()
  idleSince = Date.now()
  /** Called once, when an idle connection breaks. */
  onIdleBreak: (() => void) | undefined
  /** Whether the last statement may have been carried out although nothing said so. */
  outcomeUnknown = false
  readonly #client: DriverClient
  readonly #options: ConnectionOptions
  #plans: PreparedStatements | undefined
  readonly #broke: Promise<never>
  #rejectBroke: (error: DatabaseError) => void = () => {}
  #broken: DatabaseError | undefined
  #exchange: Exchange | undefined
  #status: TransactionStatus = 'I'
  #prelude: readonly string[] = []

  private constructor(options: ConnectionOptions) {
    this.#options = options
    this.#broke = new Promise((_resolve, reject) => {
      this.#rejectBroke = reject
    })
    this.#broke.catch(() => {})
    this.#client = options.driver.createClient()
    this.#client.on('error', (error) => this.destroy(toLostConnection(error)))
    this.#client.on('end', () => this.destroy(new DatabaseError('unavailable', 'The connection was closed')))
    this.#client.connection.on('sslconnect', () => this.#guardStream())
    this.#guardStream()
  }

  /**
   * Connects, authenticates and puts the session's limits in place.
   * @throws {DatabaseError} `unavailable`, within `connectMs`
   */
  static async open(options: ConnectionOptions, timeoutMs: number): Promise<Connection> {
    const started = performance.now()
    const connection = new Connection(options)
    const timeout = new DatabaseError('unavailable', `No connection to the database within ${timeoutMs} ms`)
    const timer = setTimeout(() => connection.destroy(timeout), timeoutMs)
    try {
      await Promise.race([connection.#connect(timeoutMs), connection.#broke])
      if (options.preparedStatements) connection.#plans = new PreparedStatements()
    } catch (error) {
      const found = toDatabaseError(error)
      const { sqlState, message } = found
      // Whatever is wrong, there is no connection, and another time there may be.
      const reason = new DatabaseError('unavailable', message, { sqlState, cause: error })
      connection.destroy(reason)
      throw found.kind === 'unavailable' ? found : reason
    } finally {
      clearTimeout(timer)
    }
    options.observe({ type: 'connect', durationMs: performance.now() - started })
    return connection
  }

  get status(): TransactionStatus {
    return this.#status
  }

  /** Why nothing can be run here any more. */
  get broken(): DatabaseError | undefined {
    return this.#broken
  }

  get busy(): boolean {
    return this.#exchange !== undefined
  }

  /**
   * @param begin sent ahead in the same flush, e.g. `BEGIN`
   * @param startsTransaction whether the session's settings must go ahead too, if this session cannot keep them
   * @throws {DatabaseError} as the server refused, or `timeout` or `unavailable`, which break the connection
   */
  async query(input: QueryInput, timeoutMs: number, begin?: string, startsTransaction = true): Promise<QueryResult> {
    this.outcomeUnknown = false
    if (this.#broken !== undefined) throw this.#broken
    const { driver, observe } = this.#options
    const { text } = input
    const plan = this.#plans?.plan(text)
    const statement = new driver.Statement({
      input,
      prelude: [...(begin === undefined ? [] : [begin]), ...(startsTransaction ? this.#prelude : [])],
      closed: this.#plans?.takeEvicted() ?? [],
      plan,
      onAnswer: (error, result) => this.#onAnswer(error, result),
    })
    const exchange = new Exchange(statement, plan)
    this.#exchange = exchange
    const started = performance.now()
    const timer = setTimeout(() => {
      this.destroy(new DatabaseError('timeout', `No answer from the database within ${Math.round(timeoutMs)} ms`))
    }, timeoutMs)
    try {
      this.#send(statement)
      const result = await exchange.settled
      observe({ type: 'statement', text, durationMs: performance.now() - started, rows: result.rowCount ?? 0 })
      return result
    } catch (error) {
      observe({ type: 'statement', text, durationMs: performance.now() - started, rows: 0, error })
      throw error
    } finally {
      clearTimeout(timer)
      this.#exchange = undefined
    }
  }

  /** Whether the other side still answers. */
  async ping(timeoutMs: number): Promise<boolean> {
    try {
      await this.query({ text: 'SELECT 1' }, timeoutMs)
      return true
    } catch {
      return false
    }
  }

  /** Cuts the connection; what is running on it fails with the reason. */
  destroy(reason: DatabaseError): void {
    if (this.#broken !== undefined) return
    this.#broken = reason
    this.#options.driver.destroy(this.#client)
    const exchange = this.#exchange
    this.outcomeUnknown = exchange?.inDoubt ?? false
    this.#rejectBroke(exchange?.refusal ?? reason)
    exchange?.cut(reason)
    this.onIdleBreak?.()
  }

  /** Says goodbye to the server and closes; cut after a moment if the goodbye does not come through. */
  async end(): Promise<void> {
    if (this.#broken !== undefined) return
    this.#broken = new DatabaseError('unavailable', 'The connection is closed')
    let timer: ReturnType<typeof setTimeout> | undefined
    const goodbye = new Promise((resolve) => {
      timer = setTimeout(resolve, this.#options.limits.goodbyeMs)
    })
    await Promise.race([this.#client.end().catch(() => {}), goodbye])
    clearTimeout(timer)
    this.#options.driver.destroy(this.#client)
  }

  async #connect(timeoutMs: number): Promise<void> {
    const connected = this.#client.connect()
    // Only now: a driver that pipelines the log-in begins by removing all listeners of this event.
    this.#client.connection.on('readyForQuery', ({ status }) => this.#onReady(status))
    await connected
    const { settings } = this.#options
    for (;;) {
      // With a pipelined log-in the process id is not known yet when the first of these goes out.
      const known = this.#client.processID
      const { rows } = await this.query({ text: settings.verify, values: [known ?? 0], rowMode: 'array' }, timeoutMs)
      const [processId, applied] = rows[0] ?? []
      if (applied === true) return
      // Behind a pooler the server's session is not the client's: the settings travel with each transaction.
      if (known !== null || processId !== this.#client.processID) break
    }
    this.#prelude = [settings.local]
  }

  #send(statement: Statement): void {
    try {
      this.#client.query(statement)
    } catch (error) {
      // The driver has got stuck in the middle.
      this.destroy(toLostConnection(error))
    }
  }

  #onAnswer(error: unknown, result: QueryResult): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    const { plan, statement } = exchange
    const refusal = error ? toDatabaseError(error) : undefined
    if (refusal?.sqlState !== undefined) {
      // Whether the name was taken before the error came is not known.
      if (plan?.state === 'new') plan.state = 'doubtful'
      if (isForgottenPlan(refusal)) this.#onForgottenPlan()
      exchange.refuse(refusal)
    } else if (refusal === undefined && statement.completed) {
      if (plan !== undefined) plan.state = 'ready'
      exchange.answer(result)
    } else {
      this.destroy(new DatabaseError('unavailable', 'The answer of the database is not complete', { cause: error }))
    }
  }

  #onForgottenPlan(): void {
    // A pooler that hands out sessions without their statements will do it again.
    if (this.#prelude.length > 0) this.#plans = undefined
    else this.#plans?.distrust()
  }

  #onReady(status: TransactionStatus): void {
    this.#status = status
    const exchange = this.#exchange
    // The driver reports answers on this same event, before or after this listener.
    queueMicrotask(() => exchange?.settle())
  }

  /** A driver that trips over a message throws inside the socket's event, where nobody would catch it. */
  #guardStream(): void {
    const { stream } = this.#client.connection
    const emit = stream.emit
    stream.emit = (event, ...values) => {
      try {
        return emit.call(stream, event, ...values)
      } catch (error) {
        this.destroy(new DatabaseError('unavailable', 'The database spoke out of turn', { cause: error }))
        return true
      }
    }
  }
}

/** Anything that ends a connection makes it unavailable, unless the server itself said more. */
function toLostConnection(error: unknown): DatabaseError {
  const found = toDatabaseError(error)
  if (found.kind !== 'internal') return found
  return new DatabaseError('unavailable', found.message, { cause: error })
}
