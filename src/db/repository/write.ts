import { DatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'
import { columnOf, type ModelShape, selection, toParameter } from './model.ts'

/**
 * One statement that inserts all rows or none and returns them in the order given, however many there are: they travel as
 * one JSON parameter, which PostgreSQL reads by the table's own types.
 * @param conflict what to do with rows that are there already
 */
export function insertRows(shape: ModelShape, rows: readonly object[], conflict?: Conflict): Prisma.Sql {
  const fields = commonFields(rows)
  const { table } = shape
  const columns = Prisma.join(fields.map((field) => columnOf(shape, field).name))
  const { on } = conflict ?? { on: ['id'] }
  checkKeys(shape, rows, on)
  const key = on.map((field) => columnOf(shape, field).name)
  const sameKey = Prisma.join(
    key.map((name) => Prisma.sql`written.${name} = input.${name}`),
    ' AND ',
  )
  // Whoever inserts the same keys at the same time does it in the same order, and waits instead of deadlocking.
  return Prisma.sql`
    WITH input AS MATERIALIZED (
      SELECT * FROM jsonb_populate_recordset(NULL::${table}, ${toJson(shape, rows)}::jsonb) WITH ORDINALITY
    ), written AS (
      INSERT INTO ${table} (${columns}) SELECT ${columns} FROM input ORDER BY ${Prisma.join(key)}
      ${conflict === undefined ? Prisma.empty : onConflict(shape, conflict)}
      RETURNING *, (xmax = 0) AS "#created"
    )
    SELECT ${selection(shape, Prisma.raw('written.'))}, "#created"
    FROM written JOIN input ON ${sameKey} ORDER BY input.ordinality`
}

export interface Conflict {
  /** Fields with a unique index; among the living, if rows can be marked deleted. */
  on: readonly string[]
  /** Fields that an existing row takes over from the new one. */
  update: readonly string[]
}

function onConflict(shape: ModelShape, { on, update }: Conflict): Prisma.Sql {
  if (on.length * update.length === 0) throw new DatabaseError('misuse', 'An upsert needs fields in on and in update')
  const target = Prisma.join(on.map((field) => columnOf(shape, field).name))
  const living = shape.softDeletable ? Prisma.sql`WHERE ${columnOf(shape, 'deletedAt').name} IS NULL` : Prisma.empty
  const changes = update.map((field) => {
    const { name } = columnOf(shape, field)
    return Prisma.sql`${name} = excluded.${name}`
  })
  return Prisma.sql`ON CONFLICT (${target}) ${living} DO UPDATE SET ${Prisma.join(changes)}`
}

/** `SET` of an UPDATE. */
export function assignments(shape: ModelShape, patch: object): Prisma.Sql {
  const entries: [string, unknown][] = Object.entries(patch)
  if (entries.length === 0) throw new DatabaseError('misuse', 'A change must name at least one field')
  return Prisma.join(
    entries.map(([field, value]) => {
      if (field === 'id') throw new DatabaseError('invalid_input', 'An id cannot be changed')
      const { name, type } = columnOf(shape, field)
      return Prisma.sql`${name} = ${toParameter(type, value, field)}`
    }),
  )
}

/** Rows that leave different fields to their defaults would need different statements. */
function commonFields(rows: readonly object[]): string[] {
  const fields = Object.keys(rows[0] ?? {})
  const odd = rows.findIndex(
    (row) => Object.keys(row).length !== fields.length || fields.some((field) => !(field in row)),
  )
  if (odd >= 0) throw new DatabaseError('misuse', `Row ${odd} does not give the fields of row 0: ${fields.join(', ')}`)
  return fields
}

/** Two rows with one key cannot both be what is there afterwards, and null is no key: it is never the same as another. */
function checkKeys(shape: ModelShape, rows: readonly object[], on: readonly string[]): void {
  const seen = new Map<string, number>()
  for (const [index, row] of rows.entries()) {
    const values = on.map((field) => toParameter(columnOf(shape, field).type, Reflect.get(row, field), field))
    if (values.includes(null)) throw new DatabaseError('invalid_input', `Row ${index} has no ${on.join(', ')}`)
    const key = JSON.stringify(values)
    const earlier = seen.get(key)
    if (earlier !== undefined) {
      throw new DatabaseError('invalid_input', `Rows ${earlier} and ${index} have the same ${on.join(', ')}`)
    }
    seen.set(key, index)
  }
}

function toJson(shape: ModelShape, rows: readonly object[]): string {
  const toRecord = (row: object, index: number) => {
    const entries: [string, unknown][] = Object.entries(row)
    return Object.fromEntries(
      entries.map(([field, value]) => {
        const { unquoted, type } = columnOf(shape, field)
        return [unquoted, toParameter(type, value, `${index}.${field}`)]
      }),
    )
  }
  return JSON.stringify(rows.map(toRecord))
}
