import { existsSync, readFileSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { join } from 'node:path'
import type { Environment } from '../src/config.ts'

/**
 * The URL for work that needs a session of its own, past any pooler: migrations and bulk data.
 * @throws {Error} one sentence that says what to do: nothing set and nothing running, no PostgreSQL URL, or a pooler
 */
export function resolveDirectUrl(environment: Environment): string {
  const url = findDatabaseUrl(environment)
  if (url === undefined) throw new Error(NO_DATABASE)
  requireDirect(url)
  return url
}

export const NO_DATABASE = 'There is no database to use: set DATABASE_URL, or run `npm run dev` in another terminal.'

/** `DATABASE_URL_UNPOOLED`, else `DATABASE_URL`, else the database of the `npm run dev` that runs in this folder. */
export function findDatabaseUrl(environment: Environment): string | undefined {
  return environment['DATABASE_URL_UNPOOLED'] || environment['DATABASE_URL'] || readRunningUrl(environment)
}

/** @throws {Error} one sentence that says what to do: no PostgreSQL URL, or a pooler */
export function requireDirect(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new Error('The database URL must begin with postgresql://: see DATABASE_URL_UNPOOLED and DATABASE_URL.')
  }
  if (parsed.hostname.split('.')[0]?.endsWith('-pooler')) {
    throw new Error(
      `${parsed.hostname} is a pooler, which keeps no session: set DATABASE_URL_UNPOOLED to the direct URL, the same without "-pooler".`,
    )
  }
}

/** Where `npm run dev` leaves the URL of its database for as long as it runs. */
function readRunningUrl(environment: Environment): string | undefined {
  const file = join(environment['LOCAL_DATA_DIR'] || '.data', 'database-url')
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}

const privateNetworks = new BlockList()
privateNetworks.addSubnet('127.0.0.0', 8)
privateNetworks.addSubnet('10.0.0.0', 8)
privateNetworks.addSubnet('172.16.0.0', 12)
privateNetworks.addSubnet('192.168.0.0', 16)
privateNetworks.addAddress('::1', 'ipv6')
privateNetworks.addSubnet('fc00::', 7, 'ipv6')

/**
 * Whether a database may be production: every one that is neither on this machine nor on a private network, such as
 * those of Neon or RDS. A name without a dot (a Compose service) is private.
 */
export function mayBeProduction(url: string): boolean {
  const { hostname, searchParams } = new URL(url)
  const host = (searchParams.get('host') ?? hostname).replace(/^\[|\]$/g, '')
  const family = isIP(host)
  if (family !== 0) return !privateNetworks.check(host, family === 6 ? 'ipv6' : 'ipv4')
  const socketOrBareName = host.startsWith('/') || !host.includes('.')
  return !socketOrBareName && !/\.(localhost|local|internal|test)$/.test(host)
}
