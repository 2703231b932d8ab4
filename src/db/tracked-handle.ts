import type { DatabaseHandle } from './database.ts'
import { DatabaseError } from './errors.ts'
import type { TransactionScope } from './transaction-scope.ts'

/** A call on a handle. Prisma runs it when it is first awaited, and never if it never is. */
export interface Statement {
  running: Promise<unknown> | undefined
}

/** The same handle, with every call on it made known to the scope. */
export function trackStatements(client: DatabaseHandle, scope: TransactionScope): DatabaseHandle {
  const delegates = new Map<string, object>()
  return new Proxy(client, {
    get(target, name) {
      const value = trackedMember(target, name, scope)
      // What has an underscore is Prisma's own; what is left are models.
      if (typeof name === 'symbol' || name.startsWith('_') || typeof value !== 'object' || value === null) return value
      const delegate =
        delegates.get(name) ?? new Proxy(value, { get: (model, key) => trackedMember(model, key, scope) })
      delegates.set(name, delegate)
      return delegate
    },
  })
}

function trackedMember(target: object, name: string | symbol, scope: TransactionScope): unknown {
  const value: unknown = Reflect.get(target, name)
  if (typeof value !== 'function' || typeof name === 'symbol' || name.startsWith('_')) return value
  return (...args: unknown[]) => trackStatement(Reflect.apply(value, target, args), scope)
}

function trackStatement(promise: unknown, scope: TransactionScope): unknown {
  if (!isThenable(promise)) return promise
  const statement: Statement = { running: undefined }
  scope.made(statement)
  const run = (): Promise<unknown> => {
    statement.running ??= scope.start(statement, () => promise)
    return statement.running
  }
  return new Proxy(promise, {
    get(target, name) {
      if (name === 'then') return (...handlers: Parameters<Promise<unknown>['then']>) => run().then(...handlers)
      if (name === 'catch') return (handler: (error: unknown) => unknown) => run().catch(handler)
      if (name === 'finally') return (handler: () => void) => run().finally(handler)
      if (name === 'requestTransaction') throw new DatabaseError('misuse', GIVEN_AWAY)
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      // Relations, as in `findUnique(...).orders()`: statements of their own, in place of this one.
      return (...args: unknown[]) => {
        scope.settled(statement)
        return trackStatement(Reflect.apply(value, target, args), scope)
      }
    },
  })
}

const GIVEN_AWAY = 'A statement made on the handle of a transaction was given to executeInTransaction'

function isThenable(value: unknown): value is PromiseLike<unknown> & object {
  return typeof value === 'object' && value !== null && 'then' in value
}
