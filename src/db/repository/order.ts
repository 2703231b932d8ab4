import { DatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'
import { type Column, columnOf, type ModelShape, toParameter } from './model.ts'

export interface SortKey<F extends string = string> {
  field: F
  direction: 'asc' | 'desc'
}

/** The fields that rows may be sorted by, and which of them can be null. */
export type Sortable = Readonly<Record<string, 'required' | 'nullable'>>

/** The values that one row has in the fields of an order. */
export type Position = readonly (string | number | boolean | null)[]

/** A total order of a model's rows. Null comes after everything else, as in PostgreSQL's indexes; first, if descending. */
export type Order = readonly OrderedColumn[]

interface OrderedColumn extends Column {
  field: string
  nullable: boolean
  descending: boolean
}

/**
 * The order by these fields. Ties are broken by id, in the direction of the last field, so that one index on all of them
 * serves it from either end.
 * @throws {DatabaseError} `invalid_input` for a field that is not sortable, or is named twice
 */
export function orderOf(shape: ModelShape, sortable: Sortable, keys: readonly SortKey[]): Order {
  const fields = new Set(keys.map(({ field }) => field))
  if (fields.size < keys.length) throw new DatabaseError('invalid_input', 'A field cannot be sorted by twice')
  const byId: SortKey = { field: 'id', direction: keys.at(-1)?.direction ?? 'asc' }
  return (fields.has('id') ? keys : [...keys, byId]).map(({ field, direction }) => {
    const kind = field === 'id' ? 'required' : Object.hasOwn(sortable, field) && sortable[field]
    if (!kind) throw new DatabaseError('invalid_input', `${field} cannot be sorted by`)
    return { field, ...columnOf(shape, field), nullable: kind === 'nullable', descending: direction === 'desc' }
  })
}

export const reverse = (order: Order): Order => order.map((column) => ({ ...column, descending: !column.descending }))

/** @param source what the columns belong to, with its dot, if there is more than one thing they could */
export const orderBy = (order: Order, source = Prisma.empty): Prisma.Sql =>
  Prisma.join(order.map(({ name, descending }) => Prisma.sql`${source}${name} ${descending ? DESC : ASC}`))

export const positionOf = (order: Order, row: object): Position =>
  order.map(({ field, type }) => toParameter(type, Reflect.get(row, field), field))

/** The rows that come after a position. */
export function after(order: Order, position: Position): Prisma.Sql {
  const values = order.map((_column, index) => position[index] ?? null)
  const [first] = order
  const uniform = order.every(({ nullable, descending }) => !nullable && descending === first?.descending)
  if (uniform) {
    const names = Prisma.join(order.map(({ name }) => name))
    return Prisma.sql`(${names}) ${first?.descending ? LESS : GREATER} (${Prisma.join(values)})`
  }
  // Beyond in the first field; or equal in it, and beyond in the second; and so on.
  const alternatives = order.map((column, index) => {
    const ties = order.slice(0, index).map((tied, at) => equal(tied, values[at] ?? null))
    return Prisma.join([...ties, beyond(column, values[index] ?? null)], ' AND ', '(', ')')
  })
  return Prisma.join(alternatives, ' OR ', '(', ')')
}

const equal = ({ name }: Column, value: Position[number]) =>
  value === null ? Prisma.sql`${name} IS NULL` : Prisma.sql`${name} = ${value}`

function beyond({ name, nullable, descending }: OrderedColumn, value: Position[number]): Prisma.Sql {
  if (value === null) return descending ? Prisma.sql`${name} IS NOT NULL` : Prisma.sql`FALSE`
  if (descending) return Prisma.sql`${name} < ${value}`
  return nullable ? Prisma.sql`(${name} > ${value} OR ${name} IS NULL)` : Prisma.sql`${name} > ${value}`
}

const ASC = Prisma.raw('ASC')
const DESC = Prisma.raw('DESC')
const GREATER = Prisma.raw('>')
const LESS = Prisma.raw('<')
