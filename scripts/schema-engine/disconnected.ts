import { ColumnTypeEnum, type SqlDriverAdapter } from '@prisma/driver-adapter-utils'
import { NO_DATABASE } from '../database-url.ts'

const noDatabase = (): never => {
  throw new Error(NO_DATABASE)
}

/**
 * Stands where a connection would when there is nothing to connect to: unlike the native engine, the WebAssembly one
 * wants to know its server's version even to compare two files. It is told of the newest PostgreSQL that it knows.
 */
export const disconnected: SqlDriverAdapter = {
  provider: 'postgres',
  adapterName: 'schema-engine-disconnected',
  async queryRaw({ sql }) {
    if (!sql.includes("current_setting('server_version_num')")) return noDatabase()
    return {
      columnNames: ['exists', 'version', 'numeric_version'],
      columnTypes: [ColumnTypeEnum.Boolean, ColumnTypeEnum.Text, ColumnTypeEnum.Int32],
      rows: [[true, 'PostgreSQL 18.0', 180_000]],
    }
  },
  executeRaw: noDatabase,
  executeScript: noDatabase,
  startTransaction: noDatabase,
  getConnectionInfo: () => ({ schemaName: 'public', supportsRelationJoins: true }),
  dispose: async () => {},
}
