import * as z from 'zod'
import { AppError } from '../errors.ts'
import { uuid } from './validation.ts'

/** A whole number in a query, where everything is text. `''`, `'1e3'`, `'0x10'` and `' 7'` are not numbers here. */
export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(min).max(max))

export const trueOrFalse = z.enum(['true', 'false']).transform((value) => value === 'true')

/** Which rows a list shows of a collection with soft deletion. */
export const deletedFilter = z.enum(['exclude', 'include', 'only']).default('exclude')

export interface SortField<Field extends string> {
  field: Field
  direction: 'asc' | 'desc'
}

const MAX_OFFSET = 10_000
const MAX_IDS = 100

/** `createdAt,-name`: fields of an allow-list, each at most once, `-` for descending. */
function sortSchema<Field extends string>(sortable: readonly [Field, ...Field[]], fallback: string) {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const fields = text.split(',').map((part): SortField<Field> => {
        const name = part.replace(/^-/, '')
        const field = sortable.find((candidate) => candidate === name)
        if (field === undefined) context.addIssue(`each must be one of ${sortable.join(', ')}, with - for descending`)
        return { field: field ?? sortable[0], direction: part.startsWith('-') ? 'desc' : 'asc' }
      })
      if (new Set(fields.map(({ field }) => field)).size < fields.length) context.addIssue('a field may be named once')
      return fields
    })
}

/** The query of a list: what every collection takes, and the filters of this one. */
export function listQuery<Field extends string, Filters extends z.ZodRawShape>(
  sortable: readonly [Field, ...Field[]],
  filters: Filters,
) {
  return z.strictObject({
    limit: wholeNumber(1, 100).default(20),
    offset: wholeNumber(0, MAX_OFFSET).optional(),
    cursor: z.string().max(2000).optional(),
    sort: sortSchema(sortable, '-createdAt'),
    total: trueOrFalse.default(false),
    ids: z
      .string()
      .transform((text) => text.split(','))
      .pipe(z.array(uuid).min(1).max(MAX_IDS))
      .optional(),
    ...filters,
  })
}

/**
 * A page begins at an offset or after a cursor.
 * @throws {AppError} `invalid_parameter` for both at once
 */
export function refuseOffsetWithCursor(query: { offset?: number | undefined; cursor?: string | undefined }): void {
  if (query.offset === undefined || query.cursor === undefined) return
  throw new AppError('invalid_parameter', 'Send offset or cursor, not both.', {
    errors: [{ path: 'cursor', message: 'cannot be combined with offset' }],
  })
}
