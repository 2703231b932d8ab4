import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from './support/database.ts'

const projectDir = fileURLToPath(new URL('..', import.meta.url))

let directory: string
const started: Dev[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dev-'))
})

afterEach(async () => {
  for (const dev of started.splice(0)) if (dev.child.exitCode === null) await dev.end('SIGTERM')
})

afterAll(async () => {
  await eventually(() => expect(postgresIsGone()).toBe(true))
  await rm(directory, { recursive: true, force: true })
})

describe('npm run dev', { timeout: 90_000 }, () => {
  test('brings up everything, says where it is, leaves nothing running, and finds it all again', async () => {
    const taken = await occupy(3000)
    const first = run()
    const { url, databaseUrl } = await first.ready()
    expect(url).not.toBe('http://localhost:3000')
    expect(first.output).toContain(`Port 3000 is taken, so this is on ${new URL(url).port}.`)

    const health = await fetch(`${url}/api/v1/health`)
    expect(health.status).toBe(200)
    expect(await health.json()).toMatchObject({ status: 'ok', migrations: { pending: [] } })
    expect(await query(databaseUrl, 'SELECT email FROM users ORDER BY id')).toEqual([
      { email: 'admin@dev.local' },
      { email: 'user@dev.local' },
    ])
    expect((await readFile(join(directory, 'database-url'), 'utf8')).trim()).toBe(databaseUrl)
    for (const secret of ['database-url', 'auth-secret']) {
      expect((await stat(join(directory, secret))).mode & 0o077).toBe(0)
    }
    const token = await login(url)
    await query(databaseUrl, "UPDATE products SET stock = 7 WHERE sku = 'TEA-SENCHA-100'")

    expect(await first.end('SIGINT')).toBe(0)
    expect(postgresIsGone()).toBe(true)
    expect((await readdir(directory)).sort()).toEqual(['auth-secret', 'postgres'])

    const second = run()
    const again = await second.ready()
    expect(again.databaseUrl).toBe(databaseUrl)
    expect(second.output).not.toContain('Added')
    expect(await query(databaseUrl, "SELECT stock FROM products WHERE sku = 'TEA-SENCHA-100'")).toEqual([{ stock: 7 }])
    const me = await fetch(`${again.url}/api/v1/auth/me`, { headers: { Authorization: `Bearer ${token}` } })
    expect(me.status).toBe(200)
    taken?.close()
  })

  test.each([
    ['a closed terminal', 'SIGHUP', 'group'],
    ['SIGTERM to npm alone', 'SIGTERM', 'npm'],
    ['SIGKILL of npm alone', 'SIGKILL', 'npm'],
    ['SIGKILL of all of it', 'SIGKILL', 'group'],
  ] as const)('leaves no server behind after %s', async (_what, signal, to) => {
    const dev = run()
    const { url, databaseUrl } = await dev.ready()
    await dev.end(signal, to)
    await eventually(() => expect(postgresIsGone()).toBe(true))
    await expect(query(databaseUrl, 'SELECT 1')).rejects.toThrow('ECONNREFUSED')
    await eventually(() => expect(fetch(url)).rejects.toThrow())
  })

  test('stopped while it starts leaves no server behind', async () => {
    const dev = run()
    await eventually(() => expect(postgresIsGone()).toBe(false))
    expect(await dev.end('SIGINT')).toBe(0)
    expect(postgresIsGone()).toBe(true)
    expect(dev.output).not.toContain('Ready')
  })

  test('is alone in its folder, and starts PostgreSQL again when that is killed', async () => {
    const first = run()
    const { url } = await first.ready()
    const second = run()
    expect(await second.exitCode()).toBe(1)
    expect(second.said()).toMatch(
      /^\S+ is in use by another process \(PostgreSQL with process id \d+\): stop that first/,
    )
    expect((await fetch(`${url}/api/v1/health`)).status).toBe(200)
    expect(existsSync(join(directory, 'database-url'))).toBe(true)

    process.kill(Number.parseInt(await readFile(postmasterFile(), 'utf8'), 10), 'SIGKILL')
    await eventually(() => expect(first.output).toContain('PostgreSQL ended unexpectedly; starting it again.'))
    await eventually(async () => expect((await fetch(`${url}/api/v1/health`)).status).toBe(200))
  })

  test('on a port that was asked for and is taken says so and leaves no server behind', async () => {
    const taken = await occupy(0)
    const address = taken?.address()
    const port = String(typeof address === 'object' && address ? address.port : 0)
    const dev = run({ PORT: port })
    expect(await dev.exitCode()).toBe(1)
    expect(dev.said()).toBe(`Port ${port} is taken: set PORT to another one.`)
    expect(postgresIsGone()).toBe(true)
    taken?.close()
  })

  test('with a folder that cannot be used says so', async () => {
    const file = join(directory, 'auth-secret')
    const dev = run({ LOCAL_DATA_DIR: join(file, 'data') })
    expect(await dev.exitCode()).toBe(1)
    expect(dev.said()).toMatch(/^Cannot write to \S+ \(ENOTDIR.*\): set LOCAL_DATA_DIR to a folder of your own\.$/)
  })

  test('with bad settings lists them', async () => {
    const dev = run({ LOG_LEVEL: 'loud', DATABASE_POOL_SIZE: 'many' })
    expect(await dev.exitCode()).toBe(1)
    expect(dev.said()).toMatch(/DATABASE_POOL_SIZE: .*\n {2}LOG_LEVEL: /s)
  })

  test('reads .env, which the environment overrules', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dev-env-'))
    await writeFile(join(folder, '.env'), 'DATABASE_URL=postgresql://127.0.0.1:1/none\nPORT=many\nLOG_LEVEL=loud\n')
    const tsx = createRequire(import.meta.url).resolve('tsx')
    const dev = spawnSync(process.execPath, ['--import', tsx, join(projectDir, 'scripts/dev.ts')], {
      cwd: folder,
      env: { PATH: process.env['PATH'], PORT: '0' },
      encoding: 'utf8',
    })
    expect(dev.status).toBe(1)
    expect(dev.stderr).toContain('LOG_LEVEL: ')
    expect(dev.stderr).not.toContain('PORT: ')
    await rm(folder, { recursive: true })
  })

  test('with DATABASE_URL starts no PostgreSQL, changes nothing there, and says what is pending', async () => {
    const database = await createTestDatabase({ migrated: false })
    const elsewhere = join(directory, 'elsewhere')
    const dev = run({ ...database.environment, NODE_ENV: '', AUTH_SECRET: '', LOCAL_DATA_DIR: elsewhere })
    const { url, databaseUrl } = await dev.ready()
    expect(dev.output).toMatch(/Pending migrations: \d+_create_users, .*npm run db:up/)
    expect(databaseUrl).not.toContain(new URL(database.url).password)
    expect(await readdir(elsewhere)).toEqual(['auth-secret'])
    expect(await database.query("SELECT FROM pg_tables WHERE schemaname = 'public'")).toEqual([])
    expect((await fetch(`${url}/api/v1/health`)).status).toBe(503)
    await dev.end('SIGINT')
    await database.drop()
  })
})

