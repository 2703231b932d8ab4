import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** One way to run the application. Its program comes from an npm package, when it is needed, at this version. */
export interface Runtime {
  name: string
  package: string
  program: string
  /** Started in the folder of the bundles. */
  serve(port: number): string[]
  /** Evaluates an expression and prints what comes of it; workerd cannot. */
  evaluate?(expression: string): string[]
  /** A file of tests that it cannot pass, and why: told with its result. */
  without?: { file: string; reason: string }
}

const node = (version: string): Runtime => ({
  name: 'Node.js',
  package: `node@${version}`,
  program: 'node',
  serve: () => ['serve.mjs'],
  evaluate: (expression) => ['-p', expression],
})

export const runtimes: readonly Runtime[] = [
  node('20.20.2'),
  node('22.23.3'),
  node('24.21.0'),
  {
    name: 'Bun',
    package: 'bun@1.4.5',
    program: 'bun',
    serve: () => ['serve.mjs'],
    evaluate: (expression) => ['-p', expression],
  },
  {
    name: 'Deno',
    package: 'deno@2.9.6',
    program: 'deno',
    serve: () => ['run', '--allow-env', '--allow-net', '--allow-read', '--allow-sys', 'serve.mjs'],
    evaluate: (expression) => ['eval', '-p', expression],
  },
  {
    name: 'workerd',
    package: 'workerd@1.20260426.1',
    program: 'workerd',
    serve: (port) => ['serve', 'workerd.capnp', `--socket-addr=http=127.0.0.1:${port}`],
    without: {
      file: 'test/api/order-races.test.ts',
      reason: 'its 200 buyers at once would be 200 connections, and there is no pooler in front of this database',
    },
  },
]

const run = promisify(execFile)

export interface InstalledRuntime extends Runtime {
  path: string
  version: string
  /** Whether it has a WebSocket of its own. */
  webSocket: boolean
}

/**
 * Finds the runtime's program in npm's cache, downloading it first if it is not there.
 * @throws {Error} with npm's words if it cannot be had
 */
export async function install(runtime: Runtime): Promise<InstalledRuntime> {
  const { program, evaluate } = runtime
  const npm = ['exec', '--yes', `--package=${runtime.package}`, '--call', `command -v ${program}`]
  const path = (await run('npm', npm)).stdout.trim()
  const version = /\d+\.\d+\.\d+|\d{4}-\d\d-\d\d/.exec((await run(path, ['--version'])).stdout)?.[0] ?? 'unknown'
  const type = evaluate === undefined ? 'function' : (await run(path, evaluate('typeof WebSocket'))).stdout.trim()
  return { ...runtime, path, version, webSocket: type === 'function' }
}
