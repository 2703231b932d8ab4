import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process'
import { chown, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { PostgresBinaries } from './binaries.ts'

const run = promisify(execFile)

/** Under whose name PostgreSQL's programs run: it refuses root. */
export interface ServerAccount {
  /** Who must own the server's files; undefined where that is whoever runs this process. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess
}

/**
 * For root: the owner of the existing data directory, or else `postgres` or `nobody`. Where that account cannot pass
 * through a folder on the way (a checkout under `/root`), its programs get the one capability to do so (Linux).
 * `directory` must exist; it is given to that account.
 */
export async function serverAccount(directory: string, binaries: PostgresBinaries): Promise<ServerAccount> {
  if (process.getuid?.() !== 0) return { owner: undefined, spawn }
  const { uid, gid } = await stat(directory)
  const owner = uid === 0 ? await unprivilegedAccount() : { uid, gid }
  await chown(directory, owner.uid, owner.gid)
  const probe = ['-c', 'cd "$1" && test -x "$2"', 'sh', directory, binaries.postgres]

  const plain: ServerAccount = {
    owner,
    spawn: (program, args, options) => spawn(program, args, { ...options, ...owner }),
  }
  if (await succeeds(plain.spawn('sh', probe, { cwd: '/', stdio: 'ignore' }))) return plain

  // Containers often keep the second from root but leave it the first, or the other way round.
  for (const capability of ['dac_read_search', 'dac_override']) {
    const drop = [
      `--reuid=${owner.uid}`,
      `--regid=${owner.gid}`,
      '--clear-groups',
      // Without it access(2), which PostgreSQL asks about its own programs, does not count capabilities.
      '--securebits=+no_setuid_fixup',
      `--inh-caps=+${capability}`,
      `--ambient-caps=+${capability}`,
    ]
    const capable: ServerAccount = {
      owner,
      spawn: (program, args, options) => spawn('setpriv', [...drop, '--', program, ...args], options),
    }
    if (await succeeds(capable.spawn('sh', probe, { cwd: '/', stdio: 'ignore' }))) return capable
  }
  throw new Error(
    `PostgreSQL does not run as root, and user id ${owner.uid} may not enter ${directory}: run this as an ordinary user, or move the project to a folder that all may enter.`,
  )
}

async function unprivilegedAccount(): Promise<{ uid: number; gid: number }> {
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]).catch(() => undefined)
    if (ids) return { uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.')
}

function succeeds(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}
