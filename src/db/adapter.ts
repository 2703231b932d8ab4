import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import type { DatabaseConfig } from '../config.ts'
import type { Driver } from './driver.ts'
import type { PooledClient } from './pooled-client.ts'

export interface Transport {
  driver: Driver
  /** Prisma's adapter of this driver: it converts values, and knows nothing of the pool it runs on. */
  adapterFactory: SqlDriverAdapterFactory
}

/** Loads one of the two drivers; the other one's module is not touched. */
export async function loadTransport(config: DatabaseConfig): Promise<Transport> {
  const { createDriver, PrismaAdapterFactory } =
    config.transport === 'tcp' ? await import('./transport-tcp.ts') : await import('./transport-websocket.ts')
  return { driver: await createDriver(config), adapterFactory: new PrismaAdapterFactory({}) }
}

/**
 * Prisma's adapter with our pool slid under it. Its statements, transactions and errors are those of the pool;
 * disposing of it leaves the pool alone, which outlives any client.
 */
export function pooledAdapter(transport: Promise<Transport>, client: PooledClient): SqlDriverAdapterFactory {
  return {
    provider: 'postgres',
    adapterName: 'pooled',
    async connect() {
      const adapter = await (await transport).adapterFactory.connect()
      // Both adapters keep the driver's pool in `client`; the one replaced here has not opened anything.
      return Object.assign(adapter, { client, dispose: async () => {} })
    },
  }
}
