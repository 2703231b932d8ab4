import { randomBytes } from 'node:crypto'
import { Client, DatabaseError } from 'pg'
import { inject } from 'vitest'
import type { Environment } from '../../src/config.ts'

export interface TestDatabase {
  readonly url: string
  /** Complete settings for `readConfig`: this database, through the WebSocket bridge. */
  readonly environment: Environment
  /** Runs SQL as superuser over a plain TCP connection that shares nothing with the code under test. */
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** Ends all sessions of the database, then removes it. */
  drop(): Promise<void>
}

/** Gives the caller a database of its own: migrated and without rows, or with `migrated: false` wholly empty. */
export async function createTestDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const { adminUrl, bridge, template, authSecret } = inject('postgres')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${options.migrated === false ? 'template0' : template}`)
  const url = Object.assign(new URL(adminUrl), { pathname: name }).href

  let session: { client: Client; ready: Promise<unknown> } | undefined
  const open = () => {
    const client = new Client({ connectionString: url, application_name: 'test' })
    const opened = { client, ready: client.connect() }
    client.on('error', () => forget(opened))
    return opened
  }
  // A test may end every session, this one too: the next query opens another.
  const forget = (lost: typeof session) => {
    if (session === lost) session = undefined
  }
  const run = async (sql: string, values: unknown[] | undefined) => {
    session ??= open()
    const current = session
    try {
      await current.ready
      const { rows } = await current.client.query<Record<string, unknown>>(sql, values)
      return rows
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.severity === 'FATAL') forget(current)
      throw error
    }
  }
  // A session runs one statement at a time.
  let previous: Promise<unknown> = Promise.resolve()
  return {
    url,
    environment: {
      NODE_ENV: 'test',
      DATABASE_URL: url,
      DATABASE_URL_UNPOOLED: url,
      DATABASE_TRANSPORT: 'websocket',
      NEON_WS_PROXY: bridge,
      AUTH_SECRET: authSecret,
      LOG_LEVEL: 'silent',
    },
    query(sql, values) {
      const result = previous.then(() => run(sql, values))
      previous = result.catch(() => {})
      return result
    },
    async drop() {
      await session?.client.end().catch(() => {})
      await asAdmin(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

async function asAdmin(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
