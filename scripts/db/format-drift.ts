import type { Drift } from '../../src/migrations/drift.ts'

/** What differs, then what to do. `clean`: nothing does. */
export function formatDrift({ differences, pending, unfinished }: Drift): { text: string; clean: boolean } {
  if (unfinished !== undefined) return { text: formatUnfinished(unfinished), clean: false }
  const notApplied = pending.length === 0 ? '' : ` Not applied, and so not looked for: ${pending.join(', ')}.`
  if (differences.length === 0) {
    return { text: `The database is what its migrations make.${notApplied}`, clean: true }
  }
  const lines = differences.flatMap(({ kind, name, expected, actual }) => [
    `${kind} ${name}`,
    ...(expected === undefined ? [] : [`  - ${indent(expected)}`]),
    ...(actual === undefined ? [] : [`  + ${indent(actual)}`]),
  ])
  const advice =
    '- is what the migrations make, + what the database has. Write a migration for what should stay; change the database where the migrations are right.'
  return { text: [...lines, '', `${advice}${notApplied}`].join('\n'), clean: false }
}

function formatUnfinished({ name, database }: NonNullable<Drift['unfinished']>): string {
  switch (database) {
    case 'before':
      return `${name} was begun and not finished, and nothing of its schema is there. Say so: \`npx prisma migrate resolve --rolled-back ${name}\`, then \`npm run db:up\`.`
    case 'after':
      return `${name} was begun and not finished, but all of its schema is there. If it also changes data, look at that; then say so: \`npx prisma migrate resolve --applied ${name}\`.`
    case 'neither':
      return `${name} was begun and not finished, and the schema is neither as before nor as after it. Make it one of them by hand; \`npm run db:sql -- ${name}\` prints what it does, with --down the way back.`
  }
}

const indent = (text: string) => text.trimEnd().replaceAll('\n', '\n    ')
