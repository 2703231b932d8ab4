// `npm run db:*`: migrations forward and back, and what state they are in. See docs/migrations.md.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findDrift } from '../src/migrations/drift.ts'
import { readMigrations } from '../src/migrations/folder.ts'
import { type Done, type MigrateOptions, migrateDown, migrateUp } from '../src/migrations/migrate.ts'
import { type Direction, planMigration } from '../src/migrations/plan.ts'
import { resetDatabase } from '../src/migrations/reset.ts'
import { resolveDirectUrl } from './database-url.ts'
import { chooseDown, findMigration, type Selection } from './db/choose.ts'
import { confirmReset, refuseProduction } from './db/confirm.ts'
import { createMigration } from './db/create.ts'
import { formatDrift } from './db/format-drift.ts'
import { printScripts } from './db/print-scripts.ts'
import { sealMigrations } from './db/seal.ts'
import { formatHistory, formatStatus, readState } from './db/state.ts'

const USAGE = `npm run db:up                           apply what is pending
npm run db:down                         undo the newest migration; or the newest N, all after NAME, all:
        -- --steps N|--to NAME|--all
npm run db:redo [-- --steps N]          undo and apply again
npm run db:reset [-- --yes]             remove everything, data too, and apply all migrations
npm run db:status                       each migration's state; exit code 1 unless all are applied
npm run db:current                      the newest that is applied
npm run db:history                      all that was done: when, which way, how long, checksum
npm run db:drift                        compare the database with the migrations; exit code 1 if they differ
npm run db:sql [-- --down] [NAME...]    print the SQL instead of running it; needs no database
npm run db:create -- NAME               a new migration and its way back, from what changed in the schema
npm run db:seal                         record the checksums of finished migrations

down, redo and reset lose data: where the database may be production they also need --force.`

const folder = fileURLToPath(new URL('../prisma/migrations', import.meta.url))
const say = (line: string) => console.log(line)

const { command, names, flags } = readArguments()
const commands: Record<string, () => Promise<void>> = {
  up,
  down,
  redo,
  reset,
  status,
  current,
  history,
  drift,
  sql,
  create,
  seal,
}

try {
  const run = commands[command]
  if (run === undefined || flags.help) say(USAGE)
  else await run()
  if (run === undefined && !flags.help) process.exitCode = 2
} catch (error) {
  if (!(error instanceof Error)) throw error
  console.error(error.message)
  process.exitCode = 1
}

function readArguments() {
  if (existsSync('.env')) process.loadEnvFile()
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        steps: { type: 'string' },
        to: { type: 'string' },
        all: { type: 'boolean', default: false },
        down: { type: 'boolean', default: false },
        yes: { type: 'boolean', default: false },
        force: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    return { command: positionals[0] ?? '', names: positionals.slice(1), flags: values }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    process.exit(2)
  }
}

async function options(): Promise<MigrateOptions> {
  return { url: resolveDirectUrl(process.env), migrations: await readMigrations(folder), say }
}

function selection(): Selection {
  return { steps: flags.steps, to: flags.to, all: flags.all }
}

async function up(): Promise<void> {
  const target = await options()
  const done = await migrateUp(target)
  const newest = target.migrations.at(-1)?.name
  say(done.length === 0 ? `Nothing is pending; the newest is ${newest}.` : `Applied ${count(done)}.`)
}

async function down(): Promise<void> {
  const target = await options()
  refuseProduction(target.url, process.env, flags.force)
  const done = await migrateDown(target, (applied) => chooseDown(applied, selection()))
  say(done.length === 0 ? 'There is nothing to undo.' : `Undid ${count(done)}. \`npm run db:up\` applies them again.`)
}

async function redo(): Promise<void> {
  const target = await options()
  refuseProduction(target.url, process.env, flags.force)
  const undone = await migrateDown(target, (applied) => chooseDown(applied, selection()))
  const done = await migrateUp(
    target,
    undone.map(({ name }) => name),
  )
  say(done.length === 0 ? 'There is nothing to undo.' : `Undid and applied ${count(done)}.`)
}

async function reset(): Promise<void> {
  const target = await options()
  refuseProduction(target.url, process.env, flags.force)
  if (!flags.yes) await confirmReset(target.url)
  const done = await resetDatabase(target)
  say(`Removed everything and applied ${count(done)}. \`npm run db:seed\` adds development data.`)
}

async function status(): Promise<void> {
  const { text, clean } = formatStatus(await readState(await options()))
  say(text)
  if (!clean) process.exitCode = 1
}

async function current(): Promise<void> {
  const statuses = await readState(await options())
  say(statuses.findLast(({ state }) => state === 'applied')?.name ?? 'No migration is applied.')
}

async function history(): Promise<void> {
  say(await formatHistory(await options()))
}

async function drift(): Promise<void> {
  const { text, clean } = formatDrift(await findDrift(await options()))
  say(text)
  if (!clean) process.exitCode = 1
}

async function sql(): Promise<void> {
  const migrations = await readMigrations(folder)
  const chosen = names.length === 0 ? migrations : names.map((name) => findMigration(migrations, name))
  const direction: Direction = flags.down ? 'down' : 'up'
  const ordered = migrations.filter((migration) => chosen.includes(migration))
  if (flags.down) ordered.reverse()
  say(printScripts(await Promise.all(ordered.map((migration) => planMigration(migration, direction))), direction))
}

async function create(): Promise<void> {
  say(await createMigration({ folder, name: names.join(' '), url: resolveDirectUrl(process.env) }))
}

async function seal(): Promise<void> {
  const added = await sealMigrations(folder)
  say(
    added.length === 0
      ? 'All migrations are sealed.'
      : `Sealed ${added.join(', ')}: from now on their text stays as it is.`,
  )
}

function count(done: readonly Done[]): string {
  return done.length === 1 ? `${done[0]?.name}` : `${done.length} migrations`
}
