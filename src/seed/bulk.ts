import { setImmediate as nextTurn } from 'node:timers/promises'
import { Client } from 'pg'
import { hashPassword } from '../auth/password.ts'
import { copyRows, type Field } from './copy.ts'
import { bulkIdRange, columns, type IdTable, lineRows, orderRows, productRows, userRows } from './rows.ts'
import { type BulkCounts, Ledger, Shop } from './shop.ts'

/** Of every user in bulk data: a hash for each would take hours. */
export const BULK_PASSWORD = 'Seeded123!'

export interface BulkSeed {
  /** A direct URL: COPY needs a session. */
  url: string
  /** 0 to 65535. Data of different seeds live side by side. */
  seed: number
  counts: BulkCounts
  /** Cuts the connection, so that the server takes everything back. */
  signal?: AbortSignal
  onProgress?: (progress: BulkProgress) => void
}

export interface BulkProgress {
  /** Rows handed to the server, of `total` in all four tables. */
  rows: number
  total: number
}

export interface BulkSeeded {
  /** False if these very data were there already; then nothing was written. */
  added: boolean
  /** In all four tables. */
  rows: number
}

const tables = Object.keys(columns).join(', ')

/** The server remembers every foreign key until the end of a COPY and checks it then; so no COPY has more orders. */
const BATCH = 2000

/**
 * Writes the data of a {@link Shop} in one transaction: all of them or nothing. Ids follow from the seed, so that
 * running it again adds nothing. Memory does not grow with the orders, and by a dozen bytes for each user and product.
 * @throws {Error} if data of this seed are there in other numbers; the signal's reason; or what the server refused
 */
export async function seedBulk({ url, seed, counts, signal, onProgress }: BulkSeed): Promise<BulkSeeded> {
  const client = new Client({ connectionString: url, application_name: 'seed', connectionTimeoutMillis: 10_000 })
  // A lost connection rejects what was running; with nobody listening here, it would also end the process.
  client.on('error', () => {})
  const disconnect = () => void client.end()
  let committing = false
  try {
    await client.connect()
    signal?.throwIfAborted()
    signal?.addEventListener('abort', disconnect)
    await client.query('BEGIN')
    await client.query('SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0')
    // Keeps out another run, which then finds everything written; and autovacuum: see ANALYZE below.
    await client.query(`LOCK TABLE ${tables} IN SHARE UPDATE EXCLUSIVE MODE`)
    if (await isPresent(client, seed, counts)) return { added: false, rows: 0 }
    const rows = await writeShop(client, new Shop(seed, counts), onProgress)
    // From here on an interruption could leave everything or nothing, and nobody could tell which.
    committing = true
    signal?.removeEventListener('abort', disconnect)
    await client.query('COMMIT')
    return { added: true, rows }
  } catch (error) {
    if (!committing) signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', disconnect)
    await client.end()
  }
}

async function isPresent(client: Client, seed: number, counts: BulkCounts): Promise<boolean> {
  const count = async (table: IdTable) => {
    const sql = `SELECT count(*)::int AS count FROM ${table} WHERE id BETWEEN $1 AND $2`
    const { rows } = await client.query<{ count: number }>(sql, bulkIdRange(seed, table))
    return rows[0]?.count ?? 0
  }
  const [users, products, orders] = [await count('users'), await count('products'), await count('orders')]
  if (users + products + orders === 0) return false
  if (users === counts.users && products === counts.products && orders === counts.orders) return true
  throw new Error(
    `Seed ${seed} has been used already, for ${users} users, ${products} products and ${orders} orders: choose another with --seed, or empty the database.`,
  )
}

async function writeShop(
  client: Client,
  shop: Shop,
  onProgress: ((progress: BulkProgress) => void) | undefined,
): Promise<number> {
  const { users, products, orders } = shop.counts
  const ledger = await keepBooks(shop)
  const total = users + products + orders + ledger.lines
  let written = 0
  const copy = (table: keyof typeof columns, rows: Iterable<readonly Field[]>) =>
    copyRows(client, table, columns[table], rows, (count) => {
      written += count
      onProgress?.({ rows: written, total })
    })

  await copy('users', userRows(shop, ledger, await hashPassword(BULK_PASSWORD)))
  await copy('products', productRows(shop, ledger))
  // Foreign keys are looked up by the index that seems cheapest, and in a table that seems empty all of them do. Statistics
  // of yesterday, or by autovacuum, to which rows are nothing until committed, would have a whole index read for each row.
  await client.query('ANALYZE users, products')
  for (let first = 0; first < orders; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, orders - first) }, (_, index) => shop.order(first + index))
    await copy('orders', orderRows(shop, batch))
    if (first === 0) await client.query('ANALYZE orders')
    await copy('order_items', lineRows(shop, batch))
  }
  await client.query(`ANALYZE ${tables}`)
  return written
}

/** Goes through all orders before the first row is written, because products come first and their stock tells the end. */
async function keepBooks(shop: Shop): Promise<Ledger> {
  const ledger = new Ledger(shop.counts)
  for (let index = 0; index < shop.counts.orders; index++) {
    ledger.record(shop.order(index))
    if (index % BATCH === 0) await nextTurn()
  }
  return ledger
}
