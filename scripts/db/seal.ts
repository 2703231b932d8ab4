import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readMigrations } from '../../src/migrations/folder.ts'
import type { MigrationManifest, MigrationRecord } from '../../src/migrations/manifest.ts'

/** `sha256sum --check` reads it too. */
const SUMS = 'SHA256SUMS'

/** The migrations that may have been applied where it counts, and so must stay as they are. */
export async function readSeals(folder: string): Promise<MigrationManifest> {
  const text = await readFile(join(folder, SUMS), 'utf8').catch(() => '')
  return [...text.matchAll(/^([0-9a-f]{64}) {2}(.+)\/migration\.sql$/gm)].map(([, checksum = '', name = '']) => ({
    checksum,
    name,
  }))
}

/** Adds the migrations that are not listed yet. A line that is there is never changed. */
export async function sealMigrations(folder: string): Promise<string[]> {
  const seals: readonly MigrationRecord[] = await readSeals(folder)
  const added = (await readMigrations(folder)).filter(({ name }) => !seals.some((seal) => seal.name === name))
  const lines = [...seals, ...added].map(({ name, checksum }) => `${checksum}  ${name}/migration.sql\n`)
  await writeFile(join(folder, SUMS), lines.join(''))
  return added.map(({ name }) => name)
}
