import type { ProbeQuery } from '../db/database.ts'
import type { MigrationManifest } from './manifest.ts'

export interface MigrationState {
  /** The newest migration that is applied, or null. */
  current: string | null
  /** How many are applied. */
  applied: number
  /** Names that this build has and the database has not (or not completely). */
  pending: string[]
  /** Names whose text has changed since they were applied. */
  modified: string[]
}

/** Compares Prisma's journal with the migrations of this build. A database without a journal has none applied. */
export async function compareWithJournal(query: ProbeQuery, manifest: MigrationManifest): Promise<MigrationState> {
  const applied = await readApplied(query)
  return {
    current: [...applied.keys()].at(-1) ?? null,
    applied: applied.size,
    pending: manifest.filter(({ name }) => !applied.has(name)).map(({ name }) => name),
    modified: manifest
      .filter(({ name, checksum }) => applied.has(name) && applied.get(name) !== checksum)
      .map(({ name }) => name),
  }
}

/** The checksums of the applied migrations by name, in the order of their names. */
async function readApplied(query: ProbeQuery): Promise<Map<string, string>> {
  const [[exists] = []] = await query(`SELECT to_regclass('_prisma_migrations') IS NOT NULL`)
  if (exists !== true) return new Map()
  const rows = await query(`
    SELECT migration_name, checksum
    FROM _prisma_migrations
    WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL
    ORDER BY migration_name`)
  return new Map(rows.map(([name, checksum]) => [String(name), String(checksum)]))
}
