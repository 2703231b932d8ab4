// `npm run dev`: the whole system on this machine, until Ctrl-C.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Config } from '../src/config.ts'
import type { Database } from '../src/db/database.ts'
import { readManifest } from '../src/migrations/folder.ts'
import { compareWithJournal } from '../src/migrations/journal.ts'
import type { MigrationManifest } from '../src/migrations/manifest.ts'
import { boot } from '../src/runtime.ts'
import { seed } from '../src/seed.ts'
import { startLocalDatabase } from './local/database.ts'
import { listen } from './local/http-server.ts'
import { migrate } from './local/migrate.ts'

/** How long requests under way may take to finish once we are asked to stop. */
const DRAIN_MS = 3000

/** After this long the process ends whatever is not closed yet; PostgreSQL then stops by itself. */
const STOP_MS = 15_000

const say = (line: string) => console.log(line)
const stopping = new AbortController()
/** Run last to first on the way out. */
const cleanUps: (() => Promise<unknown>)[] = []

stopWhenAsked()
const starting = start()
try {
  await starting
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(messageOf(error))
    await stop(1)
  }
}

async function start(): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile()
  const directory = process.env['LOCAL_DATA_DIR'] || '.data'
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    AUTH_SECRET: process.env['AUTH_SECRET'] || (await keptSecret(directory)),
  }
  const embedded = !environment['DATABASE_URL']
  if (embedded) {
    const local = await startLocalDatabase(directory, say)
    cleanUps.push(() => local.stop())
    Object.assign(environment, local.environment)
    await migrate(local.environment.DATABASE_URL, stopping.signal)
  }
  const manifest = await readManifest(fileURLToPath(new URL('../prisma/migrations', import.meta.url)))
  stopping.signal.throwIfAborted()
  const { config, database, app } = await boot(environment, manifest)
  cleanUps.push(() => database.close())
  if (embedded) await addDevelopmentData(database, config)
  else await sayWhatIsPending(database, manifest)

  const { fetch } = app
  const server = await listen({ fetch, host: config.host, port: config.port }, { orNext: !environment['PORT'] })
  const { port } = new URL(server.url)
  if (Number(port) !== config.port && config.port !== 0) say(`Port ${config.port} is taken, so this is on ${port}.`)
  cleanUps.push(() => server.drain(DRAIN_MS))
  const host = config.host === '127.0.0.1' ? 'localhost' : config.host
  say(`Ready: http://${host}:${port}`)
  say(
    embedded
      ? `Database: ${config.database.url} (through the Neon driver: NEON_WS_PROXY=${config.database.wsProxy})`
      : `Database: ${withoutPassword(config.database.url)}`,
  )
}

function withoutPassword(url: string): string {
  return Object.assign(new URL(url), { password: '' }).href
}

/**
 * Signs tokens that outlive a restart of this server.
 * @throws {Error} if the folder cannot be written to
 */
async function keptSecret(directory: string): Promise<string> {
  const path = join(directory, 'auth-secret')
  const kept = await readFile(path, 'utf8').catch(() => '')
  if (kept.length >= 32) return kept
  const secret = randomBytes(32).toString('base64url')
  try {
    await mkdir(directory, { recursive: true })
    await writeFile(path, secret, { mode: 0o600 })
  } catch (error) {
    throw new Error(`Cannot write to ${path} (${messageOf(error)}): set LOCAL_DATA_DIR to a folder of your own.`)
  }
  return secret
}

async function addDevelopmentData(database: Database, config: Config): Promise<void> {
  if (config.production) return
  const { users, products } = await seed(database, config)
  if (users + products > 0) say(`Added ${users} users and ${products} products.`)
}

async function sayWhatIsPending(database: Database, manifest: MigrationManifest): Promise<void> {
  try {
    const { pending, modified } = await database.probe((query) => compareWithJournal(query, manifest))
    if (pending.length > 0) say(`Pending migrations: ${pending.join(', ')}. Apply them with npm run db:up.`)
    if (modified.length > 0) say(`Changed since they were applied: ${modified.join(', ')}.`)
  } catch (error) {
    say(`The database does not answer yet: ${messageOf(error)}`)
  }
}

async function stop(exitCode: number): Promise<void> {
  if (stopping.signal.aborted) return
  stopping.abort()
  setTimeout(() => process.exit(1), STOP_MS)
  await Promise.race([starting.catch(() => {}), sleep(DRAIN_MS)])
  for (const cleanUp of cleanUps.reverse()) await cleanUp().catch((error) => console.error(messageOf(error)))
  process.exit(exitCode)
}

/** Ctrl-C, SIGTERM and a closed terminal all end this in good order; a second Ctrl-C does not wait for it. */
function stopWhenAsked(): void {
  let askedAt = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // npm passes on what the terminal has sent already, so one Ctrl-C arrives twice.
      if (askedAt > 0 && Date.now() - askedAt > 500) process.exit(130)
      askedAt ||= Date.now()
      void stop(0)
    })
  }
  // A closed terminal cannot be written to.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  // The shell between npm and this process may die of a signal without passing it on.
  const parent = process.ppid
  if (process.env['npm_lifecycle_event']) setInterval(() => process.ppid !== parent && void stop(0), 500).unref()
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
