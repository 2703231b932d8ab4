import type { Database } from './database.ts'
import { DatabaseError, toDatabaseError } from './errors.ts'
import type { Prisma } from './generated/client.ts'
import { repeatOnConflict } from './repeat-on-conflict.ts'
import { misuse, refuseOutsideTransaction, type Transaction, TransactionScope } from './transaction-scope.ts'

export type { Transaction } from './transaction-scope.ts'

export interface TransactionOptions {
  /** PostgreSQL's default, ReadCommitted, unless given. Not for nested transactions. */
  isolationLevel?: Prisma.TransactionIsolationLevel
  readOnly?: boolean
  /**
   * For everything: the wait for a connection, the work, its repetitions and COMMIT, in milliseconds. By default, and at
   * most, the database's `transactionMs`. Not for nested transactions.
   */
  timeoutMs?: number
  /** How often the work may be run in all when it collides with others; 5 by default. Not for nested transactions. */
  maxAttempts?: number
}

/**
 * Runs the work in a transaction: commits when it resolves, rolls back when it rejects. Given the handle of a
 * transaction, it nests as a savepoint, and the outer transaction lives on if the inner one fails.
 *
 * The work may be run more than once: after a serialization failure or a deadlock all of it is repeated, with a random
 * pause before. So it must do nothing that a rollback does not undo; that belongs into {@link afterCommit}.
 *
 * @throws whatever the work throws, and {@link DatabaseError}: `conflict` if the last attempt collided too; `timeout` if
 * time ran out before COMMIT was sent, with nothing committed; `ambiguous_commit` if the connection was lost after;
 * `misuse` if the work broke a rule, with nothing committed: it left a statement or a nested transaction un-awaited,
 * ignored the error of a statement, used the database instead of its handle, or a handle whose time was over
 */
export function transaction<T>(
  handle: Database | Transaction,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const scope = TransactionScope.of(handle)
  // A cast, because what has no scope is no transaction.
  return scope === undefined ? runOutermost(handle as Database, work, options) : runNested(scope, work, options)
}

/**
 * Runs statements made on the database's client, none of them awaited yet: all of them, or none. Repeats them if they
 * collide with others. One statement alone is sent without BEGIN and COMMIT, in one round trip.
 * @throws {DatabaseError}
 */
export async function executeInTransaction<T extends readonly Prisma.PrismaPromise<unknown>[]>(
  database: Database,
  ...operations: T
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const refusal = refuseOutsideTransaction(database)
  if (refusal !== undefined) throw refusal
  const endsAt = performance.now() + database.limits.transactionMs
  return repeatOnConflict({ maxAttempts: DEFAULT_ATTEMPTS, endsAt }, async () => {
    const results = await database.client.$transaction([...operations]).catch(rethrow)
    // A cast, because an array literal forgets that it was a tuple.
    return results as { -readonly [K in keyof T]: Awaited<T[K]> }
  })
}

/**
 * Runs a function once after the transaction was committed, and not at all if it, or the nested transaction it was asked
 * for in, was not. For what a rollback cannot undo. The caller of the transaction waits for it.
 */
export function afterCommit(tx: Transaction, run: () => unknown): void {
  const scope = TransactionScope.of(tx)
  const refusal = scope?.refusal()
  if (refusal !== undefined) throw refusal
  scope?.effects.push(run)
}

const DEFAULT_ATTEMPTS = 5

/** The share of the time that is kept for COMMIT: work that takes longer is rolled back. */
const COMMIT_SHARE = 0.1

interface Deadline {
  budgetMs: number
  /** By `performance.now()`. */
  endsAt: number
}

async function runOutermost<T>(
  database: Database,
  work: (tx: Transaction) => Promise<T>,
  { timeoutMs, maxAttempts = DEFAULT_ATTEMPTS, ...options }: TransactionOptions,
): Promise<T> {
  const refusal = refuseOutsideTransaction(database)
  if (refusal !== undefined) throw refusal
  const budgetMs = Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, database.limits.transactionMs)
  const endsAt = performance.now() + budgetMs
  const { result, effects } = await repeatOnConflict({ maxAttempts, endsAt }, () =>
    attempt(database, work, options, { budgetMs, endsAt }),
  )
  await runEffects(effects)
  return result
}

