import type { AppMiddleware } from './context.ts'

/** For answers that are true only now, or for one caller's eyes only. */
export const neverCached: AppMiddleware = async function neverCached(c, next) {
  await next()
  c.header('Cache-Control', 'no-store')
}
