import { MigrationError } from '../../src/migrations/errors.ts'

export interface Selection {
  steps: string | undefined
  to: string | undefined
  all: boolean
}

/**
 * Which of the applied migrations to undo.
 * @param applied oldest first
 * @throws {MigrationError} for a number that is none, a name that is not applied, or two ways of choosing at once
 */
export function chooseDown(applied: readonly string[], { steps, to, all }: Selection): readonly string[] {
  if ([steps !== undefined, to !== undefined, all].filter(Boolean).length > 1) {
    throw new MigrationError('Choose one of --steps, --to and --all.')
  }
  if (all) return applied
  if (to !== undefined) {
    const target = findMigration(
      applied.map((name) => ({ name })),
      to,
      'applied',
    ).name
    return applied.slice(applied.indexOf(target) + 1)
  }
  if (steps !== undefined && !/^[1-9]\d*$/.test(steps)) {
    throw new MigrationError(`--steps ${steps}: give how many migrations to undo, 1 or more.`)
  }
  return applied.slice(-Number(steps ?? 1))
}

/**
 * Finds a migration by its full name, or by the part after the time.
 * @throws {MigrationError} if there is none, or more than one
 */
export function findMigration<Named extends { name: string }>(
  migrations: readonly Named[],
  name: string,
  what = 'known',
): Named {
  const found = migrations.filter(
    (migration) => migration.name === name || migration.name.replace(/^\d+_/, '') === name,
  )
  if (found.length > 1)
    throw new MigrationError(`"${name}" is the name of ${found.length} migrations: give the whole of it.`)
  if (found[0] !== undefined) return found[0]
  const list = migrations.map((migration) => `\n  ${migration.name}`).join('')
  throw new MigrationError(`No ${what} migration is called "${name}".${list === '' ? '' : ` There are:${list}`}`)
}
