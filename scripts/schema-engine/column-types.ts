import { type ColumnType, ColumnTypeEnum, DriverAdapterError } from '@prisma/driver-adapter-utils'
import pg from 'pg'

interface Column {
  type: ColumnType
  parse(text: string): unknown
}

/** The cast: `pg` parses more types than it has names for. */
const TEXT_ARRAY = 1009 as Parameters<typeof pg.types.getTypeParser>[0]

const asText = (text: string): unknown => text

/** By OID, the types of what the engine reads: PostgreSQL's catalog and its own journal. */
const columns: Readonly<Record<number, Column>> = {
  [pg.types.builtins.BOOL]: { type: ColumnTypeEnum.Boolean, parse: (text) => text === 't' },
  // "char", as in pg_constraint.contype; `pg` has no name for it, and @prisma/adapter-pg refuses it.
  18: { type: ColumnTypeEnum.Character, parse: asText },
  // name
  19: { type: ColumnTypeEnum.Text, parse: asText },
  [pg.types.builtins.INT8]: { type: ColumnTypeEnum.Int64, parse: asText },
  [pg.types.builtins.INT2]: { type: ColumnTypeEnum.Int32, parse: Number },
  [pg.types.builtins.INT4]: { type: ColumnTypeEnum.Int32, parse: Number },
  [pg.types.builtins.TEXT]: { type: ColumnTypeEnum.Text, parse: asText },
  [pg.types.builtins.OID]: { type: ColumnTypeEnum.Int64, parse: asText },
  [TEXT_ARRAY]: { type: ColumnTypeEnum.TextArray, parse: pg.types.getTypeParser(TEXT_ARRAY, 'text') },
  [pg.types.builtins.VARCHAR]: { type: ColumnTypeEnum.Text, parse: asText },
  // In the time zone of the session, which the engine takes for UTC.
  [pg.types.builtins.TIMESTAMPTZ]: { type: ColumnTypeEnum.DateTime, parse: (text) => new Date(text).toISOString() },
}

/** @throws {DriverAdapterError} for a type that the engine has never been seen to read */
export function columnOf(oid: number): Column {
  const column = columns[oid]
  if (column === undefined) throw new DriverAdapterError({ kind: 'UnsupportedNativeDataType', type: `OID ${oid}` })
  return column
}
