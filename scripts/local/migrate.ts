import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const projectDir = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Applies the pending migrations to a database by `prisma migrate deploy`, whatever database the environment or `.env`
 * may name.
 * @throws {Error} with what Prisma printed
 */
export async function migrate(url: string, signal?: AbortSignal): Promise<void> {
  const prisma = createRequire(import.meta.url).resolve('prisma/build/index.js')
  const env = {
    ...process.env,
    DATABASE_URL: url,
    DATABASE_URL_UNPOOLED: url,
    CHECKPOINT_DISABLE: '1',
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
  }
  const options = { cwd: projectDir, env, ...(signal && { signal }) }
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, [prisma, 'migrate', 'deploy'], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`prisma migrate deploy failed:\n${stdout}${stderr}`, { cause: error }))
      else resolve()
    })
  })
}
