import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { basename, join, resolve } from 'node:path'
import { build, type Plugin } from 'esbuild'

export type Transport = 'websocket' | 'tcp'

export interface BundleOptions {
  /** The module whose default export is the handler, relative to the checkout. */
  entryPoint: string
  outdir: string
  transport: Transport
}

export const BUNDLE = 'index.mjs'
const COMPILER = 'query-compiler.wasm'

/**
 * Writes one function as ES modules that need nothing but Node, with their source maps, and beside them the query compiler
 * as WebAssembly. The same sources and packages give the same bytes, wherever the checkout is.
 */
export async function bundleFunction({ entryPoint, outdir, transport }: BundleOptions): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: { index: resolve(entryPoint) },
    // Source maps lead back to the sources from where Vercel runs this, wherever it is written to.
    outdir: resolve('.vercel/output/functions/any.func'),
    outExtension: { '.js': '.mjs' },
    write: false,
    // Besides leaving for later what may never be needed: in one file, esbuild wraps whatever can also be reached by a
    // dynamic import into functions, and V8 reads those twice.
    splitting: true,
    chunkNames: 'chunk-[hash]',
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    minify: true,
    // When something is thrown, Node prints the line.
    lineLimit: 200,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    plugins: [webAssemblyClient(outdir), oneTransport(transport), builtinsWithoutRequire],
    logLevel: 'warning',
  })
  for (const { path, contents } of outputFiles) await writeFile(join(outdir, basename(path)), contents)
}

/**
 * Takes the client that is generated for WebAssembly as a file. The other one carries its compiler as text: half as big
 * again, and slower to load. The file is read and compiled in the background, from when the client's module is loaded.
 */
function webAssemblyClient(outdir: string): Plugin {
  return {
    name: 'webassembly-client',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\/generated\/client\.ts$/ }, () => ({ path: resolve('src/db/edge/generated/client.ts') }))
      onLoad({ filter: /\/edge\/generated\/internal\/class\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8')
        const compiler = /import\(("\.\/\w+\.wasm\?module")\)/.exec(text)?.[1]
        if (compiler === undefined) throw new Error(`${path} does not import its compiler as expected`)
        return { contents: `import ${compiler}\n${text}`, loader: 'ts' }
      })
      onResolve({ filter: /\.wasm\?module$/ }, async ({ path, resolveDir }) => {
        await copyFile(join(resolveDir, path.replace('?module', '')), join(outdir, COMPILER))
        return { path: COMPILER, namespace: 'webassembly' }
      })
      // The client awaits what it gets from here, so it may be a promise. Read at once: compiling goes on beside the rest
      // of the start, while an answer from the file system would come when all modules have been run.
      onLoad({ filter: /.*/, namespace: 'webassembly' }, ({ path }) => ({
        contents: `
          import { readFileSync } from 'node:fs'
          const compiled = WebAssembly.compile(readFileSync(new URL('./${path}', import.meta.url)))
          compiled.catch(() => {})
          export default compiled`,
      }))
    },
  }
}

/** Leaves the driver out that this build was not made for, and the optional parts of the other that are not installed. */
function oneTransport(transport: Transport): Plugin {
  const absent = transport === 'tcp' ? /\/transport-websocket\.ts$/ : /\/transport-tcp\.ts$/
  return {
    name: 'one-transport',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: absent }, ({ path }) => ({ path: basename(path, '.ts'), namespace: 'absent' }))
      onResolve({ filter: /^(pg-native|bufferutil|utf-8-validate)$/ }, ({ path }) => ({ path, namespace: 'absent' }))
      onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
        contents: `throw new Error('This build is for DATABASE_TRANSPORT=${transport}: ${path} is not part of it.')`,
      }))
    },
  }
}

/** CommonJS packages ask for Node's own modules by `require`, which an ES module does not have. */
const builtinsWithoutRequire: Plugin = {
  name: 'builtins-without-require',
  setup({ onResolve, onLoad }) {
    const builtins = new Set(builtinModules)
    onResolve({ filter: /^(node:)?[a-z_]+(\/[a-z]+)?$/ }, ({ path, kind }) => {
      const name = path.replace(/^node:/, '')
      if (kind !== 'require-call' || !builtins.has(name)) return undefined
      return { path: name, namespace: 'builtin' }
    })
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('${path}')`,
    }))
  },
}
