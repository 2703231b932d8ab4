import type { DatabaseHandle } from './database.ts'
import { DatabaseError } from './errors.ts'
import { Prisma } from './generated/client.ts'
import type { Filter } from './repository/filter.ts'
import {
  columnOf,
  type FieldOf,
  type ModelName,
  type NewRow,
  type Patch,
  type RelationOf,
  type RowOf,
  type RowWith,
  type SoftDeletable,
  selection,
} from './repository/model.ts'
import { after, orderOf, positionOf, type SortKey } from './repository/order.ts'
import { type Page, type Place, readPage, readSlice } from './repository/page.ts'
import { delegateOf, loadRelations } from './repository/relations.ts'
import { type Selecting, Table } from './repository/table.ts'
import { assignments, insertRows } from './repository/write.ts'
import { TransactionScope } from './transaction-scope.ts'

/** What a repository lets its callers name. */
export interface RepositoryDefinition<M extends ModelName> {
  model: M
  filterable: readonly FieldOf<M>[]
  /** Says of each field whether it can be null, which a cursor has to know. */
  sortable: { readonly [F in FieldOf<M>]?: null extends RowOf<M>[F] ? 'nullable' : 'required' }
  /** Relations whose rows keep a deleted row from being purged. */
  keptBy?: readonly RelationOf<M>[]
}

type AnyDefinition = { [M in ModelName]: RepositoryDefinition<M> }[ModelName]
type Row<D extends AnyDefinition> = RowOf<D['model']>
type FilterOf<D extends AnyDefinition> = Filter<Row<D>, D['filterable'][number] & keyof Row<D>>
type SortOf<D extends AnyDefinition> = readonly SortKey<(keyof D['sortable'] & string) | 'id'>[]
type With<D extends AnyDefinition, R extends RelationOf<D['model']>> = RowWith<D['model'], R>

interface Including<R> extends Selecting {
  /** Relations to load with each row, without what is marked deleted in them. */
  include?: readonly R[]
}

interface Listing<D extends AnyDefinition, R> extends Including<R> {
  /** All rows, unless given. */
  filter?: FilterOf<D>
  /** By id, unless given. Ties are always broken by id. */
  sort?: SortOf<D>
  /** At most this many rows: 1 to 1000. */
  limit: number
  /** Also count all rows that match, as of the same moment. */
  total?: boolean
}

interface Expecting<D extends AnyDefinition> extends Selecting {
  /** Values that the row must still have, such as the `updatedAt` that the caller has seen. */
  expected?: Patch<D['model']>
}

interface ConflictOf<D extends AnyDefinition> {
  /** The fields of a unique index, one of the rows that are not marked deleted. */
  on: readonly Exclude<FieldOf<D['model']>, 'id'>[]
  /** What an existing row takes over from the new one. */
  update: readonly [Exclude<FieldOf<D['model']>, 'id'>, ...Exclude<FieldOf<D['model']>, 'id'>[]]
}

interface Locking extends Selecting {
  /** What to do about a row that someone else has locked. */
  ifLocked?: 'wait' | 'fail' | 'skip'
}

interface Upserted<Row> {
  row: Row
  created: boolean
}

/** An argument of a method that only models with `deletedAt` have. */
type ForSoftDeletable<D extends AnyDefinition, T> = D['model'] extends SoftDeletable ? T : never

/** How many rows `iterate` holds at a time. */
const BATCH = 1000

/**
 * The rows of one model, on the database's client or in a transaction. Each call is one statement (and one more if it
 * includes relations), so it is done wholly or not at all wherever it runs. Rows marked deleted are neither seen nor
 * changed unless asked for.
 *
 * Every method throws {@link DatabaseError}. Besides what may happen to any statement: `unique` with the `fields` that are
 * taken, `foreign_key`, `check`, `not_null`, and `invalid_input` for fields, operators and values that are not allowed.
 */
export class Repository<D extends AnyDefinition> {
  protected readonly handle: DatabaseHandle
  readonly #definition: D
  readonly #table: Table

  constructor(handle: DatabaseHandle, definition: D) {
    this.handle = handle
    this.#definition = definition
    this.#table = new Table(handle, definition.model, definition.filterable)
  }

