import type { Client } from 'pg'
import { MigrationError } from './errors.ts'
import type { Migration } from './folder.ts'
import { HISTORY_DDL, JOURNAL_DDL, readJournal, recordRolledBack } from './history.ts'
import { type Direction, LOCK_TIMEOUT_MS, type Plan, planMigration } from './plan.ts'
import { runPlan } from './run-plan.ts'
import { withMigrationLock, withSession } from './session.ts'
import { compareMigrations, type MigrationStatus } from './status.ts'

export interface MigrateOptions {
  /** Direct, past any pooler. */
  url: string
  migrations: readonly Migration[]
  /** Told what a person should know while it runs, one line at a time. */
  say: (line: string) => void
  /** Longest wait for another runner. Default: a minute. */
  runnerWaitMs?: number
  /** Longest wait for one lock on a table. Default: {@link LOCK_TIMEOUT_MS}. */
  lockTimeoutMs?: number
  /** How often a migration is tried whose locks are not free. Default: 5. */
  lockAttempts?: number
}

export interface Done {
  name: string
  direction: Direction
  durationMs: number
}

/**
 * Applies all pending migrations, or those named, oldest first; each in a transaction of its own together with its row
 * in Prisma's journal. A failed one stops it; those before it stay.
 * @throws {MigrationError} also before anything is done: edited or unreadable migrations, a database that is not empty
 *   and has no journal, a failure of Prisma's whose outcome nobody knows
 */
export async function migrateUp(options: MigrateOptions, only?: readonly string[]): Promise<Done[]> {
  return withRunner(options, async (client) => {
    const statuses = await readStatuses(client, options)
    refuseModified(statuses)
    const pending = statuses.filter(({ state, name }) => state !== 'applied' && (only?.includes(name) ?? true))
    const plans: Plan[] = []
    for (const status of pending) plans.push(await planUp(status, options))
    if (plans.length > 0) await createJournal(client)
    return runAll(client, plans, options, async ({ run }) => {
      if (statuses.some(({ name, state }) => name === run.name && state === 'failed')) {
        await client.query(recordRolledBack(run.name))
      }
    })
  })
}

async function planUp({ name, state, migration, entry }: MigrationStatus, options: MigrateOptions): Promise<Plan> {
  if (state === 'undoing') {
    throw new MigrationError(`${name} is half undone. Finish that first: \`npm run db:down\`.`)
  }
  if (migration === undefined) throw new MigrationError(notHere(name))
  const plan = await planMigration(migration, 'up', options.lockTimeoutMs)
  // Its one transaction was rolled back if the server refused it; of a runner that was killed nobody knows.
  if (state === 'failed' && plan.script.transactional && entry?.logs === '') {
    throw new MigrationError(
      `${name} was begun by \`prisma migrate\`, which did not live to say how it ended. \`npm run db:drift\` tells whether it was applied; then \`npx prisma migrate resolve --applied ${name}\` or \`--rolled-back ${name}\`, and this again.`,
    )
  }
  return plan
}

/**
 * Undoes migrations by their `down.sql`, newest first.
 * @param choose which of the applied ones, given oldest first
 * @throws {MigrationError} before anything is done: a `down.sql` that is missing, empty or not safe to run
 */
export async function migrateDown(
  options: MigrateOptions,
  choose: (applied: readonly string[]) => readonly string[],
): Promise<Done[]> {
  return withRunner(options, async (client) => {
    const statuses = await readStatuses(client, options)
    const there = statuses.filter(({ state }) => state !== 'pending')
    const chosen = choose(there.map(({ name }) => name))
    const plans: Plan[] = []
    for (const status of there.filter(({ name }) => chosen.includes(name)).reverse()) {
      plans.push(await planDown(status, options))
    }
    if (plans.length > 0) await client.query(quietly(HISTORY_DDL))
    return runAll(client, plans, options)
  })
}

async function planDown({ name, state, migration }: MigrationStatus, options: MigrateOptions): Promise<Plan> {
  if (migration === undefined) throw new MigrationError(notHere(name))
  if (state === 'failed' && (await planMigration(migration, 'up')).script.transactional) {
    throw new MigrationError(
      `${name} failed, so there may be nothing to undo. \`npm run db:up\` tries it again or says what to do.`,
    )
  }
  return planMigration(migration, 'down', options.lockTimeoutMs)
}

/** Runs `work` on a session that holds the migration lock. */
export function withRunner<Result>(
  options: MigrateOptions,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const { say, runnerWaitMs: waitMs = 60_000 } = options
  return withSession(options, (client) => withMigrationLock(client, { waitMs, say }, () => work(client)))
}

async function readStatuses(client: Client, { migrations }: MigrateOptions): Promise<MigrationStatus[]> {
  return compareMigrations(migrations, await readJournal(client))
}

async function runAll(
  client: Client,
  plans: readonly Plan[],
  { say, lockAttempts: attempts = 5 }: MigrateOptions,
  before: (plan: Plan) => Promise<void> = async () => {},
): Promise<Done[]> {
  const done: Done[] = []
  for (const plan of plans) {
    const started = performance.now()
    await before(plan)
    await runPlan(client, plan, { attempts, say })
    const durationMs = performance.now() - started
    say(`${plan.direction.padEnd(4)}  ${plan.run.name}  ${Math.round(durationMs)} ms`)
    done.push({ name: plan.run.name, direction: plan.direction, durationMs })
  }
  return done
}

function refuseModified(statuses: readonly MigrationStatus[]): void {
  const modified = statuses.filter((status) => status.modified).map(({ name }) => name)
  if (modified.length === 0) return
  throw new MigrationError(
    `Edited after they were applied: ${modified.join(', ')}. The database does not have what they say now. Restore their text and write a new migration; or, where the data does not matter, \`npm run db:redo\` (the newest) or \`npm run db:reset\`.`,
  )
}

async function createJournal(client: Client): Promise<void> {
  const { rows } = await client.query<{ journal: boolean; tables: string }>(
    `SELECT to_regclass('public._prisma_migrations') IS NOT NULL AS journal,
            (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
               AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')) AS tables`,
  )
  if (rows[0]?.journal === true) return
  if (Number(rows[0]?.tables) > 0) {
    throw new MigrationError(
      'The database has tables but no journal of migrations. If they are what the first migrations make, say so for each: `npx prisma migrate resolve --applied NAME`; else use another database.',
    )
  }
  await client.query(quietly(JOURNAL_DDL))
}

/** IF NOT EXISTS and CASCADE tell what they skip or take along, which is no news here. */
export const quietly = (sql: string) => `SET client_min_messages TO warning; ${sql}; RESET client_min_messages`

const notHere = (name: string) =>
  `${name} is in the database's journal but not in prisma/migrations: check out the revision that has it.`
