import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startBridge } from '../../scripts/local/bridge.ts'
import { migrate } from '../../scripts/local/migrate.ts'
import { startPostgres } from '../../scripts/local/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    postgres: { adminUrl: string; bridge: string; template: string; authSecret: string }
  }
}

/** A crash of this server loses nothing of value, so it need not wait for the disk. */
const DISPOSABLE = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' }

const PREFIX = 'test-postgres-'

/** One PostgreSQL and one bridge for the whole run, and in it one migrated database to clone. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  // No test may reach a database of the developer's, not even through a program that it starts.
  for (const name of Object.keys(process.env)) if (/^(DATABASE_|NEON_|PG)/.test(name)) delete process.env[name]

  await removeLeftovers()
  const dataDir = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`))
  const postgres = await startPostgres({ dataDir, settings: DISPOSABLE })
  const bridge = await startBridge({ allow: (host, port) => host === '127.0.0.1' && port === postgres.port })
  const teardown = async () => {
    await bridge.close()
    await postgres.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  const template = 'migrated_template'
  try {
    await migrate(postgres.url(template))
  } catch (error) {
    await teardown()
    throw error
  }
  const authSecret = randomBytes(32).toString('base64url')
  project.provide('postgres', { adminUrl: postgres.url(), bridge: bridge.address, template, authSecret })
  return teardown
}

/** Clears away the files of runs that were killed before they could do so. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid === undefined || isRunning(Number(pid))) continue
    // Another user's are theirs to remove.
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {})
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
