import { DatabaseError } from '../errors.ts'
import { Prisma } from '../generated/client.ts'
import { type Column, columnOf, type ModelShape, toParameter } from './model.ts'

type Ordering<V> = {
  lt?: V
  lte?: V
  gt?: V
  gte?: V
  /** Both ends included. */
  between?: readonly [V, V]
  in?: readonly V[]
}

type Text = {
  contains?: string
  startsWith?: string
  /** As `contains`, whatever the case of the letters. */
  search?: string
}

/** What must hold of a field. Of several conditions, all must. A field that is null meets none but the first three. */
export type Condition<V> = {
  eq?: V
  /** Everything that `eq` leaves out. */
  not?: V
  isNull?: boolean
} & Ordering<NonNullable<V>> &
  (NonNullable<V> extends string ? Text : unknown)

/** Which rows are meant, as data: every field's conditions must hold, all of `and`, and one of `or`. */
export type Filter<Row, F extends keyof Row> = { [K in F]?: Condition<Row[K]> } & {
  and?: readonly Filter<Row, F>[]
  or?: readonly Filter<Row, F>[]
}

/**
 * Compiles a filter. What it compares with travels as parameters; what it names must be allowed.
 * @throws {DatabaseError} `invalid_input` for a field, an operator or a value that is not allowed; `misuse` for what is
 * `undefined`, and for a condition without operators, either of which would mean everything
 */
export function compileFilter(shape: ModelShape, allowed: readonly string[], filter: unknown): Prisma.Sql {
  const parts = entriesOf(filter, 'The filter').map(([key, value]) => {
    if (key === 'and' || key === 'or') {
      if (!Array.isArray(value)) throw invalid(`${key} must be a list of filters`)
      return combine(
        key,
        value.map((part: unknown) => compileFilter(shape, allowed, part)),
      )
    }
    if (!allowed.includes(key)) throw invalid(`${key} cannot be filtered by`)
    return compileCondition(columnOf(shape, key), value, key)
  })
  return combine('and', parts)
}

function compileCondition(column: Column, condition: unknown, path: string): Prisma.Sql {
  const operators = entriesOf(condition, path)
  if (operators.length === 0) throw new DatabaseError('misuse', `${path} has no condition, which would mean everything`)
  return combine(
    'and',
    operators.map(([name, operand]) => {
      const compile = compilers.get(name)
      if (compile === undefined) throw invalid(`${path} has no operator ${name}`)
      return compile(column, operand, `${path}.${name}`)
    }),
  )
}

type Compile = (column: Column, operand: unknown, path: string) => Prisma.Sql

const comparison =
  (operator: string): Compile =>
  ({ name, type }, operand, path) =>
    Prisma.sql`${name} ${Prisma.raw(operator)} ${notNull(type, operand, path)}`

const pattern =
  (operator: string, before: string): Compile =>
  ({ name }, operand, path) => {
    const text = String(notNull('String', operand, path)).replace(/[\\%_]/g, '\\$&')
    return Prisma.sql`${name} ${Prisma.raw(operator)} ${`${before}${text}%`}`
  }

const compilers: ReadonlyMap<string, Compile> = new Map([
  ['eq', (column, operand, path) => (operand === null ? isNull(column, true) : comparison('=')(column, operand, path))],
  [
    'not',
    (column, operand, path) =>
      operand === null ? isNull(column, false) : comparison('IS DISTINCT FROM')(column, operand, path),
  ],
  ['lt', comparison('<')],
  ['lte', comparison('<=')],
  ['gt', comparison('>')],
  ['gte', comparison('>=')],
  ['contains', pattern('LIKE', '%')],
  ['startsWith', pattern('LIKE', '')],
  ['search', pattern('ILIKE', '%')],
  [
    'in',
    ({ name, type }, operand, path) => {
      if (!Array.isArray(operand)) throw invalid(`${path} must be a list`)
      return Prisma.sql`${name} = ANY(${operand.map((value, index) => notNull(type, value, `${path}.${index}`))})`
    },
  ],
  [
    'between',
    ({ name, type }, operand, path) => {
      if (!Array.isArray(operand) || operand.length !== 2) throw invalid(`${path} must be a pair`)
      const [from, to] = operand.map((value, index) => notNull(type, value, `${path}.${index}`))
      return Prisma.sql`${name} BETWEEN ${from} AND ${to}`
    },
  ],
  ['isNull', (column, operand, path) => isNull(column, notNull('Boolean', operand, path) === true)],
])

const isNull = ({ name }: Column, wanted: boolean) =>
  wanted ? Prisma.sql`${name} IS NULL` : Prisma.sql`${name} IS NOT NULL`

/** All of none hold; one of none does not. */
function combine(how: 'and' | 'or', parts: readonly Prisma.Sql[]): Prisma.Sql {
  const [first, ...others] = parts
  if (first === undefined) return how === 'and' ? Prisma.sql`TRUE` : Prisma.sql`FALSE`
  if (others.length === 0) return first
  return Prisma.join([...parts], how === 'and' ? ' AND ' : ' OR ', '(', ')')
}

function entriesOf(value: unknown, path: string): [string, unknown][] {
  if (value === undefined) throw new DatabaseError('misuse', `${path} is undefined, which could mean anything`)
  // Only plain objects: a list, a date or a string has entries too, but none that are meant.
  const plain =
    typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))
  if (!plain) throw invalid(`${path} must be an object`)
  return Object.entries(value)
}

function notNull(type: Column['type'], operand: unknown, path: string): string | number | boolean {
  const parameter = toParameter(type, operand, path)
  if (parameter === null) throw invalid(`${path} cannot be null`)
  return parameter
}

const invalid = (message: string) => new DatabaseError('invalid_input', message)
