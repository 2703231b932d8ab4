// `npm run build`: what Vercel deploys, in `.vercel/output`. On a deployment, also the migrations of its database.
import { existsSync } from 'node:fs'
import { writeBuildOutput } from './build/build-output.ts'
import type { Transport } from './build/bundle.ts'
import { deployMigrations, ownsDatabase } from './build/migrate-on-deploy.ts'

if (existsSync('.env')) process.loadEnvFile()
try {
  // Last of all, so that a build that fails has changed nothing.
  await writeBuildOutput('.vercel/output', readTransport(process.env['DATABASE_TRANSPORT']))
  if (ownsDatabase(process.env)) await deployMigrations(process.env)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

function readTransport(value: string | undefined): Transport {
  if (value === undefined || value === '') return 'websocket'
  if (value === 'websocket' || value === 'tcp') return value
  throw new Error(`DATABASE_TRANSPORT must be websocket or tcp, not ${value}.`)
}
