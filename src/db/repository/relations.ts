import type { DatabaseHandle } from '../database.ts'
import type { ModelName } from './model.ts'

interface Options {
  relations: readonly string[]
  /** Whether to leave out related rows that are deleted. */
  livingOnly: boolean
}

/** Adds to each row the rows it is related to, with one more round trip for each relation. */
export async function loadRelations<Row extends { id: string }>(
  handle: DatabaseHandle,
  model: ModelName,
  rows: readonly Row[],
  { relations, livingOnly }: Options,
): Promise<Row[]> {
  const select = { id: true, ...Object.fromEntries(relations.map((relation) => [relation, true])) }
  const found = await delegateOf(handle, model).findMany({ where: { id: { in: rows.map(({ id }) => id) } }, select })
  const related = new Map(
    found.map(({ id, ...values }) => [
      id,
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, livingOnly ? living(value) : value])),
    ]),
  )
  return rows.map((row) => ({ ...row, ...related.get(row.id) }))
}

/** What Prisma's delegates of all models have in common, and is used here. */
interface Delegate {
  findMany(args: object): Promise<({ id: string } & Record<string, unknown>)[]>
  deleteMany(args: object): Promise<{ count: number }>
}

export function delegateOf(handle: DatabaseHandle, model: ModelName): Delegate {
  // Two casts, because the compiler follows neither a name through `toLowerCase` nor what all delegates have in common.
  const name = `${model.charAt(0).toLowerCase()}${model.slice(1)}` as Uncapitalize<ModelName>
  return handle[name] as unknown as Delegate
}

/** The rows of a relation, or its one row, without those that are marked deleted. */
function living(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((row) => !isDeleted(row))
  return isDeleted(value) ? null : value
}

const isDeleted = (row: unknown): boolean =>
  typeof row === 'object' && row !== null && 'deletedAt' in row && row.deletedAt !== null
