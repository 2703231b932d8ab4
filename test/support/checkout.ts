import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const projectDir = fileURLToPath(new URL('../..', import.meta.url))

/** No request of the CLI's may leave this machine: what a download would need is a port where nobody listens. */
const OFFLINE = {
  PRISMA_ENGINES_MIRROR: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  CHECKPOINT_DISABLE: '1',
  PRISMA_HIDE_UPDATE_MESSAGE: '1',
}

export interface Output {
  code: number | null
  stdout: string
  stderr: string
}

interface RunOptions {
  env?: Record<string, string>
  stdin?: string
  /** What to type when the program asks something, in turn. */
  answers?: [question: string, answer: string][]
  /** Called once the program runs; a test may kill it. */
  started?: (pid: number) => void
}

/** A copy of what Prisma's CLI needs of this project, so that a test can change and generate what it likes. */
export interface Checkout {
  readonly directory: string
  /** Writes a file, and the folders that it needs. */
  write(path: string, text: string): void
  remove(path: string): void
  /** Runs `npx prisma` here, with nothing in the environment but what is given, and no way out of the machine. */
  prisma(args: string[], options?: RunOptions): Promise<Output>
  run(command: string, args: string[], options?: RunOptions): Promise<Output>
  /** Ends what still runs, and removes the files. */
  dispose(): void
}

export const prismaCli = join(projectDir, 'node_modules/prisma/build/index.js')

function typeAnswers({ stdin, stdout }: ChildProcessWithoutNullStreams, answers: [string, string][]): void {
  const remaining = [...answers]
  let heard = ''
  stdout.on('data', (text) => {
    heard += text
    const [question, answer] = remaining[0] ?? []
    if (question === undefined || !heard.includes(question)) return
    remaining.shift()
    heard = ''
    stdin.write(`${answer}\r`)
  })
}

export function createCheckout(): Checkout {
  const directory = mkdtempSync(join(tmpdir(), 'checkout-'))
  for (const path of ['prisma', 'scripts', 'prisma.config.ts', 'package.json', 'tsconfig.json']) {
    cpSync(join(projectDir, path), join(directory, path), { recursive: true })
  }
  symlinkSync(join(projectDir, 'node_modules'), join(directory, 'node_modules'))

  const running = new Set<number>()
  const run = (command: string, args: string[], { env, stdin = '', answers, started }: RunOptions = {}) =>
    new Promise<Output>((resolve, reject) => {
      const { PATH = '' } = process.env
      const child = spawn(command, args, {
        cwd: directory,
        env: { PATH, NO_COLOR: '1', ...OFFLINE, ...env },
        detached: true,
      })
      const output: Output = { code: null, stdout: '', stderr: '' }
      child.stdout.setEncoding('utf8').on('data', (text) => (output.stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text) => (output.stderr += text))
      child.on('error', reject).on('close', (code) => resolve({ ...output, code }))
      child.stdin.on('error', () => {})
      if (answers) typeAnswers(child, answers)
      else child.stdin.end(stdin)
      const { pid } = child
      if (pid === undefined) return
      running.add(pid)
      child.on('close', () => running.delete(pid))
      started?.(pid)
    })
  return {
    directory,
    write(path, text) {
      mkdirSync(dirname(join(directory, path)), { recursive: true })
      writeFileSync(join(directory, path), text)
    },
    remove: (path) => rmSync(join(directory, path), { recursive: true }),
    prisma: (args, options) => run(process.execPath, [prismaCli, ...args], options),
    run,
    dispose() {
      for (const pid of running) process.kill(-pid, 'SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
