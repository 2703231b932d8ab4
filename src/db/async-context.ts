/** A value that everything called from a function sees, across awaits. */
export interface AsyncContext<T> {
  run<R>(value: T, work: () => R): R
  getStore(): T | undefined
}

/**
 * Makes one from AsyncLocalStorage, where the runtime has it: Node, Deno, Bun, and workerd with `nodejs_compat`. It is
 * asked for at run time, because an import would keep the others from loading this file.
 */
export function createAsyncContext<T>(): AsyncContext<T> | undefined {
  // A cast, because not every runtime has a `process`.
  const { process } = globalThis as { process?: Partial<Pick<NodeJS.Process, 'getBuiltinModule'>> }
  const hooks = process?.getBuiltinModule?.('node:async_hooks')
  return hooks === undefined ? undefined : new hooks.AsyncLocalStorage<T>()
}
