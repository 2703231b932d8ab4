import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { verifyPassword } from '../src/auth/password.ts'
import type { Environment } from '../src/config.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

vi.setConfig({ testTimeout: 90_000 })

interface Outcome {
  code: number | null
  output: string
  complaint: string
}

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})
afterEach(async () => {
  await database.drop()
})

/** Runs `scripts/seed.ts` as a process of its own; `watch` sees what it has printed so far. */
async function run(
  args: string,
  { environment = {}, nodeOptions = [], watch = () => {} }: RunOptions = {},
): Promise<Outcome> {
  const command = [...nodeOptions, '--import', 'tsx', 'scripts/seed.ts', ...args.split(' ').filter(Boolean)]
  const child = spawn(process.execPath, command, {
    // An empty value is one too: what a developer's .env says must not take its place.
    env: { PATH: process.env['PATH'], ...database.environment, NODE_ENV: 'development', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const outcome: Outcome = { code: null, output: '', complaint: '' }
  child.stdout.on('data', (chunk) => {
    outcome.output += chunk
    watch(child, outcome.output)
  })
  child.stderr.on('data', (chunk) => {
    outcome.complaint += chunk
  })
  const [code]: unknown[] = await once(child, 'close')
  return { ...outcome, code: typeof code === 'number' ? code : null }
}

interface RunOptions {
  environment?: Environment
  nodeOptions?: string[]
  watch?: (child: ChildProcess, output: string) => void
}

async function count(table: 'users' | 'products' | 'orders'): Promise<number> {
  const [row] = await database.query(`SELECT count(*)::int AS count FROM ${table}`)
  return Number(row?.['count'])
}

describe('npm run db:seed', () => {
  test('adds the development users and products, and only what is missing', async () => {
    const first = await run('')
    expect(first).toEqual({
      code: 0,
      output: 'Development data: added 2 users and 12 products that were missing.\n',
      complaint: '',
    })
    const users = await database.query('SELECT id, email, role, password_hash AS hash FROM users ORDER BY id')
    expect(users).toEqual([
      expect.objectContaining({ id: '00000000-0000-0000-0000-000000000001', email: 'admin@dev.local', role: 'admin' }),
      expect.objectContaining({ id: '00000000-0000-0000-0000-000000000002', email: 'user@dev.local', role: 'user' }),
    ])
    expect(await verifyPassword('Admin123!', String(users[0]?.['hash']))).toBe(true)
    expect(await verifyPassword('User1234!', String(users[1]?.['hash']))).toBe(true)

    await database.query("DELETE FROM products WHERE sku = 'TEA-SENCHA-100'")
    await database.query("UPDATE products SET stock = 7 WHERE sku = 'POUROVER-V2'")
    expect((await run('')).output).toBe('Development data: added 0 users and 1 products that were missing.\n')
    expect(await database.query("SELECT stock FROM products WHERE sku = 'POUROVER-V2'")).toEqual([{ stock: 7 }])
  })

  test.each<[why: string, args: string, environment: Environment, sentence: string]>([
    [
      'in production',
      '--force',
      { NODE_ENV: 'production' },
      'Development data is never seeded when NODE_ENV is production.',
    ],
    [
      'elsewhere',
      '',
      { DATABASE_URL_UNPOOLED: 'postgresql://someone:secret@ep-cool-rain-1.eu-central-1.aws.neon.tech/shop' },
      'ep-cool-rain-1.eu-central-1.aws.neon.tech may be production: add --force if the development data are to go there all the same.',
    ],
    ['for a bad count', '--users 1e3', {}, '--users must be a whole number from 0 to 10,000,000.'],
    ['for orders of nothing', '--orders 5 --products 0', {}, 'Orders need users and products.'],
    ['for an unknown option', '--order 5', {}, "Unknown option '--order'"],
  ])('refuses %s', async (_why, args, environment, sentence) => {
    const { code, output, complaint } = await run(args, { environment })
    expect({ code, output }).toEqual({ code: 1, output: '' })
    expect(complaint).toBe(`${sentence}\n`)
    expect(await count('users')).toBe(0)
  })

  test('says what to do about a database without tables', async () => {
    const url = Object.assign(new URL(database.url), { pathname: 'postgres' }).href
    const { code, complaint } = await run('', { environment: { DATABASE_URL_UNPOOLED: url } })
    expect({ code, complaint }).toEqual({
      code: 1,
      complaint: 'The database has no tables yet: run `npm run db:up` first.\n',
    })
  })
})

describe('npm run db:seed with counts', () => {
  test('adds bulk data in bounded memory, and says how far it is in plain lines', async () => {
    // The text of the rows alone is larger than the heap may be.
    const { code, output, complaint } = await run('--orders 80000', { nodeOptions: ['--max-old-space-size=36'] })
    expect({ code, complaint }).toEqual({ code: 0, complaint: '' })
    const [text] = await database.query(
      'SELECT (SELECT sum(length(o::text)) FROM orders o) + (SELECT sum(length(i::text)) FROM order_items i) AS length',
    )
    expect(Number(text?.['length'])).toBeGreaterThan(36 * 2 ** 20)

    const lines = output.trimEnd().split('\n')
    expect(lines[0]).toBe('Development data: added 2 users and 12 products that were missing.')
    expect(lines[1]).toMatch(/^ 10% {2}[\d,]+ of [\d,]+ rows, [\d,]+\/s, \d+:\d\d left$/)
    expect(lines.slice(1, -1).map((line) => line.slice(0, 4))).toEqual(
      [10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((percent) => `${percent}%`.padStart(4)),
    )
    expect(lines.at(-1)).toMatch(/^Bulk data: added [\d,]+ rows in \d+:\d\d, [\d,]+\/s\. Every user's password is \S+$/)
    expect([await count('users'), await count('products'), await count('orders')]).toEqual([8002, 812, 80_000])

    const again = await run('--orders 80000')
    expect(again.output).toContain('Bulk data: all rows of seed 1 were there already.')
    expect(await count('orders')).toBe(80_000)
  })

  test('takes users and products alone', async () => {
    expect((await run('--users 30 --products 20')).code).toBe(0)
    expect([await count('users'), await count('products'), await count('orders')]).toEqual([32, 32, 0])
  })

  test.each([
    ['SIGINT', 130, 'Interrupted: no bulk data were added.\n'],
    ['SIGTERM', 143, 'Interrupted: no bulk data were added.\n'],
    ['SIGKILL', null, ''],
  ] as const)('leaves nothing half-made after %s', async (signal, exitCode, said) => {
    let sent = false
    const { code, output, complaint } = await run('--orders 30000', {
      watch: (child, output) => {
        if (!sent && output.includes(' 30% ')) sent = child.kill(signal)
      },
    })
    expect({ code, complaint }).toEqual({ code: exitCode, complaint: said })
    expect(output).not.toContain('Bulk data')
    await vi.waitFor(async () => {
      const sessions =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'seed'"
      expect(await database.query(sessions)).toEqual([])
    }, 10_000)
    expect([await count('users'), await count('products'), await count('orders')]).toEqual([2, 12, 0])
  })
})
