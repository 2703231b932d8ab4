import { readConfig } from '../../src/config.ts'
import { Database } from '../../src/db/database.ts'
import { DatabaseError } from '../../src/db/errors.ts'
import type { DatabaseEvent } from '../../src/db/events.ts'
import type { TestDatabase } from './database.ts'
import { type FaultBridge, startFaultBridge } from './fault-bridge.ts'

export const transports = ['websocket', 'tcp'] as const
export type TransportName = (typeof transports)[number]

/** A Database behind a fault bridge of its own, and everything it has told its observers. */
export interface FaultFixture {
  bridge: FaultBridge
  database: Database
  events: DatabaseEvent[]
  /** The statements sent, without those that open or check a connection. */
  statements(): string[]
  close(): Promise<void>
}

export async function openFaultFixture(
  testDatabase: TestDatabase,
  transport: TransportName,
  settings: Record<string, string> = {},
): Promise<FaultFixture> {
  const bridge = await startFaultBridge({ ...testDatabase.environment, ...settings }, transport)
  const database = new Database(readConfig(bridge.environment).database)
  const events: DatabaseEvent[] = []
  database.observe((event) => events.push(event))
  return {
    bridge,
    database,
    events,
    statements: () => events.flatMap((event) => (event.type === 'statement' ? [event.text] : [])),
    async close() {
      await database.close(0)
      await bridge.close()
    },
  }
}

/** How a promise that must not succeed was refused. */
export async function errorOf(promise: Promise<unknown>): Promise<DatabaseError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  )
  if (error instanceof DatabaseError) return error
  throw new Error('not a DatabaseError', { cause: error })
}

/** Collects what would have ended the process, from now on. */
export function watchEscapes(): { escaped: unknown[]; stop(): void } {
  const escaped: unknown[] = []
  const remember = (error: unknown) => void escaped.push(error)
  process.on('uncaughtException', remember)
  process.on('unhandledRejection', remember)
  const stop = () => {
    process.off('uncaughtException', remember)
    process.off('unhandledRejection', remember)
  }
  return { escaped, stop }
}
