import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeBuildOutput } from '../scripts/build/build-output.ts'
import { deployMigrations, ownsDatabase } from '../scripts/build/migrate-on-deploy.ts'
import { inspectFunction } from '../scripts/build-verify/artefact.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

/** Calls the function in the folder it runs in, and prints the status and the body. */
const CALL = `
  const { default: app } = await import('./index.mjs')
  const response = await app.fetch(new Request('http://localhost/api/v1/products'))
  console.log(response.status, await response.text())
  process.exit()`

let folder: string
let testDatabase: TestDatabase

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'build-'))
  testDatabase = await createTestDatabase()
})

afterAll(async () => {
  await testDatabase.drop()
  await rm(folder, { recursive: true })
})

async function callProducts(functionFolder: string, settings: Record<string, string> = {}): Promise<string> {
  const { environment } = testDatabase
  const program = ['--input-type=module', '--eval', CALL]
  const { stdout } = await promisify(execFile)(process.execPath, program, {
    cwd: functionFolder,
    env: { ...environment, LOG_LEVEL: 'warn', ...settings },
  })
  return stdout
}

describe.for(['websocket', 'tcp'] as const)('a build for %s', (transport) => {
  const apiFolder = () => join(folder, transport, 'functions/api.func')

  beforeAll(() => writeBuildOutput(join(folder, transport), transport))

  test('is a Build Output of two functions, with routes and a cron job', async () => {
    const config = JSON.parse(await readFile(join(folder, transport, 'config.json'), 'utf8'))
    const to = (path: string) => config.routes.find(({ src }: { src: string }) => new RegExp(src).test(path)).dest
    expect(config.version).toBe(3)
    expect(['/', '/docs', '/api/v1/health', '/maintenance', '/cron/maintenance/x'].map(to)).toEqual(
      Array(5).fill('/api'),
    )
    expect(config.crons.map(({ path }: { path: string }) => to(path))).toEqual(['/maintenance'])
    expect(await readdir(join(folder, transport, 'functions'))).toEqual(['api.func', 'maintenance.func'])
    expect(JSON.parse(await readFile(join(apiFolder(), '.vc-config.json'), 'utf8'))).toEqual({
      runtime: 'nodejs24.x',
      handler: 'index.mjs',
      launcherType: 'Nodejs',
      shouldAddHelpers: false,
      shouldAddSourcemapSupport: true,
      supportsResponseStreaming: true,
      maxDuration: 30,
    })
  })

  test('has nothing in it that a function does not need', async () => {
    for (const name of ['api.func', 'maintenance.func']) {
      const { problems, packages } = await inspectFunction(join(folder, transport, 'functions', name), transport)
      expect(problems).toEqual([])
      expect(packages).toContain('hono')
    }
  })

  test('serves, where there is no node_modules', async () => {
    expect(await callProducts(apiFolder(), { DATABASE_TRANSPORT: transport })).toMatch(/^200 \{"data":\[\]/m)
  })

  test('says so if it is told to use the other driver', async () => {
    const output = await callProducts(apiFolder(), { DATABASE_TRANSPORT: transport === 'tcp' ? 'websocket' : 'tcp' })
    expect(output).toContain(`This build is for DATABASE_TRANSPORT=${transport}`)
    expect(output).toMatch(/^50\d /m)
  })

  test('is the same, byte for byte, wherever it is written to', async () => {
    const elsewhere = join(folder, 'a', 'longer', 'path', transport)
    await writeBuildOutput(elsewhere, transport)
    const files = await readdir(apiFolder())
    expect(await readdir(join(elsewhere, 'functions/api.func'))).toEqual(files)
    for (const file of files) {
      const [first, second] = [join(apiFolder(), file), join(elsewhere, 'functions/api.func', file)]
      expect((await readFile(first)).equals(await readFile(second)), file).toBe(true)
    }
  })
})

test('the inspection finds what cannot be had where the function runs', async () => {
  const tampered = await mkdtemp(join(folder, 'tampered-'))
  const modules = {
    'a.mjs': 'const fs = require("fs")',
    'b.mjs': 'import { createRequire } from "node:module"; createRequire(import.meta.url)("pg")',
    'c.mjs': 'import "zod"',
    'd.mjs': 'import "./elsewhere.mjs"; import "./a.mjs"; import "node:fs"',
    'e.mjs': 'await import(process.env.MODULE)',
    'f.mjs': `console.log(${JSON.stringify(process.cwd())})`,
    'g.mjs': 'syntax error',
  }
  for (const [name, code] of Object.entries(modules)) await writeFile(join(tampered, name), code)
  expect((await inspectFunction(tampered, 'websocket')).problems).toEqual([
    'no driver for websocket',
    'f.mjs names this folder',
    'a.mjs calls require',
    'b.mjs calls createRequire',
    'c.mjs imports zod',
    'd.mjs imports ./elsewhere.mjs',
    'e.mjs imports process.env.MODULE',
    expect.stringMatching(/^g\.mjs /),
  ])
})

test('the inspection finds the driver of the other transport', async () => {
  const { problems } = await inspectFunction(join(folder, 'tcp/functions/api.func'), 'websocket')
  expect(problems).toContain('pg is of the other transport')
  expect(problems).toContain('no driver for websocket')
})

test.for([
  [{}, false],
  [{ VERCEL_ENV: 'development' }, false],
  [{ VERCEL_ENV: 'preview' }, false],
  [{ VERCEL_ENV: 'preview', MIGRATE_PREVIEWS: 'off' }, false],
  [{ VERCEL_ENV: 'preview', MIGRATE_PREVIEWS: 'on' }, true],
  [{ VERCEL_ENV: 'production' }, true],
  [{ VERCEL_ENV: 'production', MIGRATE_PREVIEWS: 'off' }, true],
] as const)('%j migrates on deploy: %s', ([environment, migrates]) => {
  expect(ownsDatabase(environment)).toBe(migrates)
})

test('a deployment applies the migrations to the direct URL', async () => {
  const empty = await createTestDatabase({ migrated: false })
  const unreachable = 'postgresql://nobody@127.0.0.1:1/nothing'
  await deployMigrations({ ...process.env, DATABASE_URL: unreachable, DATABASE_URL_UNPOOLED: empty.url })
  const applied = await empty.query('SELECT migration_name FROM _prisma_migrations')
  expect(applied.length).toBeGreaterThan(0)
  await empty.drop()
})

test('a deployment stops if its migrations cannot be applied', async () => {
  const environment = { ...process.env, DATABASE_URL_UNPOOLED: 'postgresql://nobody@127.0.0.1:1/nothing' }
  await expect(deployMigrations(environment)).rejects.toThrow('nothing is deployed')
})

test('a deployment does not wait behind a long transaction, with the site waiting behind it', async () => {
  const database = await createTestDatabase()
  await database.query(await readFile('prisma/migrations/20260105090200_index_lists/down.sql', 'utf8'))
  await database.query(`DELETE FROM _prisma_migrations WHERE migration_name = '20260105090200_index_lists'`)
  await database.query('BEGIN; LOCK TABLE users IN ROW EXCLUSIVE MODE')
  const environment = { ...process.env, DATABASE_URL_UNPOOLED: database.url }
  await expect(deployMigrations(environment)).rejects.toThrow('nothing is deployed')
  await database.query('ROLLBACK')
  const [failed] = await database.query('SELECT logs FROM _prisma_migrations WHERE finished_at IS NULL')
  expect(failed?.['logs']).toContain('55P03')
  await database.drop()
})
