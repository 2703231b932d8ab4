// `npm run build:verify`: builds a copy of the checkout by Vercel's own CLI, runs what comes of it where there is no
// `node_modules`, and holds it to what is said of it. Exits with 1 if anything is not so.
import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { migrations } from '../src/migrations/generated/manifest.ts'
import { writeBuildOutput } from './build/build-output.ts'
import { inspectFunction } from './build-verify/artefact.ts'
import { bundleProgram, measureColdStart } from './build-verify/cold-start.ts'
import { startDeployment } from './build-verify/deployment.ts'
import { checkDisconnect, checkMaintenance } from './build-verify/doors.ts'
import { buildWithVercel } from './build-verify/vercel-build.ts'
import { runTests } from './runtimes/black-box.ts'
import { install, runtimes } from './runtimes/runtime.ts'
import { type Place, prepareTestBed } from './runtimes/test-bed.ts'

/** Our function's start, import and first query, in those of one that has only the driver. */
const MAX_COLD_START_RATIO = 2

const problems: string[] = []
const startedAt = performance.now()

function report(line: string, found: string[] = []): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${line}`)
  for (const problem of found) console.error(`        WRONG: ${problem}`)
  problems.push(...found)
}

const testBed = await prepareTestBed()
try {
  const { folder } = testBed
  const place = await testBed.createPlace()

  const here = join(folder, 'here')
  await writeBuildOutput(here, 'websocket')
  const migrated = Object.assign(new URL(place.databaseUrl), { pathname: 'deployed' }).href
  const output = await buildWithVercel(folder, { DATABASE_URL: migrated, DATABASE_URL_UNPOOLED: migrated })
  report('built by vercel build --prod, from a copy', await checkMigrations(migrated))

  report('byte for byte what is built here', await differences(join(output, 'functions'), join(here, 'functions')))

  for (const name of await readdir(join(output, 'functions'))) {
    const { gzippedBytes, packages, problems } = await inspectFunction(join(output, 'functions', name), 'websocket')
    report(`${name}: ${(gzippedBytes / 1e6).toFixed(2)} MB gzipped, of ${packages.join(', ')}`, problems)
  }

  const node24 = runtimes.find((runtime) => runtime.package.startsWith('node@24.'))
  if (node24 === undefined) throw new Error('There is no Node 24 among the runtimes, and the functions ask for it.')
  const { path: node, version } = await install(node24)
  await checkBehaviour(output, place, node, version)

  await checkColdStart(join(output, 'functions/api.func/index.mjs'), node)
} finally {
  await testBed.close()
}
if (problems.length > 0) process.exitCode = 1

/** The functions as Vercel would run them, each alone. */
async function checkBehaviour(output: string, place: Place, node: string, version: string): Promise<void> {
  const launcher = join(testBed.folder, 'launcher.mjs')
  await bundleProgram('scripts/build-verify/launcher.ts', launcher)
  const cronSecret = randomBytes(32).toString('base64url')
  const environment = { ...place.environment, CRON_SECRET: cronSecret, LOG_LEVEL: 'warn' }
  const deployment = await startDeployment({ output, launcher, node, environment })
  try {
    const { url } = deployment
    const { passed, failed } = await runTests(url, place, join(testBed.folder, 'report.json'))
    const none = passed === 0 ? ['no test ran'] : []
    report(`black-box tests on Node ${version}: ${passed} passed, ${failed.length} failed`, [...failed, ...none])
    report('client disconnects in the middle of an order', await checkDisconnect(url, place.databaseUrl))
    report('cron door', await checkMaintenance(url, place.databaseUrl, cronSecret))
  } catch (error) {
    console.error(deployment.output().slice(-5000))
    throw error
  } finally {
    await deployment.stop()
  }
}

/** On a busy machine the longer of two programs loses more, so a measurement that is too high is repeated. */
async function checkColdStart(handler: string, node: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { environment, databaseUrl } = await testBed.createPlace()
    const start = await measureColdStart({ handler, folder: testBed.folder, node, databaseUrl, environment })
    const { ours, rawDriver, ratio } = start
    const line = `cold start: ${ours.toFixed(0)} ms, ${ratio.toFixed(2)} times the raw driver's ${rawDriver.toFixed(0)} ms`
    if (ratio <= MAX_COLD_START_RATIO) return report(line)
    if (attempt === 3) return report(line, [`more than ${MAX_COLD_START_RATIO.toFixed(1)} times`])
    report(line)
  }
}

async function checkMigrations(url: string): Promise<string[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client
    .query('SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL ORDER BY migration_name')
    .finally(() => client.end())
  const applied = rows.map((row) => row.migration_name).join()
  return applied === migrations.map(({ name }) => name).join() ? [] : [`the deployment applied ${applied || 'nothing'}`]
}

/** Files that are not the same, byte for byte, in both folders. */
async function differences(left: string, right: string): Promise<string[]> {
  const read = async (folder: string) => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const names = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    return new Map(
      await Promise.all(names.map(async (name) => [name.slice(folder.length), await readFile(name)] as const)),
    )
  }
  const [ours, theirs] = await Promise.all([read(left), read(right)])
  const names = new Set([...ours.keys(), ...theirs.keys()])
  return [...names].filter((name) => {
    const [a, b] = [ours.get(name), theirs.get(name)]
    return a === undefined || b === undefined || !a.equals(b)
  })
}
