import type { Context, MiddlewareHandler } from 'hono'
import type { Caller } from '../caller.ts'

/** What middleware leaves for those after it. */
export interface AppEnv {
  Variables: { requestId: string; caller: Caller }
}

export type AppContext = Context<AppEnv>
export type AppMiddleware = MiddlewareHandler<AppEnv>
