import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MigrationError } from '../../src/migrations/errors.ts'
import { readMigrations } from '../../src/migrations/folder.ts'

export interface NewMigration {
  folder: string
  /** Free text; becomes `lower_snake_case`. */
  name: string
  /** Direct, and of a role that may create databases: the old schema is built in one of its own. */
  url: string
}

/** Stands in a generated file until a person has looked; `npm run check` refuses it. */
export const TO_DO = '-- TODO:'

/**
 * Writes a new pair of scripts from the difference between the migrations and `schema.prisma`.
 * @returns what was made and what to do next
 * @throws {MigrationError} with Prisma's words if it cannot tell the difference
 */
export async function createMigration({ folder, name, url }: NewMigration): Promise<string> {
  const title = name
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '')
  if (title === '') throw new MigrationError('Give the new migration a name: npm run db:create -- add_order_note')
  const schema = join(folder, '../schema.prisma')
  const [up, down] = await Promise.all([
    diff(['--from-migrations', folder, '--to-schema', schema], url),
    diff(['--from-schema', schema, '--to-migrations', folder], url),
  ])

  const existing = await readMigrations(folder)
  const directory = `${nextTimestamp(existing.at(-1)?.name)}_${title}`
  // Half a folder would be a broken migration to anyone who looks at this moment.
  const draft = await mkdtemp(join(dirname(folder), '.migration-'))
  await writeFile(join(draft, 'migration.sql'), `${up === '' ? EMPTY_UP : up}`)
  await writeFile(join(draft, 'down.sql'), `${down === '' ? '' : `${down}\n`}${BY_HAND}`)
  await mkdir(folder, { recursive: true })
  await rename(draft, join(folder, directory))
  return `Created prisma/migrations/${directory}
  migration.sql  ${up === '' ? 'empty: the schema is what the migrations make, so this one is written by hand' : 'from the change of the schema'}
  down.sql       ${down === '' ? 'empty: to be written by hand' : 'the way back, generated'}
Read both and see to the lines marked TODO, then: npm run db:up && npm run generate`
}

const EMPTY_UP = `${TO_DO} write what Prisma's schema cannot say (triggers, functions, CHECKs, data), or delete this folder.\n`
const BY_HAND = `${TO_DO} undo here what you add to migration.sql by hand (triggers, functions, CHECKs, data); then delete this line.\n`

/** The SQL between two schemas; empty if there is none. */
async function diff(fromAndTo: readonly string[], url: string): Promise<string> {
  const prisma = createRequire(import.meta.url).resolve('prisma/build/index.js')
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const env = { ...process.env, DATABASE_URL: url, DATABASE_URL_UNPOOLED: url, PRISMA_HIDE_UPDATE_MESSAGE: '1' }
  const { stdout, stderr, failed } = await new Promise<{ stdout: string; stderr: string; failed: boolean }>(
    (resolve) => {
      execFile(
        process.execPath,
        [prisma, 'migrate', 'diff', ...fromAndTo, '--script'],
        { cwd, env },
        (error, stdout, stderr) => resolve({ stdout, stderr, failed: error !== null }),
      )
    },
  )
  if (failed) throw new MigrationError(`Prisma could not compare the migrations with the schema:\n${stdout}${stderr}`)
  return /^-- This is an empty migration\.\s*$/.test(stdout) ? '' : stdout.trim().concat('\n')
}

/** UTC, to the second, and later than the migrations that are there, whatever the clocks of their authors said. */
function nextTimestamp(newest: string | undefined): string {
  const format = (time: Date) => time.toISOString().replace(/\D/g, '').slice(0, 14)
  const now = format(new Date())
  const last = newest?.slice(0, 14) ?? ''
  if (now > last || !/^\d{14}$/.test(last)) return now
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(last) ?? []
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.map(Number)
  return format(new Date(Date.UTC(year, month - 1, day, hour, minute, second + 1)))
}
