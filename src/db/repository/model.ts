import type { DatabaseHandle } from '../database.ts'
import { DatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'

type Models = Prisma.TypeMap['model']

/** What a model's row is when nothing else is selected: its own fields, without relations. */
export type RowOf<M extends Prisma.ModelName> = Plain<Models[M]['payload']['scalars']>

/** Models whose rows are identified by one `id`. */
export type ModelName = {
  [M in Prisma.ModelName]: RowOf<M> extends { id: string } ? M : never
}[Prisma.ModelName]

export type FieldOf<M extends ModelName> = keyof RowOf<M> & string

/** Models whose rows are marked deleted before they are removed. */
export type SoftDeletable = { [M in ModelName]: 'deletedAt' extends FieldOf<M> ? M : never }[ModelName]

type Plain<T> = { [K in keyof T]: T[K] }
type OneOf<T> = T extends readonly unknown[] ? never : T
type TypedBy<Row, Shape> = { [F in keyof Shape]: F extends keyof Row ? Row[F] : never }

/** A row to be: fields with a default may be left out. */
export type NewRow<M extends ModelName> = TypedBy<
  RowOf<M>,
  OneOf<Models[M]['operations']['createMany']['args']['data']>
>

export type Patch<M extends ModelName> = Partial<Omit<RowOf<M>, 'id'>>

export type RelationOf<M extends ModelName> = keyof Models[M]['payload']['objects'] & string

/** A row with the rows of some of its relations; `null` where the one row of a relation is deleted. */
export type RowWith<M extends ModelName, R extends RelationOf<M>> = Plain<
  RowOf<M> & { [K in R]: Related<Models[M]['payload']['objects'][K]> }
>
type Related<P> = P extends readonly { scalars: infer Row }[]
  ? Plain<Row>[]
  : P extends { scalars: infer Row } | null
    ? Plain<Row> | null
    : never

/** Prisma's names for the types of fields. */
type FieldType = 'String' | 'Int' | 'BigInt' | 'Boolean' | 'DateTime' | (string & {})

export interface Column {
  /** Quoted. */
  name: Prisma.Sql
  unquoted: string
  type: FieldType
}

/** A model as SQL needs it. Identifiers come from here, quoted, and from nowhere else. */
export interface ModelShape {
  table: Prisma.Sql
  columns: ReadonlyMap<string, Column>
  softDeletable: boolean
}

interface RuntimeModel {
  dbName: string | null
  fields: readonly { name: string; kind: string; type: string; dbName?: string }[]
}

const shapes = new WeakMap<RuntimeModel, ModelShape>()

/** Reads the table and the columns of a model from the client that was generated for it. */
export function shapeOf(handle: DatabaseHandle, model: ModelName): ModelShape {
  // A cast, because Prisma keeps this out of its types: it has been the client's own source for it in all of 5, 6 and 7.
  const source = Reflect.get(handle, '_runtimeDataModel') as { models: Record<string, RuntimeModel> } | undefined
  const found = source?.models[model]
  if (found === undefined) throw new DatabaseError('misuse', `This handle knows no model ${model}`)
  const known = shapes.get(found)
  if (known !== undefined) return known
  const columns = found.fields
    .filter(({ kind }) => kind !== 'object')
    .map(({ name, type, dbName }) => [name, toColumn(dbName ?? name, type)] as const)
  const shape = {
    table: quote(found.dbName ?? model),
    columns: new Map(columns),
    softDeletable: columns.some(([name]) => name === 'deletedAt'),
  }
  shapes.set(found, shape)
  return shape
}

/** @throws {DatabaseError} `invalid_input` for what is no field of the model */
export function columnOf({ columns }: ModelShape, field: string): Column {
  const column = columns.get(field)
  if (column === undefined) throw new DatabaseError('invalid_input', `There is no field ${field}`)
  return column
}

/** The columns of a row under the names of their fields. */
export function selection({ columns }: ModelShape, source = Prisma.empty): Prisma.Sql {
  return Prisma.join(Array.from(columns, ([field, { name }]) => Prisma.sql`${source}${name} AS ${quote(field)}`))
}

const toColumn = (unquoted: string, type: FieldType): Column => ({ name: quote(unquoted), unquoted, type })

const quote = (identifier: string) => Prisma.raw(`"${identifier.replaceAll('"', '""')}"`)

/**
 * A value as it is sent, for PostgreSQL to read as what it is compared with or stored in. Times go out with their zone,
 * whatever that of the session is.
 * @throws {DatabaseError} `invalid_input` for a value of another type, `misuse` for `undefined`
 */
export function toParameter(type: FieldType, value: unknown, path: string): string | number | boolean | null {
  if (value === undefined) throw new DatabaseError('misuse', `${path} is undefined, which could mean anything`)
  if (value === null) return null
  if (type === 'DateTime' && value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString()
  if (type === 'BigInt' && typeof value === 'bigint') return String(value)
  if (type === 'Int' && typeof value === 'number' && Number.isSafeInteger(value)) return value
  // Half of a surrogate pair is no character: on its way to UTF-8 it would turn into another one.
  if (type === 'String' && typeof value === 'string' && !/\p{Surrogate}/u.test(value)) return value
  if (type === 'Boolean' && typeof value === 'boolean') return value
  throw new DatabaseError('invalid_input', `${path} must be a ${type}`)
}
