/**
 * What survives what: the adapter `PrismaNeon` as it is, the same with every timeout its driver has, and the database
 * layer of this project, all put through the same faults by the same bridge in one run (`npm run bench:survival`).
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { migrate } from '../scripts/local/migrate.ts'
import { startPostgres } from '../scripts/local/postgres.ts'
import { type Fault, startFaultBridge } from '../test/support/fault-bridge.ts'
import { type Contender, contenders } from './survival/contenders.ts'
import { answerOf, faultAt, placeTwo, type Scenario, scenarios, type Trial } from './survival/scenarios.ts'

const AT_ONCE = 6
const faults: Fault[] = ['drop', 'reset', 'close', 'black_hole', 'deaf', 'hold']

interface Result {
  survived: number
  of: number
  /** How often each thing went wrong. */
  wrong: Record<string, number>
}
type Results = Record<string, Record<string, Result>>

const escaped: unknown[] = []
process.on('uncaughtException', (error) => escaped.push(error))
process.on('unhandledRejection', (error) => escaped.push(error))

const dataDir = await mkdtemp(join(tmpdir(), 'survival-'))
const server = await startPostgres({ dataDir, settings: { fsync: 'off', max_connections: '300' } })
const url = server.url('survival')
let trials = 0
try {
  await migrate(url)
  const admin = new Client({ connectionString: url })
  admin.on('error', (error) => console.error(error))
  await admin.connect()
  const results = await runAll(async (sql, values) => (await admin.query(sql, values)).rows)
  await admin.end()
  await mkdir('bench/results', { recursive: true })
  await writeFile('bench/results/survival.json', `${JSON.stringify(results, null, 2)}\n`)
  await writeFile('bench/results/survival.md', toMarkdown(results))
  process.stdout.write(toMarkdown(results))
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await server.stop()
  await rm(dataDir, { recursive: true, force: true })
}
// Of the clients that hang, some would keep the process alive.
process.exit()

async function runAll(query: Trial['query']): Promise<Results> {
  const results: Results = {}
  for (const contender of contenders) {
    const before = escaped.length
    const record = (name: string, outcomes: (string | undefined)[]) => {
      results[name] = { ...results[name], [contender.name]: summarize(outcomes) }
    }
    for (const [name, scenario] of Object.entries(scenarios)) {
      record(name, [await attempt(contender, scenario, query)])
    }
    for (const fault of faults) {
      const outcomes: (string | undefined)[] = []
      const length = await countMessages(contender, query)
      const positions = Array.from({ length }, (_, at) => at)
      const worker = async () => {
        for (let at = positions.shift(); at !== undefined; at = positions.shift()) {
          outcomes.push(await attempt(contender, faultAt(fault, at), query))
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, worker))
      record(`\`${fault}\` at each message of a transaction`, outcomes)
      console.error(contender.name, fault, summarize(outcomes))
    }
    const out = escaped.slice(before).map(() => 'uncaught')
    record('errors that nobody can catch', out.length === 0 ? [undefined] : out)
  }
  return results
}

async function attempt(contender: Contender, scenario: Scenario, query: Trial['query']): Promise<string | undefined> {
  return withTrial(contender, query, scenario).catch((error: unknown) => `unexpected: ${error}`)
}

async function countMessages(contender: Contender, query: Trial['query']): Promise<number> {
  return withTrial(contender, query, async (trial) => {
    trial.bridge.messages.length = 0
    await placeTwo(trial)
    return trial.bridge.messages.length
  })
}

/** A contender on a warm connection behind a bridge of its own. */
async function withTrial<T>(contender: Contender, query: Trial['query'], work: (trial: Trial) => Promise<T>) {
  const id = `trial-${trials++}`
  const bridge = await startFaultBridge(
    { DATABASE_URL: url, AUTH_SECRET: 'not used here, but it has to be long' },
    'websocket',
  )
  const { client, close } = contender.open(bridge, id)
  try {
    // The first connection is no part of the trial.
    for (let left = 3; (await answerOf(client.product.count(), 10_000)) !== undefined && left > 0; left--);
    return await work({ id, bridge, client, query })
  } finally {
    bridge.heal()
    await answerOf(close(), 500)
    await bridge.close()
  }
}

function summarize(outcomes: (string | undefined)[]): Result {
  const wrong: Record<string, number> = {}
  for (const outcome of outcomes) if (outcome !== undefined) wrong[outcome] = (wrong[outcome] ?? 0) + 1
  return { survived: outcomes.filter((outcome) => outcome === undefined).length, of: outcomes.length, wrong }
}

function toMarkdown(results: Results): string {
  const cell = ({ survived, of, wrong }: Result) => {
    const troubles = Object.entries(wrong).map(([what, times]) => (of === 1 ? what : `${times} × ${what}`))
    const verdict = survived === of ? 'survives' : of === 1 ? 'does not' : `${survived} of ${of}`
    return [verdict, ...troubles].join('; ')
  }
  const names = contenders.map(({ name }) => name)
  const line = (cells: string[]) => `| ${cells.join(' | ')} |\n`
  const rows = Object.entries(results).map(([fault, byContender]) =>
    line([fault, ...names.map((name) => (byContender[name] ? cell(byContender[name]) : ''))]),
  )
  const intro = `# What survives what\n
A fault is survived if the caller has an answer in time, the answer is true, the next request is served within three
seconds of the network's recovery (six trials share the machine), and no transaction is left open on the server.\n\n`
  return intro + line(['fault', ...names]) + line(['---', ...names.map(() => '---')]) + rows.join('')
}
