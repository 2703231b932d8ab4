import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MigrationManifest, MigrationRecord } from './manifest.ts'

/** A folder of `prisma/migrations`. */
export interface Migration extends MigrationRecord {
  /** The text of `migration.sql`. */
  up: string
  /** The text of `down.sql`; undefined if there is none. */
  down: string | undefined
}

/** Reads a folder of Prisma migrations, oldest first. For scripts and builds: handlers never read files. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  return Promise.all(
    names.sort().map(async (name) => {
      const up = await readFile(join(folder, name, 'migration.sql'))
      const down = await readFile(join(folder, name, 'down.sql'), 'utf8').catch(() => undefined)
      return { name, checksum: checksumOf(up), up: up.toString('utf8'), down }
    }),
  )
}

/** Reads the names and checksums of a folder of Prisma migrations. */
export async function readManifest(folder: string): Promise<MigrationManifest> {
  const migrations = await readMigrations(folder)
  return migrations.map(({ name, checksum }) => ({ name, checksum }))
}

/** Lower-case hex SHA-256, as in Prisma's journal. */
export function checksumOf(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}
