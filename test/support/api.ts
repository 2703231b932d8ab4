import { Client } from 'pg'
import { signAccessToken } from '../../src/auth/access-token.ts'
import { hashPassword } from '../../src/auth/password.ts'
import { readManifest } from '../../src/migrations/folder.ts'
import { boot } from '../../src/runtime.ts'
import { seed } from '../../src/seed.ts'
import { createTestDatabase } from './database.ts'

export interface Answer {
  status: number
  headers: Headers
  text: string
  /** The body as JSON, loosely typed: tests say what they expect of it. */
  // biome-ignore lint/suspicious/noExplicitAny: the whole point of a black-box test is that it knows no types
  json: any
}

export interface Call {
  method?: string
  /** Sent as JSON. */
  body?: unknown
  /** Sent as it is, instead of `body`. */
  raw?: string | Uint8Array<ArrayBuffer>
  token?: string
  headers?: Record<string, string>
}

/** The API as a stranger sees it, and the database behind it, by another connection than its own. */
export interface Api {
  call(path: string, call?: Call): Promise<Answer>
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  authSecret: string
  close(): Promise<void>
}

/**
 * Opens the API for a test file: in this process, on a database of its own; or, with `BLACK_BOX_URL`,
 * `BLACK_BOX_DATABASE_URL` and `AUTH_SECRET` in the environment, the server that runs there.
 */
export function openApi(settings: Record<string, string> = {}): Promise<Api> {
  const { BLACK_BOX_URL, BLACK_BOX_DATABASE_URL, AUTH_SECRET } = process.env
  if (BLACK_BOX_URL === undefined) return openInProcess(settings)
  if (BLACK_BOX_DATABASE_URL === undefined || AUTH_SECRET === undefined) {
    throw new Error('BLACK_BOX_URL needs BLACK_BOX_DATABASE_URL and AUTH_SECRET beside it')
  }
  return openServer(BLACK_BOX_URL, BLACK_BOX_DATABASE_URL, AUTH_SECRET)
}

async function openInProcess(settings: Record<string, string>): Promise<Api> {
  const testDatabase = await createTestDatabase()
  const environment = { LOG_LEVEL: 'error', ...testDatabase.environment, ...settings }
  const { app, config, database } = await boot(environment, await readManifest('prisma/migrations'))
  await seed(database, config)
  return {
    call: (path, call) => send(async (request) => app.fetch(request), 'http://localhost', path, call),
    query: testDatabase.query,
    authSecret: config.authSecret,
    close: async () => {
      await database.close()
      await testDatabase.drop()
    },
  }
}

async function openServer(url: string, databaseUrl: string, authSecret: string): Promise<Api> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  return {
    call: (path, call) => send(fetch, url, path, call),
    query: async (sql, values) => (await client.query(sql, values)).rows,
    authSecret,
    close: () => client.end(),
  }
}

async function send(
  fetchRequest: (request: Request) => Promise<Response>,
  origin: string,
  path: string,
  { method = 'GET', body, raw, token, headers = {} }: Call = {},
): Promise<Answer> {
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body))
  const request = new Request(new URL(path, origin), {
    method,
    headers: {
      ...(payload !== undefined && { 'Content-Type': 'application/json' }),
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(payload !== undefined && { body: payload }),
  })
  const response = await fetchRequest(request)
  const text = await response.text()
  const json = /json/.test(response.headers.get('Content-Type') ?? '') ? JSON.parse(text) : undefined
  return { status: response.status, headers: response.headers, text, json }
}

export interface TestUser {
  id: string
  email: string
  token: string
}

let made = 0
const unique = () => `${process.pid}-${Date.now().toString(36)}-${made++}`

/** Adds a user straight into the database, with a token. The password is `Secret123!` only if one is asked for. */
export async function makeUser(
  api: Pick<Api, 'query' | 'authSecret'>,
  { role = 'user', isActive = true, password = '' }: { role?: string; isActive?: boolean; password?: string } = {},
): Promise<TestUser> {
  const email = `buyer-${unique()}@test.local`
  const hash = password === '' ? 'none' : await hashPassword(password)
  const [row] = await api.query(
    `INSERT INTO users (email, password_hash, full_name, role, is_active) VALUES ($1, $2, 'Test User', $3, $4) RETURNING id`,
    [email, hash, role, isActive],
  )
  const id = String(row?.['id'])
  return { id, email, token: await signAccessToken(id, api.authSecret) }
}

export interface TestProduct {
  id: string
  sku: string
  priceCents: number
}

/** Adds a product straight into the database. */
export async function makeProduct(
  api: Pick<Api, 'query'>,
  { stock = 10, priceCents = 250, name = 'Test product' }: { stock?: number; priceCents?: number; name?: string } = {},
): Promise<TestProduct> {
  const sku = `T-${unique()}`
  const [row] = await api.query(
    'INSERT INTO products (sku, name, price_cents, stock) VALUES ($1, $2, $3, $4) RETURNING id',
    [sku, name, priceCents, stock],
  )
  return { id: String(row?.['id']), sku, priceCents }
}

export async function stockOf(api: Pick<Api, 'query'>, productId: string): Promise<number> {
  const [row] = await api.query('SELECT stock FROM products WHERE id = $1', [productId])
  return Number(row?.['stock'])
}

/** How many orders, lines and keys there are: what a refused request must not change. */
export async function countRows(api: Api): Promise<unknown> {
  const [row] = await api.query(
    `SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM order_items) AS items,
            (SELECT count(*) FROM idempotency_keys) AS keys, (SELECT sum(stock) FROM products) AS stock`,
  )
  return row
}
