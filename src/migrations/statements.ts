import { type Node, parse, SqlError } from 'libpg-query'
import { MigrationError } from './errors.ts'

export interface Statement {
  /** Without the semicolon. */
  sql: string
  /** Of its first word, from 1. */
  line: number
  /** The comments between the statement before and this one. */
  comment: string
  node: Node
}

/** A `migration.sql` or `down.sql`, as PostgreSQL's own parser reads it. */
export interface Script {
  text: string
  statements: readonly Statement[]
  /** False if it is one statement that PostgreSQL runs outside a transaction only, e.g. `CREATE INDEX CONCURRENTLY`. */
  transactional: boolean
}

/**
 * Reads a script and makes sure that it can be run whole or again.
 * @param name for messages, e.g. `20260105090000_create_users/down.sql`
 * @throws {MigrationError} on a syntax error; on BEGIN or COMMIT, which would end the transaction that the runner opens;
 *   and if a statement that cannot run in a transaction is not alone, or could not be repeated after a failure
 */
export async function readScript(name: string, text: string): Promise<Script> {
  const statements = await split(name, text)
  for (const { node, line } of statements) {
    if ('TransactionStmt' in node && !/SAVEPOINT|ROLLBACK_TO|RELEASE/.test(node.TransactionStmt.kind ?? '')) {
      throw new MigrationError(
        `${name}, line ${line}: take BEGIN, COMMIT and ROLLBACK out; a transaction is opened for you.`,
      )
    }
  }
  const alone = statements.find(({ node }) => runsOutsideTransactions(node))
  if (alone === undefined) return { text, statements, transactional: true }
  if (statements.length > 1) {
    throw new MigrationError(
      `${name}, line ${alone.line}: it cannot run in a transaction, so a failure would leave half of this file. Give it a migration of its own.`,
    )
  }
  if (!isRepeatable(alone.node)) {
    throw new MigrationError(
      `${name}, line ${alone.line}: it runs outside a transaction, so it must be possible to run it again: add IF NOT EXISTS or IF EXISTS.`,
    )
  }
  return { text, statements, transactional: false }
}

async function split(name: string, text: string): Promise<Statement[]> {
  if (text.trim() === '') return []
  // The parser counts bytes.
  const bytes = Buffer.from(text)
  let end = 0
  try {
    const { stmts = [] } = await parse(text)
    return stmts.flatMap(({ stmt, stmt_location: start = 0, stmt_len: length }) => {
      const comment = bytes.toString('utf8', end, start).replace(/^;/, '')
      end = length === undefined ? bytes.length : start + length
      const line = bytes.toString('utf8', 0, start).split('\n').length
      return stmt === undefined ? [] : [{ sql: bytes.toString('utf8', start, end), line, comment, node: stmt }]
    })
  } catch (error) {
    if (!(error instanceof SqlError)) throw error
    const line = text.slice(0, error.sqlDetails?.cursorPosition ?? 0).split('\n').length
    throw new MigrationError(`${name}, line ${line}: ${error.message}.`)
  }
}

/** Source: the callers of `PreventInTransactionBlock` in PostgreSQL 18. */
function runsOutsideTransactions(node: Node): boolean {
  if ('IndexStmt' in node) return node.IndexStmt.concurrent === true
  if ('DropStmt' in node) return node.DropStmt.concurrent === true
  if ('ReindexStmt' in node) {
    const concurrently = node.ReindexStmt.params?.some((p) => 'DefElem' in p && p.DefElem.defname === 'concurrently')
    return concurrently === true || /SCHEMA|SYSTEM|DATABASE/.test(node.ReindexStmt.kind ?? '')
  }
  if ('VacuumStmt' in node) return node.VacuumStmt.is_vacuumcmd === true
  if ('ClusterStmt' in node) return node.ClusterStmt.relation === undefined
  if ('AlterTableStmt' in node) {
    return (node.AlterTableStmt.cmds ?? []).some((command) => {
      const change = 'AlterTableCmd' in command ? command.AlterTableCmd.def : undefined
      return change !== undefined && 'PartitionCmd' in change && change.PartitionCmd.concurrent === true
    })
  }
  return (
    'AlterSystemStmt' in node ||
    'CreatedbStmt' in node ||
    'DropdbStmt' in node ||
    'CreateTableSpaceStmt' in node ||
    'DropTableSpaceStmt' in node ||
    'CreateSubscriptionStmt' in node ||
    'DropSubscriptionStmt' in node
  )
}

/** Whether running a statement again, after it was done or half done, is as good as running it once. */
export function isRepeatable(node: Node): boolean {
  if ('IndexStmt' in node) return node.IndexStmt.if_not_exists === true && node.IndexStmt.idxname !== undefined
  if ('DropStmt' in node) return node.DropStmt.missing_ok === true
  return ['ReindexStmt', 'VacuumStmt', 'ClusterStmt', 'AlterSystemStmt'].some((kind) => kind in node)
}
