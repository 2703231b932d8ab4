import { DatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { type ModelShape, selection } from './model.ts'
import { after, type Order, orderBy, positionOf, reverse } from './order.ts'
import type { Selecting, Table } from './table.ts'

export interface Page<Row> {
  rows: Row[]
  /** The cursor to go on `after`, or null if nothing follows. */
  next: string | null
  /** The cursor to go back `before`, or null if nothing precedes. */
  previous: string | null
  /** How many rows match in all, if that was asked for. */
  total?: number
}

/** Where a page is in its list. Without any of these, it is the first. */
export interface Place {
  offset?: number
  after?: string
  before?: string
}

interface PageRequest extends Selecting, Place {
  filter?: object
  limit: number
  total?: boolean
}

const LONGEST_PAGE = 1000

export async function readPage<Row extends object>(
  table: Table,
  order: Order,
  request: PageRequest,
): Promise<Page<Row>> {
  const { filter = {}, deleted = 'exclude', limit, offset = 0 } = request
  checkBounds(limit, offset)
  if (request.after !== undefined && request.before !== undefined) throw invalid('A page is after or before a cursor')
  const cursor = request.after ?? request.before
  const backwards = cursor !== undefined && request.after === undefined
  const direction = backwards ? reverse(order) : order
  const binding = [table.shape.table.sql, order.map(({ field, descending }) => [field, descending]), filter, deleted]
  const matching = table.where(request, table.filter(request))
  const position = cursor === undefined ? undefined : await decodeCursor(binding, cursor)
  const where = position === undefined ? matching : Prisma.sql`${after(direction, position)} AND ${matching}`
  // One row more than asked for tells whether there is more.
  const slice = { where, order: direction, limit: limit + 1, offset }
  const [found, total] = request.total
    ? await readSliceAndTotal<Row>(table, slice, matching)
    : [await readSlice<Row>(table, slice)]
  const rows = found.slice(0, limit)
  if (backwards) rows.reverse()
  const hasMore = found.length > limit
  const [hasNext, hasPrevious] = backwards ? [true, hasMore] : [hasMore, cursor !== undefined || offset > 0]
  const cursorOf = async (row: Row | undefined) =>
    row === undefined ? null : encodeCursor(binding, positionOf(order, row))
  return {
    rows,
    next: hasNext ? await cursorOf(rows.at(-1)) : null,
    previous: hasPrevious ? await cursorOf(rows[0]) : null,
    ...(total !== undefined && { total }),
  }
}

interface Slice {
  where: Prisma.Sql
  order: Order
  limit: number
  offset: number
}

export function readSlice<Row>(table: Table, slice: Slice): Promise<Row[]> {
  return table.query(Prisma.sql`SELECT ${selection(table.shape)} FROM ${fromSlice(table.shape, slice)}`)
}

/** In one statement, so that the total is that of the moment in which the rows were read. */
async function readSliceAndTotal<Row extends object>(
  table: Table,
  slice: Slice,
  all: Prisma.Sql,
): Promise<[Row[], number]> {
  const { shape } = table
  const page = Prisma.raw('page.')
  const found = await table.query<{ '#total': number; '#present': boolean | null }>(Prisma.sql`
    SELECT counted.total AS "#total", page."#present", ${selection(shape, page)}
    FROM (SELECT count(*)::float8 AS total FROM ${shape.table} WHERE ${all}) counted
    LEFT JOIN (SELECT *, TRUE AS "#present" FROM ${fromSlice(shape, slice)}) page ON TRUE
    ORDER BY ${orderBy(slice.order, page)}`)
  const rows = found.filter((row) => row['#present'] !== null)
  // A cast, because what is left is what the statement selects: the model's fields.
  return [rows.map(({ '#total': _total, '#present': _present, ...row }) => row as Row), found[0]?.['#total'] ?? 0]
}

const fromSlice = ({ table }: ModelShape, { where, order, limit, offset }: Slice) =>
  Prisma.sql`${table} WHERE ${where} ORDER BY ${orderBy(order)} LIMIT ${limit} OFFSET ${offset}`

function checkBounds(limit: number, offset: number): void {
  const inBounds = Number.isInteger(limit) && limit >= 1 && limit <= LONGEST_PAGE
  if (!inBounds) throw invalid(`limit must be from 1 to ${LONGEST_PAGE}`)
  if (!Number.isSafeInteger(offset) || offset < 0) throw invalid('offset must be 0 or more')
}

const invalid = (message: string) => new DatabaseError('invalid_input', message)
