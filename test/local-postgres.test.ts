import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { linkSharedLibraries, type PostgresBinaries, postgresBinaries } from '../scripts/local/binaries.ts'
import { type LocalPostgres, type LocalPostgresOptions, startPostgres } from '../scripts/local/postgres.ts'
import { serverAccount } from '../scripts/local/server-account.ts'

const isRoot = process.getuid?.() === 0
const holdPostgres = fileURLToPath(new URL('./support/hold-postgres.ts', import.meta.url))

let template: string
let folder: string
let dataDir: string
const running: LocalPostgres[] = []
const children: ChildProcess[] = []

beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'local-postgres-'))
  await (await startPostgres({ dataDir: join(template, 'data') })).stop()
})

afterAll(() => rm(template, { recursive: true, force: true }))

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-postgres-'))
  await chmod(folder, 0o755)
  dataDir = join(folder, 'data')
})

/** Saves most tests the seconds of a first start. */
const useExistingCluster = () => void execFileSync('cp', ['-a', join(template, 'data'), dataDir])

afterEach(async () => {
  for (const postgres of running.splice(0)) await postgres.stop()
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await eventually(async () => expect(await postmasterPid()).toBeUndefined())
  await rm(folder, { recursive: true, force: true })
})

describe('a local PostgreSQL', () => {
  beforeEach(useExistingCluster)

  test('is UTF-8, in UTC, on 127.0.0.1 alone, and asks for its password', async () => {
    const postgres = await start()
    const [row] = await query(
      postgres,
      `SELECT current_setting('server_encoding') AS encoding, current_setting('TimeZone') AS zone, upper('é') AS upper,
              current_setting('listen_addresses') AS addresses, current_setting('password_encryption') AS password,
              ARRAY(SELECT x FROM unnest(ARRAY['b', 'B', 'a', 'Z']) AS x ORDER BY x) AS sorted`,
    )
    expect(row).toEqual({
      encoding: 'UTF8',
      zone: 'UTC',
      upper: 'É',
      addresses: '127.0.0.1',
      password: 'scram-sha-256',
      sorted: ['B', 'Z', 'a', 'b'],
    })
    const wrong = new Client({ connectionString: postgres.url().replace(/:[^:@]+@/, ':wrong@') })
    await expect(wrong.connect()).rejects.toThrow('password authentication failed')
  })

  test('keeps its data and its URL from one start to the next', async () => {
    const first = await start()
    await query(first, 'CREATE TABLE kept AS SELECT 42 AS n')
    await stop(first)
    const second = await start()
    expect(second.url()).toBe(first.url())
    expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: 42 }])
  })

  test('stops although sessions are busy', async () => {
    const postgres = await start()
    const busy = query(postgres, 'SELECT pg_sleep(60)').then(
      () => 'finished',
      () => 'cut off',
    )
    const idle = new Client({ connectionString: postgres.url() })
    idle.on('error', () => {})
    await idle.connect()
    const sleeping = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    await eventually(async () => expect((await idle.query(sleeping)).rowCount).toBe(1))
    await stop(postgres)
    expect(await busy).toBe('cut off')
    expect(await postmasterPid()).toBeUndefined()
  })

  test('takes settings', async () => {
    const postgres = await start({ settings: { fsync: 'off', max_connections: '7' } })
    expect(await query(postgres, 'SHOW max_connections')).toEqual([{ max_connections: '7' }])
  })

  test.runIf(isRoot)('never runs as root', async () => {
    await start()
    expect((await lstat(join(dataDir, 'pgdata'))).uid).not.toBe(0)
  })
})

describe('the port', () => {
  beforeEach(useExistingCluster)

  test('that is asked for and taken is named in one sentence', async () => {
    const { server, port } = await occupyPort()
    await expect(start({ port })).rejects.toThrow(
      `PostgreSQL cannot listen on 127.0.0.1:${port}: Address already in use.`,
    )
    server.close()
    expect((await start({ port })).port).toBe(port)
  })

  test('of last time is given up if it is taken now', async () => {
    const first = await start()
    await stop(first)
    const { server } = await occupyPort(first.port)
    const second = await start()
    expect(second.port).not.toBe(first.port)
    expect(await query(second, 'SELECT 1 AS n')).toEqual([{ n: 1 }])
    server.close()
  })
})

