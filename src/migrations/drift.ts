import { randomBytes } from 'node:crypto'
import { type Client, DatabaseError } from 'pg'
import { type CatalogObject, describeCatalog } from './catalog.ts'
import { MigrationError } from './errors.ts'
import type { Migration } from './folder.ts'
import { readJournal } from './history.ts'
import { withSession } from './session.ts'
import { readScript } from './statements.ts'
import { compareMigrations } from './status.ts'

export interface Difference {
  kind: string
  name: string
  /** What the migrations make it; undefined: they do not make it. */
  expected: string | undefined
  /** What the database has; undefined: it has none. */
  actual: string | undefined
}

export interface Drift {
  differences: Difference[]
  /** Not applied, and so not expected. */
  pending: string[]
  /** Begun and never finished; the database is as it was before or as it should be after, or neither. */
  unfinished?: { name: string; database: 'before' | 'after' | 'neither' }
}

interface DriftOptions {
  /** Direct, and of a role that may create databases. */
  url: string
  migrations: readonly Migration[]
  say: (line: string) => void
}

/**
 * Compares a database with what the applied migrations make of an empty one, which is created beside it on the same
 * server for as long as this takes.
 * @throws {MigrationError} if there is no permission to create a database, if an applied migration is not in the folder,
 *   or if the migrations cannot be run from the beginning
 */
export async function findDrift({ url, migrations, say }: DriftOptions): Promise<Drift> {
  return withSession({ url, say }, async (client) => {
    const statuses = compareMigrations(migrations, await readJournal(client))
    const applied = statuses.filter(({ state }) => state === 'applied')
    const gone = applied.find(({ migration }) => migration === undefined)
    if (gone !== undefined) {
      throw new MigrationError(
        `${gone.name} is applied but not in prisma/migrations: check out the revision that has it.`,
      )
    }
    const actual = await describeCatalog(client)
    const unfinished = statuses.find(({ state }) => state === 'failed')
    return withShadow(client, url, async (shadow) => {
      for (const { migration } of applied) if (migration !== undefined) await applyScript(shadow, migration)
      const differences = compare(await describeCatalog(shadow), actual)
      const pending = statuses.filter(({ state }) => state === 'pending').map(({ name }) => name)
      if (unfinished?.migration === undefined) return { differences, pending }
      await applyScript(shadow, unfinished.migration)
      const after = compare(await describeCatalog(shadow), actual)
      const database = differences.length === 0 ? 'before' : after.length === 0 ? 'after' : 'neither'
      return { differences, pending, unfinished: { name: unfinished.name, database } }
    })
  })
}

const SHADOW_PREFIX = 'migration_shadow_'
const SHADOW_LIFE_SECONDS = 3600

async function withShadow<Result>(
  client: Client,
  url: string,
  work: (shadow: Client) => Promise<Result>,
): Promise<Result> {
  await dropAbandonedShadows(client)
  const name = `${SHADOW_PREFIX}${Math.floor(Date.now() / 1000)}_${randomBytes(4).toString('hex')}`
  try {
    await client.query(`CREATE DATABASE ${name}`)
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    throw new MigrationError(
      `A database to compare with could not be created on this server: ${error.message}. Use the URL of a role with CREATEDB.`,
      { cause: error },
    )
  }
  try {
    return await withSession({ url: Object.assign(new URL(url), { pathname: `/${name}` }).href, say: () => {} }, work)
  } finally {
    await dropShadow(client, name)
  }
}

/** Those of runs that were killed; their names say when they began. */
async function dropAbandonedShadows(client: Client): Promise<void> {
  const { rows } = await client.query<{ datname: string }>(
    `SELECT datname FROM pg_database
     WHERE datname ~ '^${SHADOW_PREFIX}[0-9]+_'
       AND split_part(datname, '_', 3)::bigint < extract(epoch FROM now()) - $1 AND pg_has_role(datdba, 'USAGE')`,
    [SHADOW_LIFE_SECONDS],
  )
  for (const { datname } of rows) await dropShadow(client, datname)
}

async function dropShadow(client: Client, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
}

async function applyScript(client: Client, { name, up }: Migration): Promise<void> {
  const script = await readScript(`${name}/migration.sql`, up)
  try {
    if (script.transactional) await client.query(up)
    else for (const { sql } of script.statements) await client.query(sql)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new MigrationError(`The migrations cannot be run from the beginning: ${name}: ${reason}.`, { cause: error })
  }
}

function compare(expected: readonly CatalogObject[], actual: readonly CatalogObject[]): Difference[] {
  const keyOf = ({ kind, name }: CatalogObject) => `${kind} ${name}`
  const expectedByKey = new Map(expected.map((object) => [keyOf(object), object]))
  const actualByKey = new Map(actual.map((object) => [keyOf(object), object]))
  return [...new Map([...expectedByKey, ...actualByKey])]
    .map(([key, { kind, name }]) => ({
      kind,
      name,
      expected: expectedByKey.get(key)?.definition,
      actual: actualByKey.get(key)?.definition,
    }))
    .filter((difference) => difference.expected !== difference.actual)
    .sort((a, b) => (`${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1))
}
