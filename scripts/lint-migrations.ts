// `npm run check`: what a migration must not do to a database that is in use. Exits with 1 and one line for each problem.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { MigrationError } from '../src/migrations/errors.ts'
import { type Migration, readMigrations } from '../src/migrations/folder.ts'
import { isRepeatable, readScript, type Script, type Statement } from '../src/migrations/statements.ts'
import { TO_DO } from './db/create.ts'
import { readSeals } from './db/seal.ts'

const root = resolve(import.meta.dirname, '..')
const { positionals } = parseArgs({ allowPositionals: true })
const folder = resolve(positionals[0] ?? join(root, 'prisma/migrations'))
const problems: string[] = []
/** For squawk, which wants to know which files are run in a transaction. */
const files: { path: string; transactional: boolean }[] = []

const migrations = await readMigrations(folder)
checkSeals(migrations, await readSeals(folder))
for (const migration of migrations) await checkMigration(migration)
const squawkFound = runSquawk()

for (const problem of problems) console.error(problem)
if (problems.length > 0 || squawkFound) process.exitCode = 1
else console.log(`${migrations.length} migrations are fit to run, and to be undone.`)

function checkSeals(known: readonly Migration[], seals: readonly { name: string; checksum: string }[]): void {
  for (const { name, checksum } of seals) {
    const found = known.find((migration) => migration.name === name)
    if (found === undefined) problems.push(`${name}: is sealed but not here. Databases may have it: put it back.`)
    else if (found.checksum !== checksum) {
      problems.push(`${name}/migration.sql: edited after it was sealed. Restore its text and write a new migration.`)
    }
  }
  for (const { name } of known.filter((migration) => !seals.some((seal) => seal.name === migration.name))) {
    problems.push(`${name}: not sealed. When it is finished: npm run db:seal`)
  }
}

async function checkMigration({ name, up, down }: Migration): Promise<void> {
  if (!/^\d{14}_[a-z0-9_]+$/.test(name)) problems.push(`${name}: should be called <yyyymmddhhmmss>_<lower_snake_case>.`)
  const upScript = await checkScript(`${name}/migration.sql`, up)
  for (const statement of upScript?.statements ?? []) {
    if (dropsSomething(statement) && !/^\s*-- drops: \S/m.test(statement.comment)) {
      problems.push(`${name}/migration.sql, line ${statement.line}: a drop needs its reason above it: "-- drops: ...".`)
    }
  }
  const file = `${name}/down.sql`
  if (down === undefined) return void problems.push(`${file}: missing; there must be a way back.`)
  const downScript = await checkScript(file, down)
  if (downScript?.statements.length === 0) problems.push(`${file}: empty; there must be a way back.`)
  // An up that stopped half way is undone by the same script.
  if (upScript?.transactional !== false) return
  for (const { node, line } of downScript?.statements ?? []) {
    if (!isRepeatable(node)) {
      problems.push(
        `${file}, line ${line}: it may find half a migration, which ran outside a transaction: add IF EXISTS.`,
      )
    }
  }
}

async function checkScript(file: string, text: string): Promise<Script | undefined> {
  for (const [index, line] of text.split('\n').entries()) {
    if (line.includes(TO_DO)) problems.push(`${file}, line ${index + 1}: ${line.trim()}`)
    if (/--\s*squawk-ignore/.test(line) && !/--\s*squawk-ignore.*\s-- \S/.test(line)) {
      problems.push(`${file}, line ${index + 1}: an exception needs its reason: "-- squawk-ignore RULE -- reason".`)
    }
  }
  try {
    const script = await readScript(file, text)
    files.push({ path: join(folder, file), transactional: script.transactional })
    return script
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error
    problems.push(error.message)
    return undefined
  }
}

function dropsSomething({ node }: Statement): boolean {
  if ('DropStmt' in node || 'TruncateStmt' in node) return true
  if (!('AlterTableStmt' in node)) return false
  return (node.AlterTableStmt.cmds ?? []).some(
    (command) => 'AlterTableCmd' in command && command.AlterTableCmd.subtype === 'AT_DropColumn',
  )
}

/** @returns whether it found anything; what, it prints itself */
function runSquawk(): boolean {
  const squawk = createRequire(import.meta.url).resolve('squawk-cli/js/bin/squawk')
  return [true, false].some((transactional) => {
    const paths = files.filter((file) => file.transactional === transactional).map(({ path }) => relative(root, path))
    if (paths.length === 0) return false
    const mode = transactional ? '--assume-in-transaction' : '--no-assume-in-transaction'
    const { status, error } = spawnSync(process.execPath, [squawk, mode, ...paths], { cwd: root, stdio: 'inherit' })
    if (error !== undefined) throw error
    return status !== 0
  })
}
