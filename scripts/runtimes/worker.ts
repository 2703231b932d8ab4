// The HTTP door where a socket may not outlive the request it was opened in: every request has its own pool.
import type { Environment } from '../../src/config.ts'
import { migrations } from '../../src/migrations/generated/manifest.ts'
import { boot } from '../../src/runtime.ts'

interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void
}

// biome-ignore lint/style/noDefaultExport: this is how workerd finds it
export default {
  async fetch(request: Request, environment: Environment, context: ExecutionContext): Promise<Response> {
    const { app, database } = await boot(environment, migrations)
    try {
      return await app.fetch(request)
    } finally {
      context.waitUntil(database.close())
    }
  },
}
