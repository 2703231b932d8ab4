import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { Connection, schemaOf } from './connection.ts'
import { withConnection, withDatabase } from './databases.ts'
import { KnownError, messageOf } from './errors.ts'

/**
 * Creates a database in which the engine can replay the migrations, to see what they make. Closing the connection
 * removes it.
 * @throws {KnownError} P3014 when it cannot be created
 */
export async function createShadowDatabase(url: URL): Promise<Connection> {
  const name = `prisma_migrate_shadow_db_${randomUUID()}`
  const drop = () =>
    // FORCE, because a session whose connection has just been closed may linger.
    withConnection(url, (connection) => connection.execute(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`))
  try {
    await withConnection(url, (connection) => connection.execute(`CREATE DATABASE "${name}"`))
  } catch (error) {
    const code = error instanceof KnownError ? `Error code: ${error.code}\n` : ''
    throw new KnownError(
      'P3014',
      `Prisma Migrate could not create the shadow database. Please make sure the database user has permission to create databases. Read more about the shadow database (and workarounds) at https://pris.ly/d/migrate-shadow\n\nOriginal error: ${code}\n${messageOf(error)}`,
    )
  }
  try {
    return await Connection.open(withDatabase(url, name), drop)
  } catch (error) {
    await drop()
    throw error
  }
}

/**
 * Connects to a shadow database that the user keeps, and empties its schema; it is left in place afterwards.
 * @throws {Error} when it is the main database
 */
export async function openShadowDatabase(url: URL, main: URL | undefined): Promise<Connection> {
  if (main !== undefined && isSameSchema(url, main)) {
    throw new Error(
      'The shadow database you configured appears to be the same as the main database. Please specify another shadow database.',
    )
  }
  const connection = await Connection.open(url)
  const schema = pg.escapeIdentifier(schemaOf(url))
  await connection.execute(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
  await connection.execute(`CREATE SCHEMA ${schema}`)
  return connection
}

function isSameSchema(a: URL, b: URL): boolean {
  const place = (url: URL) => [url.host, url.searchParams.get('host'), url.pathname, schemaOf(url)].join()
  return place(a) === place(b)
}
