import { createAsyncContext } from './async-context.ts'
import type { Database, DatabaseHandle } from './database.ts'
import { DatabaseError, toDatabaseError } from './errors.ts'
import type { Prisma } from './generated/client.ts'
import { type Statement, trackStatements } from './tracked-handle.ts'

declare const insideTransaction: unique symbol

/** The handle inside a transaction: what runs on it is committed or rolled back together. */
export type Transaction = DatabaseHandle & { readonly [insideTransaction]: true }

const scopes = new WeakMap<object, TransactionScope>()
const current = createAsyncContext<TransactionScope | undefined>()

/**
 * One level of a transaction: the whole of it, or a savepoint in it. It knows which statements were made on its handle
 * and how they went, and refuses what would be committed, or lost, without anyone noticing.
 */
export class TransactionScope {
  readonly handle: Transaction
  readonly client: Prisma.TransactionClient
  readonly database: Database
  /** What to do once all of this is committed. */
  readonly effects: (() => unknown)[] = []
  readonly #parent: TransactionScope | undefined
  readonly #unsettled = new Set<Statement>()
  #nested: Promise<unknown> | undefined
  #failure: DatabaseError | undefined
  #ended: DatabaseError | undefined

  constructor(client: Prisma.TransactionClient, database: Database, parent?: TransactionScope) {
    this.client = client
    this.database = database
    this.#parent = parent
    // A cast, because the brand is for the compiler alone.
    this.handle = trackStatements(client, this) as Transaction
    scopes.set(this.handle, this)
  }

  /** The scope of a handle that `transaction` has made. */
  static of(handle: Database | DatabaseHandle): TransactionScope | undefined {
    return scopes.get(handle)
  }

  /**
   * Runs the work, then sees to it that nothing was left behind.
   * @throws {DatabaseError} `misuse`, naming the mistake
   */
  async run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    try {
      // `async`, so that what the work returns is awaited in there too: a Prisma statement runs when it is awaited.
      const result = await inContext(this, async () => work(this.handle))
      const forgotten = this.#forgotten()
      if (forgotten !== undefined) throw misuse(forgotten)
      const ended = this.#endedHereOrAbove()
      if (ended !== undefined) throw ended
      if (this.#failure !== undefined) throw misuse(SWALLOWED, this.#failure)
      return result
    } finally {
      this.end(misuse('The transaction has ended: its handle cannot be used any more'))
      await this.#settle()
    }
  }

  /** Refuses everything from here on, on this handle and those inside it. The first reason stays, and is returned. */
  end(reason: DatabaseError): DatabaseError {
    this.#ended ??= reason
    return this.#ended
  }

  /** Runs a nested transaction, which must be the only thing that runs in this one until it ends. */
  async nest<T>(run: () => Promise<T>): Promise<T> {
    const refusal = this.refusal()
    if (refusal !== undefined) throw refusal
    const nested = withoutContext(run)
    this.#nested = nested.catch(() => {})
    try {
      return await nested
    } finally {
      this.#nested = undefined
    }
  }

  made(statement: Statement): void {
    this.#unsettled.add(statement)
  }

  settled(statement: Statement): void {
    this.#unsettled.delete(statement)
  }

  /** Starts a statement, unless it would run where nobody expects it. */
  start<T>(statement: Statement, run: () => PromiseLike<T>): Promise<T> {
    const refusal = this.refusal()
    if (refusal !== undefined) {
      this.settled(statement)
      return Promise.reject(refusal)
    }
    return withoutContext(async () => {
      try {
        return await run()
      } catch (error) {
        const failure = toDatabaseError(error)
        // These two are found out before anything is sent, or from what the server has answered: it has no complaint.
        if (failure.kind !== 'not_found' && failure.kind !== 'misuse') this.#failure ??= failure
        throw failure
      } finally {
        this.settled(statement)
      }
    })
  }

  /** Why nothing may be run on this handle now. */
  refusal(): DatabaseError | undefined {
    const ended = this.#endedHereOrAbove()
    if (ended !== undefined) return ended
    if (this.#nested !== undefined) return misuse(NESTED_IS_OPEN)
    if (this.#failure !== undefined) return misuse(AFTER_FAILURE, this.#failure)
    return undefined
  }

  /** Whether the caller runs inside a transaction of this database that is still open. */
  static surrounds(database: Database): boolean {
    const scope = current?.getStore()
    return scope !== undefined && scope.database === database && scope.#endedHereOrAbove() === undefined
  }

  #endedHereOrAbove(): DatabaseError | undefined {
    if (this.#ended !== undefined || this.#parent === undefined) return this.#ended
    return this.#parent.#endedHereOrAbove()
  }

  #forgotten(): string | undefined {
    if (this.#nested !== undefined) return 'A nested transaction was not awaited'
    for (const statement of this.#unsettled) {
      return statement.running !== undefined
        ? 'A statement was not awaited'
        : 'A statement was made but never awaited, so it never ran'
    }
    return undefined
  }

  /** Waits for what is under way, so that it ends before the transaction does. */
  async #settle(): Promise<void> {
    await this.#nested
    await Promise.allSettled(Array.from(this.#unsettled, (statement) => statement.running))
  }
}

/**
 * What to say to a caller who uses the database itself while inside a transaction on it: the statement would wait for
 * another connection, and its changes would survive the rollback. Found out wherever the runtime has AsyncLocalStorage.
 */
export function refuseOutsideTransaction(database: Database): DatabaseError | undefined {
  return TransactionScope.surrounds(database) ? misuse(OUTER_CLIENT) : undefined
}

export const misuse = (message: string, cause?: unknown) => new DatabaseError('misuse', message, { cause })

const OUTER_CLIENT = 'The database was used inside a transaction: use the handle that the transaction gave you'
const NESTED_IS_OPEN =
  'A nested transaction is open: use its handle until it ends, and run nested transactions one after another'
const SWALLOWED = 'The error of a statement was ignored: PostgreSQL has given up the transaction, so it was rolled back'
const AFTER_FAILURE =
  'A statement failed before, and PostgreSQL runs nothing more in this transaction: let the error through, or run what may fail in a nested transaction'

function inContext<T>(scope: TransactionScope, work: () => T): T {
  return current === undefined ? work() : current.run(scope, work)
}

function withoutContext<T>(work: () => T): T {
  return current === undefined ? work() : current.run(undefined, work)
}
