import { readFile, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Plugin } from 'esbuild'

export interface WorkerBundle {
  /** Names of the files in `outdir`. */
  module: string
  wasm: string
  /** Of both, `gzip -9`, as hosts count it. */
  gzippedBytes: number
}

const MODULE = 'worker.mjs'
const WASM = 'query-compiler.wasm'

/** Writes the application for workerd: one module, and beside it the query compiler as WebAssembly. */
export async function bundleWorker(outdir: string): Promise<WorkerBundle> {
  let compiler: string | undefined
  await build({
    entryPoints: ['scripts/runtimes/worker.ts'],
    outfile: join(outdir, MODULE),
    bundle: true,
    platform: 'browser',
    conditions: ['workerd', 'worker'],
    target: 'es2024',
    format: 'esm',
    minify: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    plugins: [
      edgeModules((path) => {
        compiler = path
      }),
    ],
    logLevel: 'warning',
  })
  if (compiler === undefined) throw new Error('The bundle does not ask for the query compiler.')
  const wasm = await readFile(compiler)
  await writeFile(join(outdir, WASM), wasm)
  const module = await readFile(join(outdir, MODULE))
  const gzippedBytes = [module, wasm].reduce((sum, bytes) => sum + gzipSync(bytes, { level: 9 }).length, 0)
  return { module: MODULE, wasm: WASM, gzippedBytes }
}

/** What is different here, all of it: the generated client, and neither of the two ways to a TCP socket. */
function edgeModules(onCompiler: (path: string) => void): Plugin {
  return {
    name: 'edge-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\/generated\/client\.ts$/ }, () => ({ path: resolve('src/db/edge/generated/client.ts') }))
      onResolve({ filter: /\.wasm\?module$/ }, ({ path, resolveDir }) => {
        onCompiler(join(resolveDir, path.replace('?module', '')))
        return { path: `./${WASM}`, external: true }
      })
      onResolve({ filter: /^ws$|\/transport-tcp\.ts$/ }, ({ path }) => ({ path: basename(path), namespace: 'absent' }))
      onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
        contents: `throw new Error(${JSON.stringify(`${path} is not part of this build.`)})`,
      }))
    },
  }
}
