import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { InstalledRuntime } from './runtime.ts'
import type { Place } from './test-bed.ts'

export interface Outcome {
  passed: number
  failed: string[]
  skipped: number
  /** Whether it ended in good order at SIGTERM; undefined where that is the host's business. */
  stopped: boolean | undefined
}

const START_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 15_000

/**
 * Starts the application in a folder of bundles, on the given runtime, and runs the black-box HTTP tests against it.
 * @throws {Error} with what it printed, if it does not come up
 */
export async function testRuntime(runtime: InstalledRuntime, folder: string, place: Place): Promise<Outcome> {
  const port = await freePort()
  const { PATH = '', HOME = '' } = process.env
  const server = spawn(runtime.path, runtime.serve(port), {
    cwd: folder,
    env: { PATH, HOME, PORT: String(port), ...place.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: some of the programs are started by a script that passes no signal on.
    detached: true,
  })
  let output = ''
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (chunk) => (output += chunk))
  const closed = once(server, 'close')
  try {
    const url = `http://127.0.0.1:${port}`
    await waitUntilHealthy(url, server).catch((error) => {
      throw new Error(`${runtime.name} ${runtime.version} does not serve: ${error.message}\n${output}`)
    })
    const reportPath = join(folder, `${runtime.program}-${runtime.version}.json`)
    const results = await runTests(url, place, reportPath, runtime.without?.file)
    signalGroup(server, 'SIGTERM')
    await Promise.race([closed, sleep(STOP_TIMEOUT_MS)])
    const isHost = runtime.program === 'workerd'
    return { ...results, stopped: isHost ? undefined : output.includes('"message":"stopped"') }
  } finally {
    signalGroup(server, 'SIGKILL')
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no TCP port')
  return address.port
}

async function waitUntilHealthy(url: string, server: ChildProcess): Promise<void> {
  const endsAt = Date.now() + START_TIMEOUT_MS
  for (;;) {
    const answer = await fetch(new URL('/api/v1/health', url)).then(
      async (response) => (response.ok ? 'ok' : `${response.status} ${await response.text()}`),
      (error: Error) => error.message,
    )
    if (answer === 'ok') return
    if (server.exitCode !== null || Date.now() > endsAt) throw new Error(answer)
    await sleep(50)
  }
}

const reportSchema = z.object({
  numPassedTests: z.int(),
  numPendingTests: z.int(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().optional(),
      assertionResults: z.array(
        z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()) }),
      ),
    }),
  ),
})

/** Runs the black-box HTTP tests against a server that is up. */
export async function runTests(
  url: string,
  place: Place,
  reportPath: string,
  excluded?: string,
): Promise<Omit<Outcome, 'stopped'>> {
  const env = {
    ...process.env,
    BLACK_BOX_URL: url,
    BLACK_BOX_DATABASE_URL: place.databaseUrl,
    AUTH_SECRET: place.environment['AUTH_SECRET'],
  }
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', 'test/api', '--reporter=json', `--outputFile=${reportPath}`]
  // All files look at one database here, and some count what is in it.
  vitest.push('--no-file-parallelism')
  if (excluded !== undefined) vitest.push(`--exclude=${excluded}`)
  await new Promise((resolve) => execFile(process.execPath, vitest, { env }, resolve))
  const report = reportSchema.parse(JSON.parse(await readFile(reportPath, 'utf8')))
  const failedTests = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `${test.fullName}: ${test.failureMessages[0]?.split('\n', 1)[0]}`),
  )
  // A file that fails before its first test has none to count.
  const failedFiles = report.testResults
    .filter((file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'))
    .map((file) => `${file.name}: ${file.message}`)
  return { passed: report.numPassedTests, skipped: report.numPendingTests, failed: [...failedTests, ...failedFiles] }
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is gone.
  }
}
