import { AppError } from '../errors.ts'
import type { AppMiddleware } from './context.ts'

/**
 * Lets admins alone see rows that are marked deleted; a list without them is as open as its route.
 * @throws {AppError} `unauthenticated`, `forbidden`
 */
export const deletedForAdmins = (requireCaller: AppMiddleware): AppMiddleware =>
  async function deletedForAdmins(c, next) {
    const deleted = c.req.query('deleted')
    if (deleted !== 'include' && deleted !== 'only') return next()
    return requireCaller(c, async () => {
      if (c.var.caller.role !== 'admin') throw new AppError('forbidden', 'Only admins may see what was deleted.')
      await next()
    })
  }
