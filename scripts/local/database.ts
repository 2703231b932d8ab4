import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startBridge } from './bridge.ts'
import { startPostgres } from './postgres.ts'

export interface LocalDatabase {
  /** What a program needs to use it as production uses Neon, by the names of the settings. */
  readonly environment: { DATABASE_URL: string; DATABASE_URL_UNPOOLED: string; NEON_WS_PROXY: string }
  stop(): Promise<void>
}

/**
 * Starts PostgreSQL and its bridge with everything kept in `directory`, and keeps them up: a server that is killed is
 * started again. Meanwhile `database-url` in that folder says where it is, for Prisma's command line.
 * @param report is told, in a sentence, what happened to the server
 */
export async function startLocalDatabase(directory: string, report: (line: string) => void): Promise<LocalDatabase> {
  const dataDir = join(directory, 'postgres')
  let postgres = await startPostgres({ dataDir })
  const { port } = postgres
  const url = postgres.url('app')
  const bridge = await startBridge({ allow: (host, to) => to === port && /^(127\.0\.0\.1|localhost)$/.test(host) })
  const urlFile = join(directory, 'database-url')
  await writeFile(urlFile, `${url}\n`, { mode: 0o600 })

  let stopping = false
  const keepUp = async () => {
    for (;;) {
      await postgres.exited
      if (stopping) return
      report('PostgreSQL ended unexpectedly; starting it again.')
      postgres = await startPostgres({ dataDir, port })
      if (stopping) await postgres.stop()
    }
  }
  const keptUp = keepUp().catch((error: Error) => report(error.message))

  return {
    environment: { DATABASE_URL: url, DATABASE_URL_UNPOOLED: url, NEON_WS_PROXY: bridge.address },
    async stop() {
      stopping = true
      await rm(urlFile, { force: true })
      await bridge.close()
      await postgres.stop()
      await keptUp
    },
  }
}
