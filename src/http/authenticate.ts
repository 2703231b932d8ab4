import type { FindCaller } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { AppMiddleware } from './context.ts'

/**
 * Lets only callers with a valid access token through (RFC 6750), and leaves them in `c.var.caller`.
 * @throws {AppError} `unauthenticated`
 */
export const authenticate = (findCaller: FindCaller): AppMiddleware =>
  async function authenticate(c, next) {
    const [, token] = /^Bearer +([\w.~+/-]+=*)$/i.exec(c.req.header('Authorization') ?? '') ?? []
    const caller = token === undefined ? undefined : await findCaller(token)
    if (caller === undefined) {
      throw new AppError('unauthenticated', 'Send a valid access token as Authorization: Bearer <token>.')
    }
    c.set('caller', caller)
    await next()
  }