/** One `npm run dev` in a process group of its own, as a terminal would give it. */
class Dev {
  readonly child: ChildProcess
  readonly #exit: Promise<number | null>
  output = ''

  constructor(settings: Record<string, string | undefined>) {
    // Empty counts as unset, and keeps out what a developer's .env may hold.
    const unset = { DATABASE_URL: '', DATABASE_URL_UNPOOLED: '', DATABASE_TRANSPORT: '', NEON_WS_PROXY: '' }
    const env = { ...process.env, ...unset, PORT: '', HOST: '', AUTH_SECRET: '', NODE_ENV: '', LOG_LEVEL: 'error' }
    this.child = spawn('npm', ['run', '--silent', 'dev'], {
      cwd: projectDir,
      env: { ...env, LOCAL_DATA_DIR: directory, ...settings },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.#exit = once(this.child, 'exit').then(([code]) => code)
  }

  async ready(): Promise<{ url: string; databaseUrl: string }> {
    return eventually(() => {
      const [, url, databaseUrl] = /^Ready: (\S+)\nDatabase: (\S+)/m.exec(this.output) ?? []
      if (url !== undefined && databaseUrl !== undefined) return { url, databaseUrl }
      throw new Error(`${this.child.exitCode === null ? 'not ready' : 'ended'}:\n${this.output}`)
    }, 60_000)
  }

  exitCode(): Promise<number | null> {
    return this.#exit
  }

  /** What it printed, without npm's remarks. */
  said(): string {
    return this.output.replaceAll(/^npm .*\n/gm, '').trim()
  }

  async end(signal: NodeJS.Signals, to: 'group' | 'npm' = 'group'): Promise<number | null> {
    const pid = this.child.pid ?? 0
    process.kill(to === 'group' ? -pid : pid, signal)
    return this.#exit
  }
}

function run(settings: Record<string, string | undefined> = {}): Dev {
  const dev = new Dev(settings)
  started.push(dev)
  return dev
}

const postmasterFile = () => join(directory, 'postgres', 'pgdata', 'postmaster.pid')

/** PostgreSQL removes this file when it has stopped in good order. */
const postgresIsGone = () => !existsSync(postmasterFile())

async function login(url: string): Promise<string> {
  const response = await fetch(`${url}/api/v1/auth/token`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email: 'user@dev.local', password: 'User1234!' }),
  })
  const { accessToken } = (await response.json()) as { accessToken: string } // the contract's answer
  return accessToken
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Undefined if the port is taken already, which serves as well. */
async function occupy(port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  return once(server, 'listening').then(
    () => server,
    () => undefined,
  )
}

async function eventually<T>(attempt: () => T | Promise<T>, withinMs = 15_000): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline || /^Error: ended/.test(String(error))) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
