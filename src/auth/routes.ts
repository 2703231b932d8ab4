import { Hono } from 'hono'
import type { Database } from '../db/database.ts'
import type { AppEnv, AppMiddleware } from '../http/context.ts'
import { neverCached } from '../http/never-cached.ts'
import { readBody } from '../http/validation.ts'
import { toUserView } from '../users/schema.ts'
import { ACCESS_TOKEN_SECONDS } from './access-token.ts'
import { credentialsSchema } from './schema.ts'
import { type AuthOptions, getMe, logIn } from './service.ts'

interface AuthDependencies extends AuthOptions {
  database: Database
  requireCaller: AppMiddleware
}

export function authRoutes(dependencies: AuthDependencies) {
  const { database, requireCaller } = dependencies
  return new Hono<AppEnv>()
    .use(neverCached)
    .post('/token', async (c) => {
      const credentials = await readBody(c, credentialsSchema)
      const accessToken = await logIn(database, dependencies, credentials)
      return c.json({ accessToken, tokenType: 'Bearer', expiresIn: ACCESS_TOKEN_SECONDS })
    })
    .get('/me', requireCaller, async (c) => c.json(toUserView(await getMe(database, c.var.caller))))
}
