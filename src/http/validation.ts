import * as z from 'zod'
import { AppError, type FieldProblem } from '../errors.ts'
import type { AppContext } from './context.ts'

/** Text that PostgreSQL can store: it refuses NUL and lone surrogates. Length in UTF-16 units. */
export const text = (min: number, max: number) =>
  z
    .string()
    .min(min)
    .max(max)
    .refine((value) => !/\0|\p{Surrogate}/u.test(value), 'must not hold NUL or unpaired surrogates')

/** Any UUID in any case; lower case is what is stored and shown. */
export const uuid = z.guid().toLowerCase()

const toFieldProblems = (error: z.ZodError): FieldProblem[] =>
  error.issues.map((issue) => ({ path: issue.path.map(String).join('.'), message: issue.message }))

/**
 * Reads the JSON body.
 * @throws {AppError} `unsupported_media_type`, `malformed_json`, or `validation_failed` with the path of every problem
 */
export async function readBody<T extends z.ZodType>(c: AppContext, schema: T): Promise<z.output<T>> {
  const mediaType = c.req.header('Content-Type')?.split(';', 1)[0]?.trim().toLowerCase()
  if (mediaType !== 'application/json') {
    throw new AppError('unsupported_media_type', 'Send the body as Content-Type: application/json.')
  }
  const body = parseJson(await c.req.bytes())
  const parsed = schema.safeParse(body)
  if (!parsed.success) {
    throw new AppError('validation_failed', 'See errors for what is wrong with the body.', {
      errors: toFieldProblems(parsed.error),
    })
  }
  return parsed.data
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new AppError('malformed_json', 'The body cannot be read as JSON in UTF-8.', { cause })
  }
}

/**
 * Reads the query. A parameter that is given twice, or is not in the schema, is refused.
 * @throws {AppError} `invalid_parameter`
 */
export function readQuery<T extends z.ZodType>(c: AppContext, schema: T): z.output<T> {
  const query = Object.entries(c.req.queries()).map(([name, values]) => [
    name,
    values.length === 1 ? values[0] : values,
  ])
  return readParameters(Object.fromEntries(query), schema)
}

/**
 * Reads the path's parameters.
 * @throws {AppError} `invalid_parameter`
 */
export function readPath<T extends z.ZodType>(c: AppContext, schema: T): z.output<T> {
  return readParameters(c.req.param(), schema)
}

/**
 * @throws {AppError} `invalid_parameter` with the name of every parameter at fault
 */
export function readParameters<T extends z.ZodType>(parameters: unknown, schema: T): z.output<T> {
  const parsed = schema.safeParse(parameters)
  if (parsed.success) return parsed.data
  throw new AppError('invalid_parameter', 'See errors for the parameters that are not valid.', {
    errors: toFieldProblems(parsed.error),
  })
}

export const idPath = z.strictObject({ id: uuid })