async function attempt<T>(
  database: Database,
  work: (tx: Transaction) => Promise<T>,
  { isolationLevel, readOnly = false }: TransactionOptions,
  { budgetMs, endsAt }: Deadline,
): Promise<{ result: T; effects: readonly (() => unknown)[] }> {
  const timeout = () =>
    new DatabaseError('timeout', `The transaction took longer than ${budgetMs} ms: it was rolled back`)
  let committing = false
  const run = async (client: Prisma.TransactionClient) => {
    if (performance.now() >= endsAt) throw timeout()
    const scope = new TransactionScope(client, database)
    const running = runWork(scope, work, readOnly)
    const result = await within(endsAt - budgetMs * COMMIT_SHARE, running, () => scope.end(timeout()))
    committing = true
    return { result, effects: scope.effects }
  }
  // Prisma's own timer stays behind ours, which knows whether COMMIT was sent.
  const limits = { maxWait: budgetMs, timeout: budgetMs + 1000, ...(isolationLevel && { isolationLevel }) }
  return within(endsAt, openTransaction(database.client, run, limits), () =>
    committing
      ? new DatabaseError('ambiguous_commit', `COMMIT was not answered within the ${budgetMs} ms of the transaction`)
      : timeout(),
  )
}

async function runNested<T>(
  parent: TransactionScope,
  work: (tx: Transaction) => Promise<T>,
  { readOnly = false, ...others }: TransactionOptions,
): Promise<T> {
  const [refused] = Object.keys(others)
  if (refused !== undefined) throw misuse(`A nested transaction cannot have its own ${refused}: it is the outer one's`)
  const run = async (client: Prisma.TransactionClient) => {
    const scope = new TransactionScope(client, parent.database, parent)
    return { result: await runWork(scope, work, readOnly), effects: scope.effects }
  }
  const { result, effects } = await parent.nest(() => openTransaction(parent.client, run))
  parent.effects.push(...effects)
  return result
}

async function runWork<T>(
  scope: TransactionScope,
  work: (tx: Transaction) => Promise<T>,
  readOnly: boolean,
): Promise<T> {
  if (readOnly) await scope.client.$executeRaw`SET TRANSACTION READ ONLY`
  return scope.run(work)
}

/** Lets the errors of the work through as they are, and translates Prisma's. */
async function openTransaction<T>(
  client: Pick<Prisma.TransactionClient, '$transaction'>,
  run: (client: Prisma.TransactionClient) => Promise<T>,
  limits: { maxWait?: number; timeout?: number; isolationLevel?: Prisma.TransactionIsolationLevel } = {},
): Promise<T> {
  const thrownByWork = new Set<unknown>()
  const runNoting = (tx: Prisma.TransactionClient) =>
    run(tx).catch((error: unknown) => {
      thrownByWork.add(error)
      throw error
    })
  return client
    .$transaction(runNoting, limits)
    .catch((error: unknown) => (thrownByWork.has(error) ? Promise.reject(error) : rethrow(error)))
}

async function runEffects(effects: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = []
  for (const run of effects) {
    try {
      await run()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length === 0) return
  const message = 'The transaction was committed, but what was to be done after it failed'
  throw new DatabaseError('internal', message, { cause: new AggregateError(errors, message) })
}

/** Rejects at the given time, by `performance.now()`, if the promise has not settled by then. */
async function within<T>(endsAt: number, promise: Promise<T>, expire: () => DatabaseError): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const expiry = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(expire()), Math.max(0, endsAt - performance.now()))
  })
  try {
    return await Promise.race([promise, expiry])
  } finally {
    clearTimeout(timer)
  }
}

function rethrow(error: unknown): never {
  throw toDatabaseError(error)
}
