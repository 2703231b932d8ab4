import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

// The database as PostgreSQL describes it after the migrations: what Prisma's diff sees, and what it cannot.

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

/** Each row's values, in the order of the columns. */
const values = async (sql: string, parameters?: unknown[]) =>
  (await database.query(sql, parameters)).map((row) => Object.values(row))

const constraints = (table: string, types: string) =>
  values(
    `SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE conrelid = $1::regclass AND position(contype IN $2) > 0 ORDER BY conname`,
    [table, types],
  )

const indexes = (table: string) =>
  values(
    `SELECT c.relname, replace(pg_get_indexdef(c.oid), 'CREATE ', '') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = $1::regclass AND NOT i.indisprimary AND i.indisvalid ORDER BY c.relname`,
    [table],
  )

describe('users', () => {
  test('columns, types and defaults', async () => {
    expect(
      await values(
        `SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
         FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
      ),
    ).toEqual([
      ['id', 'uuid', true, 'gen_random_uuid()'],
      ['email', 'character varying(255)', true, null],
      ['password_hash', 'character varying(255)', true, null],
      ['full_name', 'character varying(100)', true, null],
      ['role', 'character varying(20)', true, "'user'::character varying"],
      ['is_active', 'boolean', true, 'true'],
      ['created_at', 'timestamp(3) with time zone', true, 'now()'],
      ['updated_at', 'timestamp(3) with time zone', true, 'now()'],
      ['deleted_at', 'timestamp(3) with time zone', false, null],
    ])
  })

  test('primary key, checks and indexes', async () => {
    expect(await constraints('users', 'pc')).toEqual([
      ['users_email_lower_check', 'CHECK (((email)::text = lower((email)::text)))'],
      ['users_pkey', 'PRIMARY KEY (id)'],
      [
        'users_role_check',
        "CHECK (((role)::text = ANY ((ARRAY['user'::character varying, 'admin'::character varying])::text[])))",
      ],
    ])
    expect(await indexes('users')).toEqual([
      [
        'idx_users_active',
        'INDEX idx_users_active ON public.users USING btree (deleted_at) WHERE (deleted_at IS NULL)',
      ],
      ['idx_users_created_at', 'INDEX idx_users_created_at ON public.users USING btree (created_at, id)'],
      [
        'idx_users_email',
        'UNIQUE INDEX idx_users_email ON public.users USING btree (email) WHERE (deleted_at IS NULL)',
      ],
      ['idx_users_role', 'INDEX idx_users_role ON public.users USING btree (role)'],
    ])
  })
})

test('every table with updated_at keeps it by the one function', async () => {
  const withColumn = await values(
    `SELECT relname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
     WHERE attname = 'updated_at' AND relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname`,
  )
  expect(withColumn).toEqual([['orders'], ['products'], ['users']])
  expect(
    await values(
      `SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text`,
    ),
  ).toEqual(
    withColumn.map(([table]) => [
      `CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.${table} FOR EACH ROW EXECUTE FUNCTION update_updated_at()`,
    ]),
  )
})

test('checks of the other tables', async () => {
  expect(await constraints('products', 'c')).toEqual([
    ['products_price_cents_check', 'CHECK ((price_cents >= 0))'],
    ['products_stock_check', 'CHECK ((stock >= 0))'],
  ])
  expect(await constraints('order_items', 'c')).toEqual([
    ['order_items_quantity_check', 'CHECK ((quantity > 0))'],
    ['order_items_unit_price_cents_check', 'CHECK ((unit_price_cents >= 0))'],
  ])
  expect((await constraints('orders', 'c')).map(([name]) => name)).toEqual([
    'orders_status_check',
    'orders_total_cents_check',
  ])
})

test('foreign keys: what belongs to a row goes with it, what is needed elsewhere stays', async () => {
  expect(
    await values(
      `SELECT conrelid::regclass::text, confrelid::regclass::text, confdeltype FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2`,
    ),
  ).toEqual([
    ['idempotency_keys', 'users', 'c'],
    ['order_items', 'orders', 'c'],
    ['order_items', 'products', 'r'],
    ['orders', 'users', 'r'],
  ])
})

describe('as any client of the database meets it', () => {
  let userId: unknown
  let productId: unknown
  let orderId: unknown
  const insert = async (sql: string) => (await database.query(`${sql} RETURNING id`))[0]?.['id']
  const newUser = (email: string) =>
    insert(`INSERT INTO users (email, password_hash, full_name) VALUES ('${email}', 'x', 'Someone')`)

  beforeAll(async () => {
    userId = await newUser('buyer@example.com')
    productId = await insert(`INSERT INTO products (sku, name, price_cents, stock) VALUES ('MUG', 'Mug', 990, 5)`)
    orderId = await insert(`INSERT INTO orders (user_id, total_cents) VALUES ('${userId}', 1980)`)
    await database.query(
      `INSERT INTO order_items (order_id, product_id, sku, name, quantity, unit_price_cents) VALUES ($1, $2, 'MUG', 'Mug', 2, 990)`,
      [orderId, productId],
    )
  })

  test.each([
    ['users', 'email', "'Buyer@example.com'", 'users_email_lower_check'],
    ['users', 'role', "'owner'", 'users_role_check'],
    ['products', 'stock', 'stock - 6', 'products_stock_check'],
    ['products', 'price_cents', '-1', 'products_price_cents_check'],
    ['orders', 'status', "'lost'", 'orders_status_check'],
    ['orders', 'total_cents', '-1', 'orders_total_cents_check'],
    ['order_items', 'quantity', '0', 'order_items_quantity_check'],
    ['order_items', 'unit_price_cents', '-1', 'order_items_unit_price_cents_check'],
  ])('%s.%s = %s is refused', async (table, column, value, constraint) => {
    await expect(database.query(`UPDATE ${table} SET ${column} = ${value}`)).rejects.toMatchObject({
      code: '23514',
      constraint,
    })
  })

  test('an address is taken while its user lives', async () => {
    await expect(newUser('buyer@example.com')).rejects.toMatchObject({ code: '23505', constraint: 'idx_users_email' })
    const first = await newUser('again@example.com')
    await database.query('UPDATE users SET deleted_at = now() WHERE id = $1', [first])
    const second = await newUser('again@example.com')
    await expect(database.query('UPDATE users SET deleted_at = NULL WHERE id = $1', [first])).rejects.toMatchObject({
      constraint: 'idx_users_email',
    })
    expect(second).not.toBe(first)
  })

  test('a product is on an order once', async () => {
    await expect(
      database.query(
        `INSERT INTO order_items (order_id, product_id, sku, name, quantity, unit_price_cents) VALUES ($1, $2, 'MUG', 'Mug', 1, 990)`,
        [orderId, productId],
      ),
    ).rejects.toMatchObject({ constraint: 'order_items_pkey' })
  })

  test('a user or product of an order cannot be removed; an order takes its lines along, a user their keys', async () => {
    const refused = { code: expect.stringMatching(/^2300[13]$/) }
    await expect(database.query('DELETE FROM users WHERE id = $1', [userId])).rejects.toMatchObject(refused)
    await expect(database.query('DELETE FROM products WHERE id = $1', [productId])).rejects.toMatchObject(refused)

    const passerBy = await newUser('passer-by@example.com')
    const key = `INSERT INTO idempotency_keys (user_id, key, request_hash) VALUES ($1, 'k', repeat('0', 64))`
    await database.query(key, [passerBy])
    await database.query('DELETE FROM users WHERE id = $1', [passerBy])
    expect(await database.query('SELECT key FROM idempotency_keys WHERE user_id = $1', [passerBy])).toEqual([])

    const order = await insert(`INSERT INTO orders (user_id, total_cents) VALUES ('${userId}', 990)`)
    const line = `INSERT INTO order_items (order_id, product_id, sku, name, quantity, unit_price_cents) VALUES ($1, $2, 'MUG', 'Mug', 1, 990)`
    await database.query(line, [order, productId])
    await database.query('DELETE FROM orders WHERE id = $1', [order])
    expect(await database.query('SELECT sku FROM order_items WHERE order_id = $1', [order])).toEqual([])
  })

  test.each(['users', 'products', 'orders'])(
    '%s.updated_at moves at every change, also within one transaction',
    async (table) => {
      const [[id, before] = []] = await values(`SELECT id, updated_at FROM ${table} ORDER BY id LIMIT 1`)
      // now() stands still in a transaction, and no caller can turn the clock back.
      const update = `UPDATE ${table} SET updated_at = '2000-01-01' WHERE id = $1 RETURNING updated_at`
      const moments = [before]
      await database.query('BEGIN')
      try {
        for (let change = 0; change < 5; change++) moments.push((await values(update, [id]))[0]?.[0])
      } finally {
        await database.query('COMMIT')
      }
      const times = moments.map(Number)
      expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
    },
  )
})

describe('every down.sql undoes its migration.sql', () => {
  const folder = fileURLToPath(new URL('../prisma/migrations', import.meta.url))
  const names = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
  const script = (name: string, file: string) => readFileSync(join(folder, name, file), 'utf8')

  /** Everything in the schema, by what it is. */
  const catalog = async (empty: TestDatabase) =>
    await empty.query(`
      SELECT 'relation' AS kind, relname || ' ' || relkind::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT 'column', attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
        JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
      UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
      UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
      ORDER BY kind, name`)

  test('from the last to the first, down to an empty schema, and up again', async () => {
    const empty = await createTestDatabase({ migrated: false })
    const states = [await catalog(empty)]
    expect(states[0]).toEqual([])
    for (const name of names) {
      await empty.query(script(name, 'migration.sql'))
      states.push(await catalog(empty))
    }
    const full = states.at(-1)
    expect(full?.length).toBeGreaterThan(100)
    for (const name of names.toReversed()) {
      const after = states.pop()
      expect(await catalog(empty)).toEqual(after)
      await empty.query(script(name, 'down.sql'))
    }
    expect(await catalog(empty)).toEqual([])
    for (const name of names) await empty.query(script(name, 'migration.sql'))
    expect(await catalog(empty)).toEqual(full)
    await empty.drop()
  })
})
