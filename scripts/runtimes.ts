// `npm run runtimes`: the black-box tests against the application on every runtime it is said to run on; the outcome is
// written into the documents as a table. Exits with 1 if a test fails anywhere, or if the worker is too big.
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Outcome, testRuntime } from './runtimes/black-box.ts'
import { bundleWorker } from './runtimes/bundle-worker.ts'
import { type InstalledRuntime, install, runtimes } from './runtimes/runtime.ts'
import { prepareTestBed } from './runtimes/test-bed.ts'
import { bundleServer } from './serve/bundle.ts'

/** The smallest limit of any host for such programs: gzipped, the module and its WebAssembly together. */
const MAX_WORKER_BYTES = 1_000_000

const DOCUMENTS = ['docs/runtimes.md', 'README.md']
const START = '<!-- runtimes:start -->'
const END = '<!-- runtimes:end -->'

interface Row {
  runtime: InstalledRuntime
  outcome: Outcome
}

async function main(): Promise<boolean> {
  const testBed = await prepareTestBed()
  try {
    const { folder } = testBed
    await bundleServer(folder)
    const { gzippedBytes } = await bundleWorker(folder)
    await copyFile('scripts/runtimes/workerd.capnp', join(folder, 'workerd.capnp'))
    console.log(`Worker: ${gzippedBytes} bytes gzipped, of ${MAX_WORKER_BYTES} allowed.`)

    const rows: Row[] = []
    for (const runtime of runtimes) {
      const installed = await install(runtime)
      const outcome = await testRuntime(installed, folder, await testBed.createPlace())
      rows.push({ runtime: installed, outcome })
      report({ runtime: installed, outcome })
    }
    for (const path of DOCUMENTS) await replaceTable(path, table(rows, gzippedBytes))
    const broken = rows.filter(({ outcome }) => outcome.failed.length > 0 || outcome.stopped === false)
    return broken.length === 0 && gzippedBytes <= MAX_WORKER_BYTES
  } finally {
    await testBed.close()
  }
}

function report({ runtime, outcome: { passed, failed, skipped, stopped } }: Row): void {
  const end = stopped === undefined ? '' : stopped ? ', stopped in good order' : ', DID NOT STOP in good order'
  console.log(`${runtime.name} ${runtime.version}: ${passed} passed, ${failed.length} failed, ${skipped} skipped${end}`)
  for (const name of failed) console.log(`  FAILED ${name}`)
}

function table(rows: readonly Row[], workerBytes: number): string {
  const lines = rows.map(({ runtime, outcome: { passed, failed, stopped } }) => {
    const webSocket = runtime.webSocket ? 'its own' : '`ws`'
    const end = stopped === undefined ? "the host's" : stopped ? 'yes' : 'no'
    const tests = `${passed} of ${passed + failed.length}${runtime.without === undefined ? '' : ' *'}`
    return `| ${runtime.name} | ${runtime.version} | ${webSocket} | ${tests} | ${end} |`
  })
  return [
    '| Runtime | Version | WebSocket | Black-box tests passed | Finishes what is in flight at SIGTERM |',
    '|---|---|---|---|---|',
    ...lines,
    '',
    ...rows.flatMap(({ runtime: { without } }) =>
      without === undefined ? [] : [`\\* Without \`${without.file}\`: ${without.reason}.`, ''],
    ),
    `The worker is ${(workerBytes / 1e6).toFixed(2)} MB gzipped, WebAssembly included.`,
  ].join('\n')
}

async function replaceTable(path: string, text: string): Promise<void> {
  const document = await readFile(path, 'utf8').catch(() => '')
  const [start, end] = [document.indexOf(START), document.indexOf(END)]
  if (start < 0 || end < start) return
  await writeFile(path, `${document.slice(0, start)}${START}\n${text}\n${document.slice(end)}`)
}

process.exitCode = (await main()) ? 0 : 1
