import { type Client, escapeLiteral } from 'pg'

/** Prisma's journal, as Prisma creates it. https://github.com/prisma/prisma-engines, migration persistence */
export const JOURNAL_DDL = `CREATE TABLE IF NOT EXISTS public._prisma_migrations (
  id                  varchar(36)  PRIMARY KEY NOT NULL,
  checksum            varchar(64)  NOT NULL,
  finished_at         timestamptz,
  migration_name      varchar(255) NOT NULL,
  logs                text,
  rolled_back_at      timestamptz,
  started_at          timestamptz  NOT NULL DEFAULT now(),
  applied_steps_count integer      NOT NULL DEFAULT 0
);`

/**
 * What Prisma's journal cannot hold: what was undone. A schema of its own, because Prisma takes an unknown table in
 * `public` for drift and `prisma migrate reset` removes it.
 */
export const HISTORY_DDL = `CREATE SCHEMA IF NOT EXISTS migration_history;
CREATE TABLE IF NOT EXISTS migration_history.runs (
  id             bigint       PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  migration_name varchar(255) NOT NULL,
  direction      text         NOT NULL CHECK (direction IN ('up', 'down', 'reset')),
  checksum       varchar(64)  NOT NULL,
  started_at     timestamptz  NOT NULL,
  finished_at    timestamptz,
  logs           text
);`

/** In `logs` of a journal row while `down.sql` runs outside a transaction; what is left if it is interrupted. */
const UNDOING = 'Being undone by db:down, which did not finish.'

export interface JournalEntry {
  name: string
  checksum: string
  /** `failed`: begun and not finished, as Prisma has it; `undoing`: the same on the way down. */
  state: 'applied' | 'failed' | 'undoing'
  startedAt: Date
  /** What the server said when it failed; empty if the runner was killed. */
  logs: string
}

/** The journal's rows that count: neither undone nor resolved as rolled back. Empty if there is no journal. */
export async function readJournal(client: Client): Promise<JournalEntry[]> {
  if (!(await exists(client, 'public._prisma_migrations'))) return []
  const { rows } = await client.query<JournalEntry>(
    `SELECT migration_name AS name, checksum, started_at AS "startedAt", coalesce(logs, '') AS logs,
            CASE WHEN finished_at IS NOT NULL THEN 'applied' WHEN logs = $1 THEN 'undoing' ELSE 'failed' END AS state
     FROM public._prisma_migrations
     WHERE rolled_back_at IS NULL
     ORDER BY migration_name, started_at`,
    [UNDOING],
  )
  return rows
}

export interface HistoryEntry {
  name: string
  direction: 'up' | 'down' | 'reset'
  checksum: string
  startedAt: Date
  /** Null: it failed or was interrupted. */
  durationMs: number | null
  logs: string | null
}

/** All that was done to the database, by these commands or by Prisma's, oldest first. */
export async function readHistory(client: Client): Promise<HistoryEntry[]> {
  const sources = []
  if (await exists(client, 'public._prisma_migrations')) {
    sources.push(`SELECT migration_name, 'up' AS direction, checksum, started_at, finished_at, logs, 0 AS id
                  FROM public._prisma_migrations`)
  }
  if (await exists(client, 'migration_history.runs')) {
    sources.push(`SELECT migration_name, direction, checksum, started_at, finished_at, logs, id
                  FROM migration_history.runs`)
  }
  if (sources.length === 0) return []
  const { rows } = await client.query<HistoryEntry>(
    `SELECT migration_name AS name, direction, checksum, started_at AS "startedAt", logs,
            (extract(epoch FROM finished_at - started_at) * 1000)::float8 AS "durationMs"
     FROM (${sources.join(' UNION ALL ')}) AS run
     ORDER BY started_at, migration_name, id`,
  )
  return rows
}

async function exists(client: Client, table: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [table])
  return rows[0]?.found === true
}

export interface Run {
  /** Of the journal's row. */
  id: string
  name: string
  /** Of the script that runs. */
  checksum: string
}

const quoted = (run: Run) => ({
  id: escapeLiteral(run.id),
  name: escapeLiteral(run.name),
  checksum: escapeLiteral(run.checksum),
})

/** For the end of the transaction that a script runs in. */
export function recordApplied(run: Run): string {
  const { id, name, checksum } = quoted(run)
  return `INSERT INTO public._prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
VALUES (${id}, ${checksum}, ${name}, now(), clock_timestamp(), 1);`
}

/** As Prisma does, for a script that no transaction holds together. */
export function recordStarted(run: Run): string {
  const { id, name, checksum } = quoted(run)
  return `INSERT INTO public._prisma_migrations (id, checksum, migration_name) VALUES (${id}, ${checksum}, ${name});`
}

export function recordFinished(run: Run): string {
  return `UPDATE public._prisma_migrations SET finished_at = clock_timestamp(), applied_steps_count = 1 WHERE id = ${quoted(run).id};`
}

export function recordFailed(run: Run, message: string): string {
  return `UPDATE public._prisma_migrations SET logs = ${escapeLiteral(message)} WHERE id = ${quoted(run).id};`
}

/** What `prisma migrate resolve --rolled-back` does. */
export function recordRolledBack(name: string): string {
  return `UPDATE public._prisma_migrations SET rolled_back_at = now()
WHERE migration_name = ${escapeLiteral(name)} AND finished_at IS NULL AND rolled_back_at IS NULL;`
}

/** Takes the journal's rows of a migration over into the history, so that Prisma finds it pending again. */
function forget(name: string): string {
  const quotedName = escapeLiteral(name)
  return `INSERT INTO migration_history.runs (migration_name, direction, checksum, started_at, finished_at, logs)
SELECT migration_name, CASE logs WHEN '${UNDOING}' THEN 'down' ELSE 'up' END, checksum, started_at, finished_at, logs
FROM public._prisma_migrations WHERE migration_name = ${quotedName} ORDER BY started_at;
DELETE FROM public._prisma_migrations WHERE migration_name = ${quotedName};`
}

/** For the end of the transaction that a `down.sql` runs in. */
export function recordUndone(run: Omit<Run, 'id'>, direction: 'down' | 'reset' = 'down'): string {
  return `${forget(run.name)}
INSERT INTO migration_history.runs (migration_name, direction, checksum, started_at, finished_at)
VALUES (${escapeLiteral(run.name)}, '${direction}', ${escapeLiteral(run.checksum)}, now(), clock_timestamp());`
}

/** For the start of a `down.sql` that no transaction holds together: until it is done, Prisma finds a failed migration. */
export function recordUndoing(run: Run): string {
  const { id, name, checksum } = quoted(run)
  return `${forget(run.name)}
INSERT INTO public._prisma_migrations (id, checksum, migration_name, logs) VALUES (${id}, ${checksum}, ${name}, '${UNDOING}');`
}

export function recordUndoingFinished(run: Run): string {
  return `UPDATE public._prisma_migrations SET finished_at = clock_timestamp() WHERE id = ${quoted(run).id};
${forget(run.name)}`
}
