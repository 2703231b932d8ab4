// What Prisma's CLI runs as its schema engine: the same arguments, the same JSON-RPC on stdin and stdout, the same JSON
// lines on stderr as the native executable has.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { createDatabase, withConnection } from './databases.ts'
import { type Datasource, Engine, type Params, parseDirect } from './engine.ts'
import { KnownError, messageOf } from './errors.ts'
import { EnginePanic, loadEngine } from './wasm.ts'

interface Request {
  id: number
  /** Absent in the CLI's answers to what we ask it to print. */
  method?: string
  params?: Params
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  // The CLI has options that are for other databases.
  strict: false,
  options: {
    datamodels: { type: 'string', multiple: true },
    datasource: { type: 'string' },
    version: { type: 'boolean' },
  },
})
const datasource: Datasource = typeof values.datasource === 'string' ? JSON.parse(values.datasource) : {}
const [mode, command] = positionals

if (values.version === true) process.stdout.write(`schema-engine-cli ${(await loadEngine()).commit}\n`)
else if (mode === 'cli' && command !== undefined) await runCommand(command)
else await serve()

async function runCommand(name: string): Promise<void> {
  // The CLI skips the first line and parses the others.
  log('INFO', { message: 'Starting schema engine CLI' })
  try {
    const url = parseDirect(datasource.url ?? '')
    if (name === 'can-connect-to-database') {
      await withConnection(url, async () => {})
      log('INFO', { message: 'Connection successful' })
    } else if (name === 'create-database') {
      log('INFO', { message: `Database '${await createDatabase(url)}' was successfully created.` })
    } else {
      throw new Error(`Unknown command ${name}`)
    }
  } catch (error) {
    log('ERROR', failure(error))
    process.exitCode = 1
  }
}

async function serve(): Promise<void> {
  const paths = (values.datamodels ?? []).filter((path) => typeof path === 'string')
  const engine = new Engine(
    await loadEngine(),
    datasource,
    paths.map((path) => [path, readFileSync(path, 'utf8')]),
  )
  // The CLI ends us with SIGTERM as soon as it has its answers; Ctrl-C may come in the middle of anything.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void engine.close().finally(() => process.exit()))
  }
  // A CLI that is gone no longer reads, but what it asked for is finished.
  process.stdout.on('error', () => {})

  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params }: Request = JSON.parse(line)
    if (method === undefined) continue
    try {
      const result = await engine.call(method, params)
      if (typeof result === 'object' && typeof result['stdout'] === 'string') {
        send({ id: `print-${id}`, method: 'print', params: { content: result['stdout'] } })
      }
      send({ id, result })
    } catch (error) {
      send({ id, error: { code: 4466, message: messageOf(error), data: failure(error) } })
      if (error instanceof EnginePanic) process.exit(101)
    }
  }
  await engine.close()
}

function failure(error: unknown): Record<string, unknown> {
  return {
    is_panic: error instanceof EnginePanic,
    message: messageOf(error),
    error_code: error instanceof KnownError ? error.code : null,
  }
}

function send(message: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
}

function log(level: 'INFO' | 'ERROR', fields: Record<string, unknown>): void {
  process.stderr.write(`${JSON.stringify({ level, target: 'schema_engine::logger', fields })}\n`)
}
