import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { BUNDLE, bundleFunction, type Transport } from './bundle.ts'

/** The functions, each with the longest that a request to it may take, in seconds. */
const functions = {
  api: { entryPoint: 'functions/api.ts', maxDuration: 30 },
  maintenance: { entryPoint: 'functions/maintenance.ts', maxDuration: 60 },
}

/** When Vercel calls the cron door, in UTC. More often than once a day needs a paid plan. */
const cron = { path: '/cron/maintenance', schedule: '17 3 * * *' }

const routing = {
  version: 3,
  routes: [
    { src: `^${cron.path}$`, dest: '/maintenance' },
    { src: '^.*$', dest: '/api' },
  ],
  crons: [cron],
}

/** What this build takes from `vercel.json`: whoever names a region there means the functions. */
const settingsSchema = z.object({ regions: z.array(z.string()).optional() })

/**
 * Writes what Vercel deploys: the functions, each bundled, and how they are reached.
 * @see https://vercel.com/docs/build-output-api
 */
export async function writeBuildOutput(directory: string, transport: Transport): Promise<void> {
  const { regions } = settingsSchema.parse(JSON.parse(await readFile('vercel.json', 'utf8')))
  await rm(directory, { recursive: true, force: true })
  for (const [name, { entryPoint, maxDuration }] of Object.entries(functions)) {
    const outdir = join(directory, 'functions', `${name}.func`)
    await mkdir(outdir, { recursive: true })
    await bundleFunction({ entryPoint, outdir, transport })
    await writeJson(join(outdir, '.vc-config.json'), {
      runtime: 'nodejs24.x',
      handler: BUNDLE,
      launcherType: 'Nodejs',
      shouldAddHelpers: false,
      shouldAddSourcemapSupport: true,
      supportsResponseStreaming: true,
      maxDuration,
      regions,
    })
  }
  await writeJson(join(directory, 'config.json'), routing)
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`)
}
