import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as glue from '@prisma/schema-engine-wasm/schema_engine_bg'
import { messageOf } from './errors.ts'

/** What is used of it here: its types come with a browser's only. */
declare const WebAssembly: {
  instantiate(binary: Uint8Array, imports: Record<string, object>): Promise<{ instance: { exports: Exports } }>
}

interface Exports {
  __wbindgen_start(): void
}

/** What the package's types leave out of its generated glue. */
interface Glue {
  __wbg_set_wasm(exports: Exports): void
}

declare global {
  // Where the engine leaves the message of a panic.
  var PRISMA_WASM_PANIC_REGISTRY: { set_message(message: string): void } | undefined
}

/** The engine has ended, in a way that no call may follow. */
export class EnginePanic extends Error {
  override readonly name = 'EnginePanic'
}

export interface LoadedEngine {
  SchemaEngine: typeof glue.SchemaEngine
  /** The commit of prisma-engines that it was built from. */
  commit: string
  /** Waits for a call to the engine; one that panics would never end by itself. */
  guard<T>(call: Promise<T>): Promise<T>
}

/** Loads the engine by hand: the entry point of its package imports the .wasm file as a module, which Node 20 cannot do. */
export async function loadEngine(): Promise<LoadedEngine> {
  let panic: string | undefined
  globalThis.PRISMA_WASM_PANIC_REGISTRY = {
    set_message(message) {
      panic = message
    },
  }
  const entryPoint = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm')
  const binary = readFileSync(entryPoint.replace(/\.js$/, '_bg.wasm'))
  const { instance } = await WebAssembly.instantiate(binary, { './schema_engine_bg.js': glue })
  // The function is there; only the package's types do not say so.
  ;(glue as unknown as Glue).__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()

  // A panic in the engine's asynchronous part is thrown out of a microtask of its own, past whoever waits for the call.
  const uncaught = once(process, 'uncaughtException').then(([error]) => {
    throw new EnginePanic(panic ?? messageOf(error))
  })
  const guard = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await Promise.race([call, uncaught])
    } catch (error) {
      throw panic === undefined ? error : new EnginePanic(panic)
    }
  }
  return { SchemaEngine: glue.SchemaEngine, commit: glue.version(), guard }
}
