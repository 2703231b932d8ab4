import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, DatabaseError } from 'pg'
import type { Cluster } from './cluster.ts'

/** Whoever holds this advisory lock in database `postgres` is using the server; the lock dies with its holder. */
const IN_USE_LOCK = 7_011_965

/** How long another server may take to leave the data directory. */
export const HANDOVER_MS = 10_000

/** How long a server may take from its lock file to its first answer, and a dying process to let go of its lock. */
const GRACE_MS = 1000

interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly status: string
}

/** Lines 1, 4 and 8 of `postmaster.pid`. */
async function readPostmaster({ pgdata }: Cluster): Promise<Postmaster | undefined> {
  const lines = (await readFile(join(pgdata, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  const pid = Math.abs(Number(lines[0]))
  return pid > 0 ? { pid, port: Number(lines[3] ?? 0), status: lines[7]?.trim() ?? '' } : undefined
}

/** Whether the server with this process id takes connections. */
export async function isReady(cluster: Cluster, pid: number | undefined): Promise<boolean> {
  const postmaster = await readPostmaster(cluster)
  return postmaster?.pid === pid && postmaster?.status === 'ready'
}

/**
 * Gets a data directory back from what its lock file names: a server that nobody uses any more is stopped, and a file
 * whose process id has passed to another program is removed.
 * @throws {Error} if the server there is in use
 */
export async function evict(cluster: Cluster, waited: number): Promise<void> {
  const postmaster = await readPostmaster(cluster)
  if (!postmaster) return
  const found = await probe(cluster, postmaster.port)
  if (found === 'unused') interrupt(postmaster.pid)
  if (found === 'absent' && waited > GRACE_MS) await rm(join(cluster.pgdata, 'postmaster.pid'), { force: true })
  if ((found === 'used' && waited > GRACE_MS) || waited > HANDOVER_MS) {
    throw new Error(
      `${cluster.dataDir} is in use by another process (PostgreSQL with process id ${postmaster.pid}): stop that first, or set LOCAL_DATA_DIR to another folder.`,
    )
  }
  await sleep(100)
}

function interrupt(pid: number): void {
  try {
    process.kill(pid, 'SIGINT')
  } catch {
    // It is gone already.
  }
}

/** What answers on the port that the lock file names: `busy` is a server on its way up or down. */
async function probe(cluster: Cluster, port: number): Promise<'used' | 'unused' | 'busy' | 'absent'> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password: cluster.password,
    database: 'postgres',
    ssl: false,
    connectionTimeoutMillis: 2000,
    query_timeout: 2000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ ours: boolean; unused: boolean }>(
      "SELECT current_setting('data_directory') = $1 AS ours, pg_try_advisory_lock($2) AS unused",
      [cluster.pgdata, IN_USE_LOCK],
    )
    if (rows[0]?.ours !== true) return 'absent'
    return rows[0].unused ? 'unused' : 'used'
  } catch (error) {
    // Starting up or shutting down; too many connections; stopped in its tracks.
    return /57P03|53300|timeout/.test(`${error instanceof DatabaseError ? error.code : error}`) ? 'busy' : 'absent'
  } finally {
    await client.end().catch(() => {})
  }
}

/** Marks the server as in use for as long as this connection lives. */
export async function holdInUse(url: string): Promise<Client> {
  const holder = new Client({ connectionString: url, ssl: false, application_name: 'local-postgres' })
  holder.on('error', () => {})
  await holder.connect()
  await holder.query('SELECT pg_advisory_lock($1)', [IN_USE_LOCK])
  return holder
}
