import type { DatabaseHandle } from '../database.ts'
import { DatabaseError, toDatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'
import { compileFilter } from './filter.ts'
import { columnOf, type ModelName, type ModelShape, selection, shapeOf, toParameter } from './model.ts'

/** Which rows of a model with `deletedAt` are seen: by default those that are not marked deleted. */
export type DeletedRows = 'exclude' | 'include' | 'only'

export interface Selecting {
  deleted?: DeletedRows
}

/** The table of a model: builds conditions on it, runs statements on it, and says in the model's words what went wrong. */
export class Table {
  readonly shape: ModelShape
  readonly #handle: DatabaseHandle
  readonly #filterable: readonly string[]

  constructor(handle: DatabaseHandle, model: ModelName, filterable: readonly string[]) {
    this.shape = shapeOf(handle, model)
    this.#handle = handle
    this.#filterable = filterable
  }

  query<T>(sql: Prisma.Sql): Promise<T[]> {
    return this.#handle.$queryRaw<T[]>(sql).catch((error) => this.#rethrow(error))
  }

  /** @returns how many rows it affected */
  execute(sql: Prisma.Sql): Promise<number> {
    return this.#handle.$executeRaw(sql).catch((error) => this.#rethrow(error))
  }

  select<T>(where: Prisma.Sql): Promise<T[]> {
    return this.query(Prisma.sql`SELECT ${selection(this.shape)} FROM ${this.shape.table} WHERE ${where}`)
  }

  /** The condition of a statement: which rows there are at all, and which of them are meant. */
  where({ deleted = 'exclude' }: Selecting, ...conditions: Prisma.Sql[]): Prisma.Sql {
    const { shape } = this
    if (shape.softDeletable && deleted !== 'include') {
      const { name } = columnOf(shape, 'deletedAt')
      conditions.push(deleted === 'only' ? Prisma.sql`${name} IS NOT NULL` : Prisma.sql`${name} IS NULL`)
    }
    return conditions.length === 0 ? Prisma.sql`TRUE` : Prisma.join(conditions, ' AND ')
  }

  /** @param options whose `filter` may be missing, but not be `undefined` */
  filter(options: { filter?: object }): Prisma.Sql {
    return compileFilter(this.shape, this.#filterable, 'filter' in options ? options.filter : {})
  }

  /** That these fields, any of the model's, have these values. */
  equals(values: object): Prisma.Sql {
    const conditions = Object.entries(values).map(([field, eq]) => [field, { eq }])
    return compileFilter(this.shape, Array.from(this.shape.columns.keys()), Object.fromEntries(conditions))
  }

  idIn(ids: readonly string[]): Prisma.Sql {
    const { name, type } = columnOf(this.shape, 'id')
    return Prisma.sql`${name} = ANY(${ids.map((id, index) => toParameter(type, id, `ids.${index}`))})`
  }

  #rethrow(thrown: unknown): never {
    const error = toDatabaseError(thrown)
    if (error.columns.length === 0) throw error
    const fields = Array.from(this.shape.columns).flatMap(([field, { unquoted }]) =>
      error.columns.includes(unquoted) ? [field] : [],
    )
    const { kind, message, sqlState, constraint, columns } = error
    throw new DatabaseError(kind, message, { sqlState, constraint, columns, fields, cause: error })
  }
}
