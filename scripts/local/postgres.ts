import { once } from 'node:events'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster, draftFile, environment, explain, openCluster, removeDrafts } from './cluster.ts'
import { evict, HANDOVER_MS, holdInUse, isReady } from './lock-file.ts'

export interface LocalPostgres {
  readonly port: number
  readonly dataDir: string
  /** Settles when the server is gone, for whatever reason; it never rejects. */
  readonly exited: Promise<void>
  /** Superuser's URL over TCP; the password is the data directory's own. */
  url(database?: string): string
  /** Fast shutdown: sessions are cut off, committed data is safe. */
  stop(): Promise<void>
}

export interface LocalPostgresOptions {
  /** Created on first use. One server at a time uses it. */
  dataDir: string
  /** Default: any free one. */
  port?: number
  /** Values for `postgresql.conf`. */
  settings?: Readonly<Record<string, string>>
}

/**
 * Starts PostgreSQL on 127.0.0.1 with its files in `dataDir`, creating the database cluster on first use and
 * recovering from whatever an earlier crash left there. The server stops when this process does, even by SIGKILL.
 * @throws {Error} one sentence that says what to do: port taken, disk full, no permission, directory in use or
 *   written by another major version
 */
export async function startPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const cluster = await openCluster(resolve(options.dataDir))
  const started = Date.now()
  let port = options.port ?? (await lastPort(cluster)) ?? (await freePort())
  for (;;) {
    const attempt = await launch(cluster, port, options.settings ?? {})
    if ('server' in attempt) return attempt.server
    const { log } = attempt
    const waited = Date.now() - started
    const refusal = /could not bind IPv4 address "127.0.0.1": (.+)/.exec(log)?.[1]
    if (refusal !== undefined) {
      if (options.port !== undefined || waited > HANDOVER_MS) {
        throw new Error(`PostgreSQL cannot listen on 127.0.0.1:${port}: ${refusal}.`)
      }
      port = await freePort()
    } else if (/lock file "postmaster.pid" already exists/.test(log)) {
      await evict(cluster, waited)
    } else if (/pre-existing shared memory block/.test(log) && waited < HANDOVER_MS) {
      // Sessions of a killed server: they find out by themselves.
      await sleep(100)
    } else {
      throw new Error(await explain(cluster.dataDir, log))
    }
  }
}

/**
 * `$$` stays the server's process id across `exec`. The watcher reads a pipe of which this process holds the only other
 * end: a line means that all is well, and the end of the file that this process died, so the server is to stop.
 */
const WATCHED_SERVER = '({ read -r farewell <&3 || kill -INT $$; } &) 3<&0; exec "$@" </dev/null'

async function launch(
  cluster: Cluster,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<{ server: LocalPostgres } | { log: string }> {
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...settings,
    port: String(port),
  }
  const args = ['-D', cluster.pgdata, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const logFile = draftFile(cluster)
  const log = await open(logFile, 'w+', 0o600)
  // Its own session: Ctrl-C in the terminal and the terminal's end must not reach it before we have closed up.
  const child = cluster.account.spawn('sh', ['-c', WATCHED_SERVER, 'sh', cluster.binaries.postgres, ...args], {
    cwd: '/',
    env: environment,
    detached: true,
    stdio: ['pipe', 'ignore', log.fd],
  })
  child.stdin?.on('error', () => {})
  let running = true
  let said = ''
  const exited = new Promise<void>((done) => {
    child.once('error', () => done())
    child.once('exit', () => done())
  }).then(async () => {
    running = false
    child.stdin?.end('bye\n')
    const { buffer, bytesRead } = await log.read(Buffer.alloc(65_536), 0, 65_536, 0)
    said = buffer.toString('utf8', 0, bytesRead)
    await log.close()
  })

  while (running && !(await isReady(cluster, child.pid))) await Promise.race([exited, sleep(20)])
  if (!running) {
    await rm(logFile, { force: true })
    return { log: said }
  }

  const url = (database = 'postgres') => `postgresql://postgres:${cluster.password}@127.0.0.1:${port}/${database}`
  const shutDown = async () => {
    child.kill('SIGINT')
    const impatience = setTimeout(() => child.kill('SIGQUIT'), HANDOVER_MS)
    await exited
    clearTimeout(impatience)
  }
  try {
    const holder = await holdInUse(url())
    await rename(logFile, cluster.log)
    await removeDrafts(cluster)
    const stop = async () => {
      await holder.end().catch(() => {})
      await shutDown()
    }
    return { server: { port, dataDir: cluster.dataDir, exited, url, stop } }
  } catch (error) {
    await shutDown()
    throw error
  }
}

/** The port of last time, so that URLs kept elsewhere stay good; PostgreSQL writes down how it was started. */
async function lastPort({ pgdata }: Cluster): Promise<number | undefined> {
  const commandLine = await readFile(join(pgdata, 'postmaster.opts'), 'utf8').catch(() => '')
  const port = /"port=(\d+)"/.exec(commandLine)?.[1]
  return port === undefined ? undefined : Number(port)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no TCP port is free')
  return address.port
}
