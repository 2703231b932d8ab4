// Writes what the sources need and git does not keep: the list of migrations that a build carries with it.
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readManifest } from '../src/migrations/folder.ts'

const target = fileURLToPath(new URL('../src/migrations/generated/manifest.ts', import.meta.url))
const manifest = await readManifest(fileURLToPath(new URL('../prisma/migrations', import.meta.url)))

await mkdir(dirname(target), { recursive: true })
await writeFile(
  target,
  `import type { MigrationManifest } from '../manifest.ts'\n\nexport const migrations: MigrationManifest = ${JSON.stringify(manifest, null, 2)}\n`,
)