describe('after a crash', () => {
  beforeEach(useExistingCluster)

  test('of the server, what was committed is there and its last sessions do not stand in the way', async () => {
    const first = await start()
    await query(first, 'CREATE TABLE kept AS SELECT 42 AS n')
    const busy = query(first, 'SELECT pg_sleep(3)').catch(() => {})
    process.kill((await postmasterPid()) ?? 0, 'SIGKILL')
    await first.exited
    const second = await start()
    expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: 42 }])
    await busy
  })

  test('of the process that started it, the server stops', async () => {
    const holder = await hold()
    await query(holder, 'CREATE TABLE kept AS SELECT 42 AS n')
    holder.child.kill('SIGKILL')
    await eventually(async () => expect(await postmasterPid()).toBeUndefined())
    const second = await start()
    expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: 42 }])
  })

  test('a start does not wait for the server of a killed process to be gone', async () => {
    const holder = await hold()
    await query(holder, 'CREATE TABLE kept AS SELECT 42 AS n')
    holder.child.kill('SIGKILL')
    expect(await query(await start(), 'SELECT n FROM kept')).toEqual([{ n: 42 }])
  })

  test('a server that nobody uses any more is stopped', async () => {
    const binaries = await postgresBinaries()
    const account = await serverAccount(dataDir, binaries)
    const { server, port } = await occupyPort()
    server.close()
    const args = ['-D', join(dataDir, 'pgdata'), '-p', String(port), '-c', 'unix_socket_directories=']
    const orphan = account.spawn(binaries.postgres, args, { cwd: '/', stdio: 'ignore', detached: true })
    children.push(orphan)
    await eventually(async () => expect(await postmasterPid()).toBe(orphan.pid))
    const gone = once(orphan, 'exit')
    const postgres = await start()
    await gone
    expect(await postmasterPid()).not.toBe(orphan.pid)
    expect(await query(postgres, 'SELECT 1 AS n')).toEqual([{ n: 1 }])
  })

  test('a lock file whose process id now belongs to another program is removed', async () => {
    const account = await serverAccount(dataDir, await postgresBinaries())
    const stranger = account.spawn('sleep', ['60'], { cwd: '/', stdio: 'ignore' })
    children.push(stranger)
    const lock = join(dataDir, 'pgdata', 'postmaster.pid')
    const { server, port } = await occupyPort()
    server.close()
    await writeFile(lock, `${stranger.pid}\n${join(dataDir, 'pgdata')}\n1700000000\n${port}\n\n127.0.0.1\n\nready   \n`)
    if (account.owner) await chown(lock, account.owner.uid, account.owner.gid)
    expect(await query(await start(), 'SELECT 1 AS n')).toEqual([{ n: 1 }])
    expect(stranger.exitCode).toBeNull()
  })
})

describe('the very first start', () => {
  test('that is killed midway leaves nothing in the way of the next', async () => {
    const child = spawnHolder()
    await eventually(async () => expect((await readdir(dataDir)).join()).toContain('draft-'), 5)
    await eventually(async () => expect(await drafted()).toContain('PG_VERSION'), 5)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(existsSync(join(dataDir, 'pgdata'))).toBe(false)
    const postgres = await start()
    expect(await query(postgres, 'SELECT 1 AS n')).toEqual([{ n: 1 }])
    expect((await readdir(dataDir)).sort()).toEqual(['pgdata', 'postgres.log'])
  })

  test('by two at once ends with one server', async () => {
    const lines = await Promise.all([firstLine(spawnHolder()), firstLine(spawnHolder())])
    expect(lines.filter((line) => line.startsWith('postgresql://'))).toHaveLength(1)
    expect(lines.filter((line) => line.includes('is in use by another process'))).toHaveLength(1)
  })
})

describe('a directory', () => {
  test('in use is left alone, and the second to come is told so', async () => {
    useExistingCluster()
    const first = await start()
    const began = Date.now()
    const child = spawnHolder()
    expect(await firstLine(child)).toMatch(/^\S+ is in use by another process \(PostgreSQL with process id \d+\): stop/)
    expect(Date.now() - began).toBeLessThan(10_000)
    expect(await query(first, 'SELECT 1 AS n')).toEqual([{ n: 1 }])
  })

  test('of another major version is named with both versions', async () => {
    useExistingCluster()
    await writeFile(join(dataDir, 'pgdata', 'PG_VERSION'), '17\n')
    await expect(start()).rejects.toThrow(/data was written by PostgreSQL 17 and this is 18: remove it, or set/)
  })

  test('that is a file is refused in one sentence', async () => {
    await writeFile(dataDir, '')
    await expect(start()).rejects.toThrow(/^PostgreSQL may not use \S+: give it to the user who runs this, or set/)
  })

  test('that the user may not write to is refused in one sentence', async (context) => {
    await chmod(folder, 0o555)
    const said = isRoot
      ? await firstLine(await spawnHolderAsNobody(context))
      : await startPostgres({ dataDir }).catch((error: Error) => error.message)
    await chmod(folder, 0o755)
    expect(said).toBe(
      `PostgreSQL may not use ${dataDir}: give it to the user who runs this, or set LOCAL_DATA_DIR to another folder.`,
    )
  })

  test.runIf(isRoot && process.platform === 'linux')('on a full disk is named as such', async (context) => {
    await mkdir(dataDir)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', dataDir])
    if (mounted.status !== 0) context.skip('this machine lets nobody mount a file system')
    try {
      await expect(start()).rejects.toThrow(`The disk is full: PostgreSQL needs room in ${dataDir}.`)
    } finally {
      execFileSync('umount', [dataDir])
    }
  })

  test.runIf(isRoot && process.platform === 'linux')('in a folder that only root may enter is used', async () => {
    useExistingCluster()
    await chmod(folder, 0o700)
    const postgres = await start()
    expect(await query(postgres, 'SELECT 1 AS n')).toEqual([{ n: 1 }])
    await stop(postgres)
    expect(await query(await start(), 'SELECT 1 AS n')).toEqual([{ n: 1 }])
  })

  test.runIf(isRoot)('of an ordinary user stays theirs', async (context) => {
    await mkdir(dataDir)
    await chown(dataDir, 65534, 65534)
    const child = await spawnHolderAsNobody(context)
    const url = await firstLine(child)
    await query({ url: () => url }, 'CREATE TABLE kept AS SELECT 42 AS n')
    child.kill('SIGKILL')
    await eventually(async () => expect(await postmasterPid()).toBeUndefined())
    expect(await query(await start(), 'SELECT n FROM kept')).toEqual([{ n: 42 }])
    expect((await lstat(join(dataDir, 'pgdata', 'PG_VERSION'))).uid).toBe(65534)
  })
})

