import { Client } from 'pg'
import * as z from 'zod'

const PRODUCT = '00000000-0000-0000-0000-000000000101'
const USER = '00000000-0000-0000-0000-000000000002'

const reportSchema = z.object({ idempotencyKeys: z.object({ deleted: z.int() }) })
const tokenSchema = z.object({ accessToken: z.string() })

/**
 * Leaves in the middle of an order, which must then be there wholly or not at all, and orders again.
 * @returns what is wrong
 */
export async function checkDisconnect(url: string, databaseUrl: string): Promise<string[]> {
  const credentials = { email: 'user@dev.local', password: 'User1234!' }
  const { accessToken } = tokenSchema.parse(await post(`${url}/api/v1/auth/token`, credentials))
  const order = (signal: AbortSignal) =>
    post(`${url}/api/v1/orders`, { items: [{ productId: PRODUCT, quantity: 2 }] }, accessToken, signal)
  return withClient(databaseUrl, async (client) => {
    const count = async () => {
      const { rows } = await client.query(
        `SELECT (SELECT stock FROM products WHERE id = $1) AS stock,
                (SELECT coalesce(sum(quantity), 0)::int FROM order_items WHERE product_id = $1) AS sold,
                (SELECT count(*)::int FROM orders WHERE user_id = $2) AS orders`,
        [PRODUCT, USER],
      )
      return rows[0]
    }
    const before = await count()
    await client.query('BEGIN')
    await client.query('SELECT 1 FROM products WHERE id = $1 FOR UPDATE', [PRODUCT])
    const left = await order(AbortSignal.timeout(300)).then(
      () => false,
      () => true,
    )
    await client.query('COMMIT')
    await order(AbortSignal.timeout(10_000))
    const after = await count()
    return [
      ...(left ? [] : ['an order was placed on a row that was locked']),
      ...(before.stock + before.sold === after.stock + after.sold ? [] : ['stock was lost when a client disconnected']),
      ...(after.orders - before.orders <= 2 && after.sold - before.sold === 2 * (after.orders - before.orders)
        ? []
        : ['an order was placed in part, or twice, when a client disconnected']),
    ]
  })
}

/**
 * Knocks at the cron door without the secret and with it, twice at once, with something to purge.
 * @returns what is wrong
 */
export async function checkMaintenance(url: string, databaseUrl: string, secret: string): Promise<string[]> {
  return withClient(databaseUrl, async (client) => {
    const rows = 2500
    await client.query(
      `INSERT INTO idempotency_keys (user_id, key, request_hash, created_at)
       SELECT $1, 'purge-' || n, repeat('0', 64), now() - interval '25 hours' FROM generate_series(1, $2) n`,
      [USER, rows],
    )
    const knock = (token: string) => fetch(`${url}/cron/maintenance`, { headers: { Authorization: `Bearer ${token}` } })
    const refused = await knock(`${secret}x`)
    const answers = await Promise.all([knock(secret), knock(secret)])
    const reports = await Promise.all(answers.map(async (answer) => reportSchema.parse(await answer.json())))
    const deleted = reports.reduce((sum, report) => sum + report.idempotencyKeys.deleted, 0)
    return [
      ...(refused.status === 401 ? [] : [`the cron door answers ${refused.status} to a wrong secret`]),
      ...(deleted === rows ? [] : [`the cron door says that it deleted ${deleted} of ${rows} keys`]),
    ]
  })
}

async function post(url: string, body: unknown, token?: string, signal?: AbortSignal): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token !== undefined && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })
  if (!response.ok) throw new Error(`${url} answers ${response.status}: ${await response.text()}`)
  return response.json()
}

async function withClient<T>(databaseUrl: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  return work(client).finally(() => client.end())
}
