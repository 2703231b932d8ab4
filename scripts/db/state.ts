import { type HistoryEntry, readHistory, readJournal } from '../../src/migrations/history.ts'
import type { MigrateOptions } from '../../src/migrations/migrate.ts'
import { withSession } from '../../src/migrations/session.ts'
import { compareMigrations, type MigrationStatus } from '../../src/migrations/status.ts'

export async function readState(options: MigrateOptions): Promise<MigrationStatus[]> {
  return withSession(options, async (client) => compareMigrations(options.migrations, await readJournal(client)))
}

/** One line for each migration, then what to do. `clean`: all are applied as they are written. */
export function formatStatus(statuses: readonly MigrationStatus[]): { text: string; clean: boolean } {
  const lines = statuses.map((status) => {
    const when = status.entry === undefined ? '' : `  ${formatTime(status.entry.startedAt)}`
    return `${describeState(status).padEnd(8)}  ${status.name}${when}`
  })
  const advice = [
    ...(statuses.some(({ state }) => state === 'pending') ? ['Apply what is pending: npm run db:up'] : []),
    ...(statuses.some(({ state }) => state === 'failed') ? ['Try again, or learn what to do: npm run db:up'] : []),
    ...(statuses.some(({ state }) => state === 'undoing') ? ['Finish undoing: npm run db:down'] : []),
    ...(statuses.some(({ modified }) => modified)
      ? ['Restore the text of what was edited and write a new migration; in development: npm run db:redo or db:reset']
      : []),
    ...(statuses.some(({ migration }) => migration === undefined)
      ? ['What is missing was applied from another revision of this folder: check that out to undo it.']
      : []),
  ]
  const verdict = advice.length === 0 ? ['All migrations are applied.'] : advice
  return { text: [...lines, '', ...verdict].join('\n'), clean: advice.length === 0 }
}

function describeState({ state, modified, migration }: MigrationStatus): string {
  if (migration === undefined) return 'missing'
  return modified ? 'edited' : state
}

/** All that was done, oldest first. */
export async function formatHistory(options: MigrateOptions): Promise<string> {
  const entries = await withSession(options, readHistory)
  if (entries.length === 0) return 'Nothing was ever done to this database.'
  return entries
    .map((entry) => {
      const took = entry.durationMs === null ? 'failed' : `${Math.round(entry.durationMs)} ms`
      return [
        formatTime(entry.startedAt),
        entry.direction.padEnd(5),
        took.padStart(9),
        `sha256:${entry.checksum.slice(0, 12)}`,
        entry.name,
      ].join('  ')
    })
    .join('\n')
}

const formatTime = (time: HistoryEntry['startedAt']) => time.toISOString().replace(/\.\d+Z$/, 'Z')