  async getById<R extends RelationOf<D['model']> = never>(
    id: string,
    options: Including<R> = {},
  ): Promise<With<D, R> | null> {
    const rows = await this.#table.select<Row<D>>(this.#table.where(options, this.#table.equals({ id })))
    const [row] = await this.#include(rows, options)
    return row ?? null
  }

  /** @throws {DatabaseError} `not_found` */
  async getByIdOrThrow<R extends RelationOf<D['model']> = never>(
    id: string,
    options: Including<R> = {},
  ): Promise<With<D, R>> {
    const row = await this.getById(id, options)
    if (row === null) throw new DatabaseError('not_found', `There is no such ${this.#definition.model}`)
    return row
  }

  /** @returns the rows in the order of their ids, an id given twice twice; and the ids for which there is no row */
  async getByIds<R extends RelationOf<D['model']> = never>(
    ids: readonly string[],
    options: Including<R> = {},
  ): Promise<{ rows: With<D, R>[]; missing: string[] }> {
    const found = await this.#table.select<Row<D>>(this.#table.where(options, this.#table.idIn(ids)))
    const byId = new Map(found.map((row) => [row.id, row]))
    // PostgreSQL reads UUIDs in capitals too, and writes them without.
    const rowOf = (id: string) => byId.get(id) ?? byId.get(id.toLowerCase())
    const missing = ids.filter((id) => rowOf(id) === undefined)
    const rows = ids.flatMap((id) => rowOf(id) ?? [])
    return { rows: await this.#include(rows, options), missing }
  }

  /** The first row that matches, or null. */
  async findOne<R extends RelationOf<D['model']> = never>(
    filter: FilterOf<D>,
    options: Including<R> & { sort?: SortOf<D> } = {},
  ): Promise<With<D, R> | null> {
    const { rows } = await this.#page({ ...options, filter, limit: 1 })
    return rows[0] ?? null
  }

  /** A page by its offset. If rows come and go between two pages, others may repeat or be skipped. */
  list<R extends RelationOf<D['model']> = never>(
    options: Listing<D, R> & Pick<Place, 'offset'>,
  ): Promise<Page<With<D, R>>> {
    return this.#page(options)
  }

  /**
   * The page after a cursor, or before one, or the first. A walk either way visits every row that is there all the time
   * exactly once, whatever comes and goes meanwhile.
   * @throws {DatabaseError} `invalid_cursor` if the cursor was made for another order or another filter
   */
  paginate<R extends RelationOf<D['model']> = never>(
    options: Listing<D, R> & Pick<Place, 'after' | 'before'>,
  ): Promise<Page<With<D, R>>> {
    return this.#page(options)
  }

  /** All rows that match, by id, with few of them in memory at a time. It reads in batches, so not as of one moment. */
  async *iterate(options: Selecting & { filter?: FilterOf<D> } = {}): AsyncGenerator<Row<D>, void, undefined> {
    const order = orderOf(this.#table.shape, {}, [])
    const matching = this.#table.where(options, this.#table.filter(options))
    let last: Row<D> | undefined
    do {
      const where = last === undefined ? matching : Prisma.sql`${after(order, positionOf(order, last))} AND ${matching}`
      const rows = await readSlice<Row<D>>(this.#table, { where, order, limit: BATCH, offset: 0 })
      yield* rows
      last = rows.length < BATCH ? undefined : rows.at(-1)
    } while (last !== undefined)
  }

  async exists(filter: FilterOf<D>, options: Selecting = {}): Promise<boolean> {
    const where = this.#table.where(options, this.#table.filter({ filter }))
    const [row] = await this.#table.query<{ found: boolean }>(
      Prisma.sql`SELECT EXISTS (SELECT FROM ${this.#table.shape.table} WHERE ${where}) AS found`,
    )
    return row?.found === true
  }

  async count(filter: FilterOf<D>, options: Selecting = {}): Promise<number> {
    const where = this.#table.where(options, this.#table.filter({ filter }))
    const [row] = await this.#table.query<{ count: number }>(
      Prisma.sql`SELECT count(*)::float8 AS count FROM ${this.#table.shape.table} WHERE ${where}`,
    )
    return row?.count ?? 0
  }

  async create(row: NewRow<D['model']>): Promise<Row<D>> {
    const { row: created } = await this.#insertOne(row)
    return created
  }

  /**
   * Creates all rows or none, 100,000 at a time if need be.
   * @param rows each with the same fields, because a default is taken by all of them or by none
   * @returns the rows in the order given
   */
  async bulkCreate(rows: readonly NewRow<D['model']>[]): Promise<Row<D>[]> {
    const created = await this.#insert(rows)
    return created.map(({ row }) => row)
  }

  /** Creates a row, or changes the one that has the same values in the fields `on`, whoever else does at that moment. */
  upsert(row: NewRow<D['model']>, conflict: ConflictOf<D>): Promise<Upserted<Row<D>>> {
    return this.#insertOne(row, conflict)
  }

  /**
   * As {@link upsert}, for all rows or none.
   * @param rows each with the same fields, and no two with the same values in the fields `on`
   * @returns the rows in the order given
   */
  bulkUpsert(rows: readonly NewRow<D['model']>[], conflict: ConflictOf<D>): Promise<Upserted<Row<D>>[]> {
    return this.#insert(rows, conflict)
  }

  /**
   * @returns the row as it is now, or null if there is none
   * @throws {DatabaseError} `stale` if the row is there, but not as expected
   */
  async updateById(id: string, patch: Patch<D['model']>, options: Expecting<D> = {}): Promise<Row<D> | null> {
    return this.#updateOne(id, assignments(this.#table.shape, patch), options)
  }

  /**
   * @returns how many rows were changed
   * @throws {DatabaseError} `misuse` for a filter without conditions, which would mean every row
   */
  async updateWhere(filter: FilterOf<D>, patch: Patch<D['model']>, options: Selecting = {}): Promise<number> {
    const condition = this.#table.filter({ filter })
    if (condition.sql === 'TRUE') throw new DatabaseError('misuse', 'A filter without conditions means every row')
    const { table } = this.#table.shape
    const set = assignments(this.#table.shape, patch)
    return this.#table.execute(Prisma.sql`UPDATE ${table} SET ${set} WHERE ${this.#table.where(options, condition)}`)
  }

  /**
   * Marks a row deleted.
   * @returns the row, or null if there is none to mark
   * @throws {DatabaseError} `stale` if the row is there, but not as expected
   */
  async softDelete(
    id: ForSoftDeletable<D, string>,
    options: Pick<Expecting<D>, 'expected'> = {},
  ): Promise<Row<D> | null> {
    return this.#updateOne(id, Prisma.sql`${this.#deletedAt} = now()`, options)
  }

  /** @returns the row, or null if there is none that is marked deleted */
  async restore(id: ForSoftDeletable<D, string>): Promise<Row<D> | null> {
    return this.#updateOne(id, Prisma.sql`${this.#deletedAt} = NULL`, { deleted: 'only' })
  }

  /**
   * Removes a row for good.
   * @returns whether there was one
   * @throws {DatabaseError} `in_use` if other rows refer to it
   */
  async hardDelete(id: string, options: Selecting = {}): Promise<boolean> {
    const where = this.#table.where(options, this.#table.equals({ id }))
    const run = this.#table.execute(Prisma.sql`DELETE FROM ${this.#table.shape.table} WHERE ${where}`)
    return (await run.catch(rethrowInUse)) > 0
  }

  /**
   * Removes rows for good that were marked deleted before a time, but for those that others still need.
   * @returns how many
   */
  async purge(olderThan: ForSoftDeletable<D, Date>): Promise<number> {
    const { model, keptBy = [] } = this.#definition
    const unneeded = Object.fromEntries(keptBy.map((relation) => [relation, { none: {} }]))
    const where = { deletedAt: { lt: olderThan }, ...unneeded }
    const { count } = await delegateOf(this.handle, model).deleteMany({ where })
    return count
  }

  /** As {@link lockByIds}. @returns null if there is no such row, or it was skipped */
  async lockById(id: string, options: Locking = {}): Promise<Row<D> | null> {
    const [row] = await this.lockByIds([id], options)
    return row ?? null
  }

  /**
   * Locks rows against changes by others until the transaction ends; rows that refer to them can still be added. Locks in
   * the order of the ids, so that those who want the same rows wait for each other and cannot deadlock.
   * @returns the rows that are there and were not skipped, in the order of their ids
   * @throws {DatabaseError} `lock_not_available`; `misuse` outside a transaction, where the lock would be gone at once
   */
  async lockByIds(ids: readonly string[], options: Locking = {}): Promise<Row<D>[]> {
    if (TransactionScope.of(this.handle) === undefined) {
      throw new DatabaseError('misuse', 'Rows can only be locked inside a transaction')
    }
    const { table } = this.#table.shape
    const where = this.#table.where(options, this.#table.idIn(ids))
    const policy = LOCK_POLICIES[options.ifLocked ?? 'wait']
    return this.#table.query(Prisma.sql`
      SELECT ${selection(this.#table.shape)} FROM ${table} WHERE ${where} ORDER BY id FOR NO KEY UPDATE ${policy}`)
  }

  get #deletedAt(): Prisma.Sql {
    return columnOf(this.#table.shape, 'deletedAt').name
  }

  async #page<R extends RelationOf<D['model']>>(options: Listing<D, R> & Place): Promise<Page<With<D, R>>> {
    const order = orderOf(this.#table.shape, this.#definition.sortable, options.sort ?? [])
    const page = await readPage<Row<D>>(this.#table, order, options)
    return { ...page, rows: await this.#include(page.rows, options) }
  }

  async #include<R extends RelationOf<D['model']>>(
    rows: Row<D>[],
    { include = [], deleted = 'exclude' }: Including<R>,
  ): Promise<With<D, R>[]> {
    const options = { relations: include, livingOnly: deleted === 'exclude' }
    const loaded = include.length === 0 ? rows : await loadRelations(this.handle, this.#definition.model, rows, options)
    // A cast, because which relations were loaded is known to the caller's types alone.
    return loaded as With<D, R>[]
  }

  async #insert(rows: readonly NewRow<D['model']>[], conflict?: ConflictOf<D>): Promise<Upserted<Row<D>>[]> {
    if (rows.length === 0) return []
    const withIds = rows.map((row) => ({ id: crypto.randomUUID(), ...row }))
    const written = await this.#table.query<{ '#created': boolean }>(insertRows(this.#table.shape, withIds, conflict))
    // A cast, because what is left is what the statement selects: the model's fields.
    return written.map(({ '#created': created, ...row }) => ({ row: row as Row<D>, created }))
  }

  async #insertOne(row: NewRow<D['model']>, conflict?: ConflictOf<D>): Promise<Upserted<Row<D>>> {
    const [written] = await this.#insert([row], conflict)
    if (written === undefined) throw new DatabaseError('internal', 'INSERT ... RETURNING gave no row')
    return written
  }

  async #updateOne(id: string, set: Prisma.Sql, { expected, ...options }: Expecting<D>): Promise<Row<D> | null> {
    const { shape } = this.#table
    const isIt = this.#table.where(options, this.#table.equals({ id }))
    const where = expected === undefined ? isIt : Prisma.sql`${isIt} AND ${this.#table.equals(expected)}`
    const [row] = await this.#table.query<Row<D>>(
      Prisma.sql`UPDATE ${shape.table} SET ${set} WHERE ${where} RETURNING ${selection(shape)}`,
    )
    if (row !== undefined) return row
    if (expected === undefined || (await this.getById(id, options)) === null) return null
    throw new DatabaseError('stale', `This ${this.#definition.model} has changed since it was read`)
  }
}

const LOCK_POLICIES = { wait: Prisma.empty, fail: Prisma.raw('NOWAIT'), skip: Prisma.raw('SKIP LOCKED') }

function rethrowInUse(error: unknown): never {
  if (!(error instanceof DatabaseError) || error.kind !== 'foreign_key') throw error
  const { sqlState, constraint, columns } = error
  throw new DatabaseError('in_use', 'Other rows refer to this one', { sqlState, constraint, columns, cause: error })
}
