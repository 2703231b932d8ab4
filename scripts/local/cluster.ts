import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  statfs,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { type PostgresBinaries, postgresBinaries } from './binaries.ts'
import { type ServerAccount, serverAccount } from './server-account.ts'

/** A database cluster on disk, and what is needed to run a server on it. */
export interface Cluster {
  readonly dataDir: string
  readonly pgdata: string
  readonly log: string
  readonly password: string
  readonly binaries: PostgresBinaries
  readonly account: ServerAccount
}

/** Kept small on purpose: nothing of the caller's environment (PGDATA, LC_*, LD_*) may change the server. */
export const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

const DRAFT_PREFIX = 'draft-'

/**
 * Finds the cluster in a directory, or creates it there.
 * @throws {Error} one sentence that says what to do
 */
export async function openCluster(path: string): Promise<Cluster> {
  try {
    await mkdir(path, { recursive: true })
    const dataDir = await realpath(path)
    const binaries = await postgresBinaries()
    const account = await serverAccount(dataDir, binaries)
    await chmod(dataDir, 0o700)
    const pgdata = join(dataDir, 'pgdata')
    const passwordFile = join(pgdata, 'password')
    if (!existsSync(passwordFile)) await createCluster(dataDir, pgdata, binaries, account)
    const password = await readFile(passwordFile, 'utf8')
    return { dataDir, pgdata, log: join(dataDir, 'postgres.log'), password, binaries, account }
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new Error(await explain(path, error.message), { cause: error })
    throw error
  }
}

/**
 * Makes the cluster beside its place and moves it there when it is complete, so an interrupted `initdb` leaves nothing
 * to repair, and of two that start at once one wins.
 */
async function createCluster(
  dataDir: string,
  pgdata: string,
  binaries: PostgresBinaries,
  account: ServerAccount,
): Promise<void> {
  if (existsSync(pgdata)) {
    throw new Error(
      `${pgdata}/password is missing, so this database cannot be opened: restore it, or remove ${dataDir}.`,
    )
  }
  const draft = await mkdtemp(join(dataDir, DRAFT_PREFIX))
  const passwordFile = join(draft, 'password')
  try {
    await writeFile(passwordFile, randomBytes(18).toString('base64url'), { mode: 0o600 })
    await giveTo(account, draft)
    await giveTo(account, passwordFile)
    const complaint = await initialise(join(draft, 'pgdata'), passwordFile, binaries, account)
    if (complaint !== undefined) throw new Error(await explain(dataDir, complaint))
    await rename(passwordFile, join(draft, 'pgdata', 'password'))
    await rename(join(draft, 'pgdata'), pgdata)
  } catch (error) {
    if (!existsSync(join(pgdata, 'password'))) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/** Runs `initdb`. The locale is PostgreSQL's own, so that text sorts alike on every machine. */
async function initialise(
  pgdata: string,
  passwordFile: string,
  { initdb }: PostgresBinaries,
  account: ServerAccount,
): Promise<string | undefined> {
  const args = [
    `--pgdata=${pgdata}`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
  ]
  const child = account.spawn(initdb, args, { cwd: '/', env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const [code]: unknown[] = await once(child, 'close')
  return code === 0 ? undefined : complaint
}

async function giveTo({ owner }: ServerAccount, path: string): Promise<void> {
  if (owner) await chown(path, owner.uid, owner.gid)
}

/** A file that {@link removeDrafts} clears away if this process does not live to. */
export function draftFile({ dataDir }: Cluster): string {
  return join(dataDir, `${DRAFT_PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`)
}

/** Removes what interrupted starts left; only for whoever runs the server. */
export async function removeDrafts({ dataDir }: Cluster): Promise<void> {
  const drafts = (await readdir(dataDir)).filter((name) => name.startsWith(DRAFT_PREFIX))
  for (const name of drafts) await rm(join(dataDir, name), { recursive: true, force: true })
}

/** One sentence from what PostgreSQL, or the operating system, said. */
export async function explain(dataDir: string, said: string): Promise<string> {
  if (/EROFS|Read-only file system/.test(said)) {
    return `PostgreSQL cannot write to ${dataDir}: the file system is read-only.`
  }
  // On a full disk the server's own words may have found no room in its log.
  const disk = await statfs(dataDir).catch(() => undefined)
  if (
    /No space left on device|ENOSPC|Check free disk space/.test(said) ||
    (disk && disk.bavail * disk.bsize < 2 ** 20)
  ) {
    return `The disk is full: PostgreSQL needs room in ${dataDir}.`
  }
  if (/EACCES|EPERM|ENOTDIR|EEXIST|Permission denied|wrong ownership/i.test(said)) {
    return `PostgreSQL may not use ${dataDir}: give it to the user who runs this, or set LOCAL_DATA_DIR to another folder.`
  }
  if (/spawn .* ENOENT|exec: .* not found/.test(said)) {
    return "PostgreSQL's programs do not run on this system (they need glibc): set DATABASE_URL to a server of your own."
  }
  const version = /initialized by PostgreSQL version (\S+), which is not compatible with this version (\d+)/.exec(said)
  if (version) {
    return `${dataDir} was written by PostgreSQL ${version[1]} and this is ${version[2]}: remove it, or set LOCAL_DATA_DIR to another folder.`
  }
  const fatal = /(?:FATAL|PANIC|error): {1,2}(.+)/.exec(said)?.[1] ?? said.trim().split('\n').at(-1)
  return `PostgreSQL did not start in ${dataDir}: ${fatal || 'it gave no reason'}.`
}
