import type { Log } from '../log.ts'
import type { AppMiddleware } from './context.ts'

/** Logs each request when its response is ready: no query string and no header, for they may carry secrets. */
export const accessLog = (log: Log): AppMiddleware =>
  async function accessLog(c, next) {
    const started = performance.now()
    await next()
    const durationMs = Math.round((performance.now() - started) * 10) / 10
    const { method, path } = c.req
    log.info('request', { requestId: c.get('requestId'), method, path, status: c.res.status, durationMs })
  }
