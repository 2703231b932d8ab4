// `npm run db:seed`: the development users and products, or with counts a whole shop's data in bulk.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Environment, readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { toDatabaseError } from '../src/db/errors.ts'
import { BULK_PASSWORD, type BulkProgress, seedBulk } from '../src/seed/bulk.ts'
import { type BulkCounts, MAX_COUNTS } from '../src/seed/shop.ts'
import { seed } from '../src/seed.ts'
import { mayBeProduction, resolveDirectUrl } from './database-url.ts'
import { formatClock, formatCount, Progress } from './progress.ts'

const USAGE = `npm run db:seed [-- --users N --products N --orders N]

Adds the development users and products that are missing. With a count it adds bulk data as well:
  --orders N    orders, over two years; users and products are then one for every 10 and 100 of them, unless given
  --users N     users; the password of each is ${BULK_PASSWORD}
  --products N  products
  --seed N      0 to 65535 (1): the same seed and counts make the same rows, and add them only once
  --force       do it even if the database is neither on this machine nor on a private network`

interface Arguments {
  counts: BulkCounts | undefined
  seed: number
  force: boolean
  help: boolean
}

class Interruption extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super('Interrupted: no bulk data were added.')
    this.exitCode = exitCode
  }
}

try {
  if (existsSync('.env')) process.loadEnvFile()
  const given = readArguments(process.argv.slice(2))
  if (given.help) console.log(USAGE)
  else await run(given, process.env)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = error instanceof Interruption ? error.exitCode : 1
}

async function run({ counts, seed, force }: Arguments, environment: Environment): Promise<void> {
  const url = resolveDirectUrl(environment)
  if (mayBeProduction(url) && !force) {
    throw new Error(
      `${new URL(url).hostname} may be production: add --force if the development data are to go there all the same.`,
    )
  }
  try {
    await addDevelopmentData(url, environment)
    if (counts !== undefined) await addBulkData(url, seed, counts)
  } catch (error) {
    throw error instanceof Interruption ? error : new Error(explain(error), { cause: error })
  }
}

async function addDevelopmentData(url: string, environment: Environment): Promise<void> {
  // Nothing is signed here, so that any secret will do.
  const secret = environment['AUTH_SECRET'] || randomBytes(32).toString('hex')
  const config = readConfig({ ...environment, DATABASE_URL: url, DATABASE_TRANSPORT: 'tcp', AUTH_SECRET: secret })
  const database = new Database(config.database)
  try {
    const added = await seed(database, config)
    console.log(`Development data: added ${added.users} users and ${added.products} products that were missing.`)
  } finally {
    await database.close()
  }
}

async function addBulkData(url: string, seed: number, counts: BulkCounts): Promise<void> {
  const started = performance.now()
  const progress = new Progress(process.stdout, 'rows')
  const onProgress = (done: BulkProgress) => progress.update(done.rows, done.total)
  const { added, rows } = await seedBulk({ url, seed, counts, signal: interruptible(), onProgress }).finally(() =>
    progress.end(),
  )
  const seconds = (performance.now() - started) / 1000
  console.log(
    added
      ? `Bulk data: added ${formatCount(rows)} rows in ${formatClock(seconds)}, ${formatCount(rows / seconds)}/s. Every user's password is ${BULK_PASSWORD}`
      : `Bulk data: all rows of seed ${seed} were there already.`,
  )
}

/** Aborted by Ctrl-C or SIGTERM, however often: one Ctrl-C comes from the terminal, and again from npm and tsx. */
function interruptible(): AbortSignal {
  const controller = new AbortController()
  process.on('SIGINT', () => controller.abort(new Interruption(130)))
  process.on('SIGTERM', () => controller.abort(new Interruption(143)))
  return controller.signal
}

function readArguments(args: string[]): Arguments {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args,
    options: { users: text, products: text, orders: text, seed: text, force: flag, help: flag },
  })
  const read = (name: 'users' | 'products' | 'orders' | 'seed', max: number) => {
    const value = values[name]
    if (value === undefined) return undefined
    if (!/^\d+$/.test(value) || Number(value) > max) {
      throw new Error(`--${name} must be a whole number from 0 to ${formatCount(max)}.`)
    }
    return Number(value)
  }
  const given = {
    users: read('users', MAX_COUNTS.users),
    products: read('products', MAX_COUNTS.products),
    orders: read('orders', MAX_COUNTS.orders),
  }
  const bulk = Object.values(given).some((count) => count !== undefined)
  const { force, help } = values
  return { counts: bulk ? completeCounts(given) : undefined, seed: read('seed', 65_535) ?? 1, force, help }
}

function completeCounts(given: { [name in keyof BulkCounts]: number | undefined }): BulkCounts {
  const { orders = 0, users = Math.ceil(orders / 10), products = Math.ceil(orders / 100) } = given
  if (orders > 0 && (users === 0 || products === 0)) throw new Error('Orders need users and products.')
  return { users, products, orders }
}

function explain(error: unknown): string {
  const { kind, message, sqlState } = toDatabaseError(error)
  if (sqlState === '42P01') return 'The database has no tables yet: run `npm run db:up` first.'
  return kind === 'internal' && error instanceof Error ? error.message : message
}
