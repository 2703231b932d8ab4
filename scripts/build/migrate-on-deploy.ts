import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { Environment } from '../../src/config.ts'

/**
 * Whether this build is a deployment that has a database of its own to bring up to date: production always, a preview
 * only if `MIGRATE_PREVIEWS` is `on`, for nothing else tells a branch of its own from the database of production.
 */
export function ownsDatabase({ VERCEL_ENV, MIGRATE_PREVIEWS }: Environment): boolean {
  return VERCEL_ENV === 'production' || (VERCEL_ENV === 'preview' && MIGRATE_PREVIEWS === 'on')
}

/**
 * Runs `prisma migrate deploy`, which takes the direct URL from the environment and prints what it does.
 * @throws {Error} if it fails: what was built must then not be published
 */
export async function deployMigrations(environment: Environment): Promise<void> {
  const prisma = createRequire(import.meta.url).resolve('prisma/build/index.js')
  // A migration that waits for a lock has every later query of the table wait behind it: better no deployment for now.
  const env = { PGOPTIONS: '-c lock_timeout=3s', ...environment }
  const child = spawn(process.execPath, [prisma, 'migrate', 'deploy'], { env, stdio: 'inherit' })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error('The migrations could not be applied, so nothing is deployed.')
}
