import type { Connection } from './connection.ts'
import type { QueryInput, QueryResult } from './driver.ts'
import { DatabaseError, isForgottenPlan } from './errors.ts'
import type { Pool } from './pool.ts'
import type { TimeLimits } from './time-limits.ts'

const nothing = (command: string): QueryResult => ({ command, rowCount: null, fields: [], rows: [] })

/**
 * A connection lent to one transaction. `BEGIN` goes out with the transaction's first statement, so that n statements
 * cost n + 1 round trips and none cost nothing. It ends with its `COMMIT`, its `ROLLBACK` or its time limit.
 */
export class Lease {
  readonly #pool: Pool
  readonly #connection: Connection
  readonly #limits: TimeLimits
  readonly #endsAt: number
  readonly #timer: ReturnType<typeof setTimeout>
  #begin: string | undefined
  #begun = false
  #ended = false
  #released = false
  /** Settles when every statement so far is answered. */
  #line: Promise<unknown> = Promise.resolve()

  constructor(pool: Pool, connection: Connection, limits: TimeLimits, endsAt: number) {
    this.#pool = pool
    this.#connection = connection
    this.#limits = limits
    this.#endsAt = endsAt
    this.#timer = setTimeout(() => this.#expire(), endsAt - performance.now())
  }

  /**
   * @throws {DatabaseError} as the server refused, `timeout`, `unavailable`; on `COMMIT` also `not_committed` and
   * `ambiguous_commit`
   */
  async query(input: QueryInput, values?: unknown[]): Promise<QueryResult> {
    if (this.#ended) throw new DatabaseError('misuse', 'The transaction has ended')
    const { text } = input
    if (!this.#begun) {
      if (text === 'BEGIN') {
        this.#begin = text
        return nothing('BEGIN')
      }
      if (this.#begin !== undefined && /^SET TRANSACTION (ISOLATION LEVEL |READ ONLY$)/.test(text)) {
        this.#begin += text.slice('SET TRANSACTION'.length)
        return nothing('SET')
      }
    }
    if (text === 'COMMIT') return this.#inLine(() => this.#commit(input))
    if (text === 'ROLLBACK') return this.#rollback(input)
    return this.#inLine(() => this.#run({ ...input, ...(values && { values }) }))
  }

  /** Gives the connection back; one whose transaction is still open is not used again. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.#ended = true
    clearTimeout(this.#timer)
    this.#pool.release(this.#connection)
  }

  /** Prisma listens for errors between statements; here they come with the next statement. */
  on(): void {}
  removeListener(): void {}

  async #run(input: QueryInput): Promise<QueryResult> {
    if (this.#ended) throw this.#connection.broken ?? new DatabaseError('misuse', 'The transaction has ended')
    const connection = this.#connection
    const begin = this.#begun ? undefined : this.#begin
    this.#begun = true
    let result: QueryResult
    try {
      result = await connection.query(input, this.#timeLeft(), begin, begin !== undefined)
    } catch (error) {
      // If nothing but this statement has been asked for yet, the transaction can begin again.
      if (begin === undefined || !isForgottenPlan(error) || connection.broken !== undefined) throw error
      await connection.query({ text: 'ROLLBACK' }, this.#timeLeft(), undefined, false)
      result = await connection.query(input, this.#timeLeft(), begin, true)
    }
    if (connection.status === 'I') {
      this.#ended = true
      throw new DatabaseError('misuse', 'A statement ended the transaction it was run in')
    }
    return result
  }

  async #commit(input: QueryInput): Promise<QueryResult> {
    if (this.#ended) throw this.#connection.broken ?? new DatabaseError('misuse', 'The transaction has ended')
    this.#ended = true
    if (!this.#begun) return nothing('COMMIT')
    const connection = this.#connection
    const lostBefore = connection.broken
    if (lostBefore !== undefined) throw lostBefore
    let result: QueryResult
    try {
      result = await connection.query({ text: input.text }, this.#timeLeft(), undefined, false)
    } catch (error) {
      if (connection.broken === undefined) throw error
      const message = 'The connection was lost while committing: the transaction may or may not have been committed'
      throw new DatabaseError('ambiguous_commit', message, { cause: error })
    }
    if (result.command === 'COMMIT') return result
    const message = 'The transaction was rolled back at its end, because the error of a statement in it was ignored'
    throw new DatabaseError('not_committed', message)
  }

  /** Never fails: what cannot be rolled back politely is cut, and the server rolls back by itself. */
  async #rollback(input: QueryInput): Promise<QueryResult> {
    this.#ended = true
    const connection = this.#connection
    if (connection.busy) {
      connection.destroy(new DatabaseError('timeout', 'The transaction was rolled back while a statement was running'))
    } else if (this.#begun && connection.broken === undefined && connection.status !== 'I') {
      await connection.query({ text: input.text }, this.#timeLeft(), undefined, false).catch(() => {})
    }
    return nothing('ROLLBACK')
  }

  #inLine(work: () => Promise<QueryResult>): Promise<QueryResult> {
    const result = this.#line.then(work, work)
    this.#line = result.catch(() => {})
    return result
  }

  #timeLeft(): number {
    return Math.max(1, Math.min(this.#limits.replyMs, this.#endsAt - performance.now()))
  }

  #expire(): void {
    this.#connection.destroy(new DatabaseError('timeout', 'The transaction took too long'))
  }
}
