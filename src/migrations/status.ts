import type { Migration } from './folder.ts'
import type { JournalEntry } from './history.ts'

export interface MigrationStatus {
  name: string
  state: 'pending' | JournalEntry['state']
  /** Undefined: applied, but not in this folder. */
  migration: Migration | undefined
  /** Undefined: not in the journal. */
  entry: JournalEntry | undefined
  /** Applied with another text than the folder has. */
  modified: boolean
}

/** Every migration that the folder or the journal knows, oldest first. */
export function compareMigrations(
  migrations: readonly Migration[],
  journal: readonly JournalEntry[],
): MigrationStatus[] {
  const names = [...new Set([...migrations, ...journal].map(({ name }) => name))].sort()
  return names.map((name) => {
    const migration = migrations.find((candidate) => candidate.name === name)
    const entries = journal.filter((candidate) => candidate.name === name)
    // Prisma, too, takes one unfinished row for a failed migration, whatever other rows there are.
    const entry = entries.find(({ state }) => state !== 'applied') ?? entries.at(-1)
    const state = entry?.state ?? 'pending'
    const modified = state === 'applied' && migration !== undefined && entry?.checksum !== migration.checksum
    return { name, state, migration, entry, modified }
  })
}
