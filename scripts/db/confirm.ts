import { createInterface } from 'node:readline/promises'
import type { Environment } from '../../src/config.ts'
import { MigrationError } from '../../src/migrations/errors.ts'
import { mayBeProduction } from '../database-url.ts'

/** @throws {MigrationError} if the database may be production and `force` was not given */
export function refuseProduction(url: string, environment: Environment, force: boolean): void {
  const inProduction = environment['NODE_ENV'] === 'production' || environment['VERCEL_ENV'] === 'production'
  if (force || !(inProduction || mayBeProduction(url))) return
  throw new MigrationError(`${describeUrl(url)} may be production, and this loses data. If you mean it, add --force.`)
}

/** @throws {MigrationError} if the answer is not yes, or there is nobody to ask */
export async function confirmReset(url: string): Promise<void> {
  const question = `This removes everything in ${describeUrl(url)}, data too.`
  if (!process.stdin.isTTY) throw new MigrationError(`${question} There is no terminal to ask in: add --yes.`)
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  const answer = await terminal.question(`${question} Go on? (y/N) `).finally(() => terminal.close())
  if (!/^y(es)?$/i.test(answer.trim())) throw new MigrationError('Nothing was done.')
}

/** Without user and password. */
function describeUrl(url: string): string {
  const { pathname, hostname, port } = new URL(url)
  return `database ${decodeURIComponent(pathname.slice(1))} at ${hostname}:${port || 5432}`
}
