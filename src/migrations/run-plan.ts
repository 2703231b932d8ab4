import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, DatabaseError, escapeIdentifier } from 'pg'
import { MigrationError } from './errors.ts'
import { recordFailed } from './history.ts'
import type { Plan } from './plan.ts'
import { configure, describeOpenTransactions } from './session.ts'
import type { Statement } from './statements.ts'

export interface RunOptions {
  /** How often something is tried when the locks that it needs are not free. */
  attempts: number
  say: (line: string) => void
}

/**
 * Runs a script and records it, on a session that holds the migration lock.
 * @throws {MigrationError} with the line, the server's words and what to do next
 */
export async function runPlan(client: Client, plan: Plan, options: RunOptions): Promise<void> {
  const { before, script, after } = plan
  await configure(client)
  if (script.transactional) {
    await retry(client, plan, options, async () => {
      await client.query(before)
      for (const statement of script.statements) await send(client, statement)
      await client.query(after)
    })
    return
  }
  await retry(client, plan, options, async () => void (await client.query(before)))
  for (const statement of script.statements) {
    await retry(client, plan, options, async () => {
      await dropInvalidIndex(client, statement)
      await send(client, statement)
    })
  }
  await retry(client, plan, options, async () => void (await client.query(after)))
}

/** Carries the place of a failure to the message about it. */
class StatementError extends Error {
  readonly line: number

  constructor(line: number, cause: unknown) {
    super('', { cause })
    this.line = line
  }
}

async function send(client: Client, { sql, line }: Statement): Promise<void> {
  try {
    await client.query(sql)
  } catch (error) {
    const position = error instanceof DatabaseError ? Number(error.position ?? 1) - 1 : 0
    throw new StatementError(line + sql.slice(0, position).split('\n').length - 1, error)
  }
}

async function retry(
  client: Client,
  plan: Plan,
  { attempts, say }: RunOptions,
  work: () => Promise<void>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (thrown) {
      await client.query('ROLLBACK').catch(() => {})
      const error = thrown instanceof StatementError ? thrown.cause : thrown
      if (!isLockTrouble(error) || attempt >= attempts) {
        const place = thrown instanceof StatementError ? `, line ${thrown.line}` : ''
        throw await fail(client, plan, `${plan.file}${place}: ${describe(error)}`, error)
      }
      say(`${plan.file}: locks were not free (${error.message}); trying again, ${attempt + 1} of ${attempts}.`)
      await sleep(attempt * 1000)
    }
  }
}

/** A lock not free in time, or a deadlock: nothing of it is left, and another time it may succeed. */
function isLockTrouble(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && (error.code === '55P03' || error.code === '40P01')
}

/** An index whose concurrent build was interrupted is there but invalid, and IF NOT EXISTS would be content with it. */
async function dropInvalidIndex(client: Client, { node }: Statement): Promise<void> {
  if (!('IndexStmt' in node) || node.IndexStmt.idxname === undefined) return
  const schema = escapeIdentifier(node.IndexStmt.relation?.schemaname ?? 'public')
  const { rows } = await client.query(
    `SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE relname = $1 AND relnamespace = to_regnamespace($2) AND NOT indisvalid`,
    [node.IndexStmt.idxname, schema],
  )
  if (rows.length === 0) return
  await client.query(`DROP INDEX CONCURRENTLY ${schema}.${escapeIdentifier(node.IndexStmt.idxname)}`)
}

async function fail(client: Client, plan: Plan, message: string, cause: unknown): Promise<MigrationError> {
  if (!plan.script.transactional && plan.direction === 'up') {
    // If this fails too, the row is unfinished all the same.
    await client.query(recordFailed(plan.run, message)).catch(() => {})
  }
  return new MigrationError(`${message}\n${await advise(client, plan, cause)}`, { cause })
}

function describe(error: unknown): string {
  if (!(error instanceof DatabaseError)) return `${error instanceof Error ? error.message : String(error)}.`
  const more = [error.detail, error.hint].filter((text) => text !== undefined)
  return [`${error.message} (SQLSTATE ${error.code}).`, ...more].join('\n')
}

async function advise(client: Client, { file, direction, script }: Plan, error: unknown): Promise<string> {
  const again = `npm run db:${direction}`
  // 57P01 and its like: an administrator, a restart or a failover ended the session.
  if (!(error instanceof DatabaseError) || error.code?.startsWith('57P')) {
    return `The connection was lost. The journal tells the truth, whatever it is: see \`npm run db:status\`, then \`${again}\` again.`
  }
  const outcome = script.transactional
    ? 'The database and its journal are as they were before it.'
    : direction === 'up'
      ? 'It ran outside a transaction, so some of it may be there, and it counts as failed. Running it again is safe; `npm run db:down` undoes what is there.'
      : 'It ran outside a transaction, so some of it may be undone, and it counts as failed. Running it again is safe.'
  if (!isLockTrouble(error)) return `${outcome} Correct ${file}, then \`${again}\`.`
  const open = await describeOpenTransactions(client).catch(() => [])
  const whom = open.length === 0 ? '' : ` Open transactions:\n  ${open.join('\n  ')}\n`
  return `${outcome}${whom} When the locks are free: \`${again}\`.`
}
