import type { AppMiddleware } from './context.ts'

/**
 * Makes an Error of whatever was thrown. Hono hands nothing else to `onError`, and drivers throw events and strings:
 * without this a lost WebSocket is an empty response.
 * @see https://github.com/honojs/hono/issues/1267
 */
export const errorsOnly: AppMiddleware = async function errorsOnly(_c, next) {
  try {
    await next()
  } catch (thrown) {
    throw thrown instanceof Error ? thrown : new Error('Something that is not an Error was thrown', { cause: thrown })
  }
}
