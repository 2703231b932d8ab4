import { accessSync, chmodSync, constants, existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'prisma/config'
import { findDatabaseUrl, NO_DATABASE } from './scripts/database-url.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

if (existsSync(here('.env'))) process.loadEnvFile(here('.env'))

// The native engine is a download from a host that not every network reaches: docs/decisions/0002-schema-engine-from-npm.md
const schemaEngine = here('scripts/schema-engine.mjs')
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ||= schemaEngine
try {
  accessSync(schemaEngine, constants.X_OK)
} catch {
  // An archive does not always keep the permission that git does.
  chmodSync(schemaEngine, 0o755)
}

// `generate` and `validate` need none, and a build may have none; the others then stop with an error of Prisma's own.
const url = findDatabaseUrl(process.env)
const [command, subcommand] = process.argv.slice(2)
if (url === undefined && /^(migrate|db|studio)$/.test(command ?? '') && subcommand !== 'diff')
  console.error(NO_DATABASE)

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations', seed: 'tsx scripts/seed.ts' },
  datasource: url === undefined ? {} : { url },
})
