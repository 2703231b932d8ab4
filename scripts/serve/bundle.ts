import { build } from 'esbuild'

/** CommonJS packages inside an ES module ask for Node's own modules by `require`. */
const REQUIRE = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`

/** Writes the production server as one file, `serve.mjs`, that needs nothing but a runtime: no `node_modules`. */
export async function bundleServer(outdir: string): Promise<void> {
  await build({
    entryPoints: ['scripts/serve.ts'],
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    minifySyntax: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    banner: { js: REQUIRE },
    external: ['pg-native'],
    logLevel: 'warning',
  })
}
