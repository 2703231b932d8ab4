import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

export interface Output {
  code: number | null
  /** What it printed, on both streams. */
  text: string
}

/** A copy of this project whose migrations a test may change, for the programs that look for them in their own folder. */
export interface Project {
  readonly dir: string
  /** Without `down`, the `down.sql` that is there stays. */
  addMigration(name: string, up: string, down?: string): Promise<void>
  /** `npm run db:<command>` without npm. */
  db(...args: string[]): Promise<Output>
  prisma(...args: string[]): Promise<Output>
  node(...args: string[]): Promise<Output>
  /** Starts a program as the head of a process group, so that a test can kill all of it. */
  start(...args: string[]): ChildProcess
  remove(): Promise<void>
}

export async function createProject(url: string | undefined): Promise<Project> {
  const dir = await mkdtemp(join(tmpdir(), 'project-'))
  for (const name of [
    'prisma',
    'scripts',
    'src',
    'package.json',
    'prisma.config.ts',
    'tsconfig.json',
    '.squawk.toml',
  ]) {
    await cp(join(root, name), join(dir, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(dir, 'node_modules'))
  const env = {
    ...process.env,
    DATABASE_URL: url,
    CHECKPOINT_DISABLE: '1',
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
    NO_COLOR: '1',
  }
  const start = (...args: string[]) => spawn(process.execPath, args, { cwd: dir, env, detached: true })
  const run = async (...args: string[]): Promise<Output> => {
    const child = start(...args)
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk))
    const [code] = await once(child, 'close')
    return { code, text }
  }
  return {
    dir,
    async addMigration(name, up, down) {
      const folder = join(dir, 'prisma/migrations', name)
      await mkdir(folder, { recursive: true })
      await writeFile(join(folder, 'migration.sql'), up)
      if (down !== undefined) await writeFile(join(folder, 'down.sql'), down)
    },
    db: (...args) => run('--import', 'tsx', 'scripts/db.ts', ...args),
    prisma: (...args) => run('node_modules/prisma/build/index.js', ...args),
    node: run,
    start,
    remove: () => rm(dir, { recursive: true, force: true }),
  }
}