describe('the programs', () => {
  test('get the links to shared libraries that a skipped install script did not make', async () => {
    const { postgres } = await copyPrograms()
    const version = () => spawnSync(postgres, ['--version'], { encoding: 'utf8' })
    expect(version().status).not.toBe(0)
    await linkSharedLibraries(join(folder, 'package'))
    expect(version().stdout).toMatch(/^postgres \(PostgreSQL\) 18/)
    await linkSharedLibraries(join(folder, 'package'))
  })

  test.runIf(isRoot && process.platform === 'linux')('run from a folder that only root may enter', async () => {
    const binaries = await copyPrograms()
    await linkSharedLibraries(join(folder, 'package'))
    await mkdir(dataDir)
    await chmod(folder, 0o700)
    const account = await serverAccount(dataDir, binaries)
    const initdb = account.spawn(binaries.initdb, ['-D', join(dataDir, 'pgdata'), '-A', 'trust'], { cwd: '/' })
    expect(await once(initdb, 'exit')).toEqual([0, null])
  })
})

/** Copies this platform's PostgreSQL as npm does: without symbolic links. */
async function copyPrograms(): Promise<PostgresBinaries> {
  const { postgres } = await postgresBinaries()
  const copy = join(folder, 'package', 'native')
  await cp(join(postgres, '../..'), copy, {
    recursive: true,
    filter: async (path) => !(await lstat(path)).isSymbolicLink(),
  })
  return { initdb: join(copy, 'bin/initdb'), postgres: join(copy, 'bin/postgres') }
}

async function start(options: Partial<LocalPostgresOptions> = {}): Promise<LocalPostgres> {
  const postgres = await startPostgres({ dataDir, ...options })
  running.push(postgres)
  return postgres
}

async function stop(postgres: LocalPostgres): Promise<void> {
  running.splice(running.indexOf(postgres), 1)
  await postgres.stop()
}

async function query(postgres: { url(): string }, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: postgres.url() })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Another process that holds a server in `dataDir`. */
function spawnHolder(options: SpawnOptions = {}): ChildProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', holdPostgres, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  })
  children.push(child)
  return child
}

async function spawnHolderAsNobody(context: { skip(reason: string): never }): Promise<ChildProcess> {
  const nobody = { uid: 65534, gid: 65534 }
  const mayRead = spawnSync('test', ['-r', holdPostgres], { ...nobody, cwd: '/' }).status === 0
  if (!mayRead) context.skip('an ordinary user may not read this checkout')
  return spawnHolder(nobody)
}

async function hold(): Promise<{ child: ChildProcess; url(): string }> {
  const child = spawnHolder()
  const line = await firstLine(child)
  return { child, url: () => line }
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (!stdout) throw new Error('the process has no output to read')
  const [line]: unknown[] = await once(createInterface({ input: stdout }), 'line')
  return String(line)
}

async function postmasterPid(): Promise<number | undefined> {
  const text = await readFile(join(dataDir, 'pgdata', 'postmaster.pid'), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : Number.parseInt(text, 10)
}

async function drafted(): Promise<string[]> {
  const [draft] = (await readdir(dataDir)).filter((name) => name.startsWith('draft-'))
  return draft === undefined ? [] : readdir(join(dataDir, draft, 'pgdata'))
}

async function occupyPort(port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, port: typeof address === 'object' && address ? address.port : 0 }
}

async function eventually(check: () => Promise<void>, everyMs = 50): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
  }
}
