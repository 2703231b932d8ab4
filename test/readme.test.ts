import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

/** What differs from run to run in the answers that the README shows. */
const VOLATILE = new Set(['createdAt', 'updatedAt', 'requestId'])
const readme = readFileSync('README.md', 'utf8')
const dataDir = mkdtempSync(join(tmpdir(), 'readme-'))

/** The commands under "Run it": the one that starts it, then the curls, each with the answer shown below it. */
const [, section = ''] = /\n## Run it\n([\s\S]*?)\n## /.exec(readme) ?? []
const blocks = [...section.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map(([, language, text = '']) => ({ language, text }))

let stop: () => Promise<number | null>
let url: string

beforeAll(async () => {
  const [install, run = ''] = (blocks[0]?.text ?? '').trim().split(' && ')
  // The dependencies are here, or this test would not be.
  expect(install).toBe('npm install')
  const [command = '', ...args] = run.split(' ')
  // A port of its own, so that a server of the reader's may go on.
  const environment = { ...process.env, LOCAL_DATA_DIR: dataDir, PORT: '0', NODE_ENV: 'development' }
  const dev = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const exited = once(dev, 'exit')
  stop = async () => {
    process.kill(-(dev.pid ?? 0), 'SIGINT')
    const [code] = await exited
    return code
  }
  for await (const line of createInterface(dev.stdout)) {
    const [, ready] = /(http:\/\/localhost:\d+)/.exec(line) ?? []
    if (ready !== undefined) {
      url = ready
      break
    }
  }
}, 60_000)

afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

test('the commands of the README do what it says, in its order', async () => {
  const [, ...rest] = blocks
  const commands = rest.filter(({ language }) => language === 'sh').map(({ text }) => text.trim())
  const shown = rest.filter(({ language }) => language === 'json').map(({ text }) => JSON.parse(text))
  // The first one logs in and prints nothing.
  expect(shown).toHaveLength(commands.length - 1)

  const script = ['set -e', ...commands.flatMap((command) => [command, 'echo; echo ----'])].join('\n')
  const output = (await promisify(execFile)('bash', ['-c', script.replaceAll('http://localhost:3000', url)])).stdout
  const answers = output.split('----').map((text) => text.trim())
  expect(answers.shift()).toBe('')
  expect(answers.pop()).toBe('')
  expect(answers.map((text) => stable(JSON.parse(text)))).toEqual(shown.map(stable))

  // "Send it twice": the same answer, and the stock is taken once.
  const again = await promisify(execFile)('bash', [
    '-c',
    [commands[0], commands[2]].join('\n').replaceAll('http://localhost:3000', url),
  ])
  expect(again.stdout.trim()).toBe(answers[1])
})

test('it stops in good order', async () => {
  expect(await stop()).toBe(0)
})

/** Without what differs: times, request ids, and the id of the order. */
function stable(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, member) => {
    if (VOLATILE.has(key)) return typeof member
    return key === '' && member.status === 'placed' ? { ...member, id: typeof member.id } : member
  })
}
