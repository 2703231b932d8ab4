import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { accessLog } from './access-log.ts'
import type { AppContext, AppEnv } from './context.ts'
import { deadline } from './deadline.ts'
import { errorsOnly } from './errors-only.ts'
import { problemResponse } from './problem.ts'

interface FrameOptions {
  log: Log
  requestDeadlineMs: number
}

/** Largest request body, in bytes. */
const MAX_BODY_BYTES = 1024 * 1024

/** An application without routes: what every request passes through, and what becomes of every error. */
export function createFrame({ log, requestDeadlineMs }: FrameOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>()

  app.onError((error, c) => problemResponse(c, log, error))
  app.notFound((c) => problemResponse(c, log, new AppError('not_found', 'There is nothing at this address.')))

  app.use(requestId())
  app.use(accessLog(log))
  app.use(secureHeaders())
  app.use(methodNotAllowed({ app, onMethodNotAllowed: (c, methods) => refuseMethod(c, log, methods) }))
  app.use(deadline(requestDeadlineMs))
  app.use(errorsOnly)
  app.use(bodyLimit({ maxSize: MAX_BODY_BYTES, onError: refuseBody }))

  return app
}

function refuseBody(): never {
  throw new AppError('payload_too_large', `The body may have at most ${MAX_BODY_BYTES} bytes.`)
}

function refuseMethod(c: AppContext, log: Log, methods: string[]): Response {
  c.header('Allow', methods.join(', '))
  return problemResponse(c, log, new AppError('method_not_allowed', `Use one of ${methods.join(', ')} here.`))
}
