import { neonConfig } from '@neondatabase/serverless'
import { PrismaNeon } from '@prisma/adapter-neon'
import { WebSocket } from 'ws'
import { readConfig } from '../../src/config.ts'
import { Database } from '../../src/db/database.ts'
import { PrismaClient } from '../../src/db/generated/client.ts'
import type { FaultBridge } from '../../test/support/fault-bridge.ts'

export interface Contender {
  name: string
  /** A client that reaches the database through this bridge and tells the server that it is `id`. */
  open(bridge: FaultBridge, id: string): { client: PrismaClient; close(): Promise<unknown> }
}

/** The same for all who take limits, in milliseconds. */
export const limits = { statementMs: 300, replyMs: 1000, acquireMs: 2400, deadlineMs: 3100 }

/** Neon's driver is configured once for all of its clients, so each case has a host name of its own. */
const proxies = new Map<string, string>()
neonConfig.webSocketConstructor ??= WebSocket
neonConfig.useSecureWebSocket = false
neonConfig.pipelineConnect = false
neonConfig.wsProxy = (host, port) => `${proxies.get(host)}/v1?address=${host}:${port}`

const plain = (name: string, options: object): Contender => ({
  name,
  open({ environment }, id) {
    const host = `${id}.invalid`
    proxies.set(host, environment['NEON_WS_PROXY'] ?? '')
    const url = Object.assign(new URL(environment['DATABASE_URL'] ?? ''), { hostname: host })
    url.searchParams.set('application_name', id)
    const client = new PrismaClient({
      adapter: new PrismaNeon({ connectionString: url.href, max: 2, ...options }),
      errorFormat: 'minimal',
      transactionOptions: { maxWait: limits.acquireMs, timeout: limits.acquireMs },
    })
    return { client, close: () => client.$disconnect() }
  },
})

export const contenders: Contender[] = [
  plain('PrismaNeon', {}),
  plain('PrismaNeon, every timeout set', {
    connectionTimeoutMillis: limits.acquireMs,
    query_timeout: limits.replyMs,
    statement_timeout: limits.statementMs,
    lock_timeout: limits.statementMs,
    idle_in_transaction_session_timeout: limits.statementMs,
  }),
  {
    name: 'this project',
    open({ environment }, id) {
      const url = new URL(environment['DATABASE_URL'] ?? '')
      url.searchParams.set('application_name', id)
      const settings = {
        DATABASE_URL: url.href,
        DATABASE_POOL_SIZE: '2',
        DATABASE_MAX_OVERFLOW: '0',
        DATABASE_POOL_TIMEOUT_MS: String(limits.acquireMs),
        DATABASE_STATEMENT_TIMEOUT_MS: String(limits.statementMs),
        DATABASE_PRE_PING_IDLE_MS: '100',
        REQUEST_DEADLINE_MS: String(limits.deadlineMs),
      }
      const database = new Database(readConfig({ ...environment, ...settings }).database)
      return { client: database.client, close: () => database.close(0) }
    },
  },
]
