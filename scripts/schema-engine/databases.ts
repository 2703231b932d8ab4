import pg from 'pg'
import { Connection, schemaOf } from './connection.ts'
import { KnownError } from './errors.ts'

/** Databases from which another one can be created; the last is DigitalOcean's. */
const MAINTENANCE_DATABASES = ['postgres', 'template1', 'defaultdb']

/** Runs `work` on a connection of its own. */
export async function withConnection<T>(url: URL, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.open(url)
  try {
    return await work(connection)
  } finally {
    await connection.dispose()
  }
}

/** The same server, another database. */
export function withDatabase(url: URL, name: string): URL {
  const other = new URL(url)
  other.pathname = `/${encodeURIComponent(name)}`
  return other
}

/**
 * Creates the database that `url` names, and its schema.
 * @returns the database's name
 * @throws {KnownError} P1009 if somebody else has just created it, P3000 if there is no database to create it from
 */
export async function createDatabase(url: URL): Promise<string> {
  const name = decodeURIComponent(url.pathname.slice(1))
  const created = await createFromMaintenanceDatabase(url, name)
  const schema = pg.escapeIdentifier(schemaOf(url))
  await withConnection(url, (connection) => connection.execute(`CREATE SCHEMA IF NOT EXISTS ${schema}`))
  if (!created) throw new KnownError('P1009', `Database \`${name}\` already exists on the database server`)
  return name
}

async function createFromMaintenanceDatabase(url: URL, name: string): Promise<boolean> {
  for (const maintenance of MAINTENANCE_DATABASES) {
    try {
      await withConnection(withDatabase(url, maintenance), (connection) =>
        connection.execute(`CREATE DATABASE ${pg.escapeIdentifier(name)}`),
      )
      return true
    } catch (error) {
      if (error instanceof KnownError && (error.code === 'P1003' || error.code === 'P1010')) continue
      // unique_violation: two created it at the same moment.
      if (error instanceof pg.DatabaseError && (error.code === '42P04' || error.code === '23505')) return false
      throw error
    }
  }
  throw new KnownError(
    'P3000',
    'Failed to create database: Prisma could not connect to a default database (`postgres` or `template1`), it cannot create the specified database.',
  )
}
