import { setTimeout as sleep } from 'node:timers/promises'
import { Client, DatabaseError } from 'pg'
import { MigrationError } from './errors.ts'

/** Taken by Prisma's engine too: https://pris.ly/d/migrate-advisory-locking */
const PRISMA_LOCK = 72_707_369

export interface SessionOptions {
  url: string
  /** Told what a person should know while it runs, one line at a time. */
  say: (line: string) => void
}

/**
 * Runs `work` on a connection of its own.
 * @throws {MigrationError} if the database cannot be reached, or has a `schema` parameter other than `public`
 */
export async function withSession<Result>(
  { url, say }: SessionOptions,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const target = new URL(url)
  if ((target.searchParams.get('schema') ?? 'public') !== 'public') {
    throw new MigrationError('These commands know the schema "public" only: take `schema=` out of the database URL.')
  }
  const client = new Client({ connectionString: url, application_name: 'migrations', connectionTimeoutMillis: 10_000 })
  // Whatever breaks the connection also rejects the query under way.
  client.on('error', () => {})
  client.on('notice', ({ severity, message }) => say(`${severity?.toLowerCase() ?? 'notice'}: ${message}`))
  try {
    await client.connect()
  } catch (error) {
    await client.end().catch(() => {})
    throw new MigrationError(whyNotConnected(error, target), { cause: error })
  }
  try {
    await configure(client)
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Undoes what a script may have SET, and sets what every script relies on. */
export async function configure(client: Client): Promise<void> {
  await client.query(`RESET ALL; SET search_path TO public; SET statement_timeout TO 0; SET lock_timeout TO '15min';
    SET idle_in_transaction_session_timeout TO '1min'`)
  // So that the server ends the statement of a runner that was killed, and gives its locks back. PostgreSQL 14 and newer.
  await client.query(
    `SELECT set_config(name, '2s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'`,
  )
}

/**
 * Holds Prisma's lock while `work` runs, so that no two migrations of this database do, ours or Prisma's.
 * @param waitMs longest wait for another runner
 * @throws {MigrationError} if another runner is still at work after that; it names the session
 */
export async function withMigrationLock<Result>(
  client: Client,
  { waitMs, say }: { waitMs: number; say: (line: string) => void },
  work: () => Promise<Result>,
): Promise<Result> {
  const deadline = Date.now() + waitMs
  // Asked for again and again: a session that waits in pg_advisory_lock holds a snapshot, for which CREATE INDEX
  // CONCURRENTLY of the other runner would wait in turn.
  for (let said = false; !(await tryLock(client)); said = true) {
    const holder = await describeLockHolder(client)
    if (Date.now() > deadline) {
      throw new MigrationError(
        `Another migration is still running (${holder}). Nothing was done. Run this again when it has finished; if it hangs, end it with SELECT pg_terminate_backend(<pid>).`,
      )
    }
    if (!said) say(`Waiting for another migration to finish (${holder}).`)
    await sleep(250)
  }
  try {
    return await work()
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [PRISMA_LOCK]).catch(() => {})
  }
}

async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [PRISMA_LOCK])
  return rows[0]?.locked === true
}

async function describeLockHolder(client: Client): Promise<string> {
  const { rows } = await client.query<{ pid: number; application: string }>(
    `SELECT pid, application_name AS application FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND classid = 0 AND objid = $1 AND objsubid = 1 AND granted
       AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [PRISMA_LOCK],
  )
  return rows[0] === undefined ? 'it has just ended' : `pid ${rows[0].pid} ${rows[0].application}`.trimEnd()
}

/** The oldest transactions of others, which are what a lock is most often waited for. */
export async function describeOpenTransactions(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ line: string }>(
    `SELECT format('pid %s, %s for %s s: %s', pid, state, round(extract(epoch FROM now() - xact_start)),
                   left(regexp_replace(query, '\\s+', ' ', 'g'), 80)) AS line
     FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
     ORDER BY xact_start LIMIT 3`,
  )
  return rows.map(({ line }) => line)
}

function whyNotConnected(error: unknown, { hostname, port, pathname, username }: URL): string {
  const server = `${hostname}:${port || 5432}`
  if (error instanceof DatabaseError) {
    if (error.code === '28P01' || error.code === '28000')
      return `${server} refused the user "${username}": ${error.message}.`
    if (error.code === '3D000') {
      return `There is no database "${decodeURIComponent(pathname.slice(1))}" at ${server}: create it, or let \`npx prisma migrate deploy\` create and migrate it.`
    }
  }
  return `The database at ${server} cannot be reached: ${describe(error)}.`
}

function describe(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describe).join('; ')
  return error instanceof Error ? error.message : String(error)
}
