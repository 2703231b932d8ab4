import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import type { DatabaseConfig } from '../config.ts'
import type { Driver, DriverClient, DriverQueryConstructor } from './driver.ts'
import { defineStatement } from './statement.ts'

export { PrismaPg as PrismaAdapterFactory }

/** node-postgres: PostgreSQL's protocol over TCP. */
export async function createDriver(config: DatabaseConfig): Promise<Driver> {
  return {
    // The casts are for what the declared types leave out; see driver.ts.
    Statement: defineStatement(pg.Query as unknown as DriverQueryConstructor),
    createClient: () => new pg.Client({ connectionString: config.url, keepAlive: true }) as unknown as DriverClient,
    destroy: (client) => client.connection.stream.destroy(),
  }
}
