import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { Client } from 'pg'
import { bundleFunction } from '../build/bundle.ts'

export interface ColdStart {
  /** Median milliseconds from nothing loaded to the first list answered. */
  ours: number
  rawDriver: number
  ratio: number
}

const RUNS = 11
const PATH = '/api/v1/products'

interface ColdStartOptions {
  /** The built function. */
  handler: string
  /** For what is built here to compare it with. */
  folder: string
  node: string
  databaseUrl: string
  environment: Record<string, string>
}

/** Measures the built function and the raw driver's, bundled the same way, by turns. */
export async function measureColdStart(options: ColdStartOptions): Promise<ColdStart> {
  const outdir = join(options.folder, 'raw-driver')
  await mkdir(outdir, { recursive: true })
  await bundleFunction({ entryPoint: 'scripts/build-verify/raw-driver.ts', outdir, transport: 'websocket' })
  const program = join(options.folder, 'measure-start.mjs')
  await bundleProgram('scripts/build-verify/measure-start.ts', program)
  const environment = {
    ...options.environment,
    DATABASE_URL: await withoutKeyDerivation(options.databaseUrl),
    LOG_LEVEL: 'error',
  }
  const start = async (handler: string) => {
    const { stdout } = await promisify(execFile)(options.node, [program, handler, PATH], { env: environment })
    return Number(stdout)
  }
  const ours: number[] = []
  const rawDriver: number[] = []
  for (let run = 0; run < RUNS; run++) {
    rawDriver.push(await start(join(outdir, 'index.mjs')))
    ours.push(await start(options.handler))
  }
  return { ours: median(ours), rawDriver: median(rawDriver), ratio: median(ours) / median(rawDriver) }
}

/** Bundles one of the programs here that run where there are no packages. */
export async function bundleProgram(entryPoint: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  })
}

/**
 * The URL of a user whose log-in costs next to nothing. Neon's proxy takes the password as it is, so no function there
 * derives a key from it; here the raw driver would spend more on that than on all the rest.
 */
async function withoutKeyDerivation(databaseUrl: string): Promise<string> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query(
    `SET scram_iterations = 1; DROP ROLE IF EXISTS cold_start; CREATE ROLE cold_start LOGIN SUPERUSER PASSWORD 'cold_start'`,
  )
  await client.end()
  return Object.assign(new URL(databaseUrl), { username: 'cold_start', password: 'cold_start' }).href
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
