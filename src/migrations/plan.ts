import { randomUUID } from 'node:crypto'
import { MigrationError } from './errors.ts'
import { checksumOf, type Migration } from './folder.ts'
import {
  type Run,
  recordApplied,
  recordFinished,
  recordStarted,
  recordUndoing,
  recordUndoingFinished,
  recordUndone,
} from './history.ts'
import { readScript, type Script } from './statements.ts'

export type Direction = 'up' | 'down'

/** What it takes to run one script and keep the journal truthful about it. */
export interface Plan {
  run: Run
  direction: Direction
  /** For messages, e.g. `20260105090000_create_users/down.sql`. */
  file: string
  script: Script
  /** Sent before the script's statements: opens their transaction, or records that they have begun. */
  before: string
  /** Sent after them: the record of what was done, in the same transaction if there is one. */
  after: string
}

/** A migration never queues for longer behind a transaction of the site, since all others would queue behind it. */
export const LOCK_TIMEOUT_MS = 3000

/** @throws {MigrationError} if the script is missing, empty, or cannot be run safely: see {@link readScript} */
export async function planMigration(
  migration: Migration,
  direction: Direction,
  lockTimeoutMs = LOCK_TIMEOUT_MS,
): Promise<Plan> {
  const up = direction === 'up'
  const file = `${migration.name}/${up ? 'migration.sql' : 'down.sql'}`
  const text = up ? migration.up : migration.down
  if (text === undefined) throw noWayBack(file, 'missing')
  const script = await readScript(file, text)
  if (!up && script.statements.length === 0) throw noWayBack(file, 'empty')

  const run = { id: randomUUID(), name: migration.name, checksum: up ? migration.checksum : checksumOf(text) }
  const plan = { run, direction, file, script }
  if (script.transactional) {
    const before = `BEGIN;\nSET LOCAL lock_timeout TO '${lockTimeoutMs}ms';`
    return { ...plan, before, after: `${up ? recordApplied(run) : recordUndone(run)}\nCOMMIT;` }
  }
  // Until the last statement is done, the journal says that the migration has not finished.
  if (up) return { ...plan, before: recordStarted(run), after: recordFinished(run) }
  return { ...plan, before: inTransaction(recordUndoing(run)), after: inTransaction(recordUndoingFinished(run)) }
}

const inTransaction = (sql: string) => `BEGIN;\n${sql}\nCOMMIT;`

const noWayBack = (file: string, state: string) =>
  new MigrationError(`${file} is ${state}, so there is no way back: write it, or restore the database from a backup.`)
