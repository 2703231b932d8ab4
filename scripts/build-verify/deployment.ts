import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import * as z from 'zod'

export interface DeploymentOptions {
  /** The Build Output, in a folder from which no `node_modules` is found. */
  output: string
  /** The bundled launcher.ts. */
  launcher: string
  /** The program of the runtime that the functions ask for. */
  node: string
  environment: Record<string, string>
}

export interface Deployment {
  url: string
  /** What the functions printed so far. */
  output(): string
  stop(): Promise<void>
}

const configSchema = z.object({
  routes: z.array(z.object({ src: z.string().optional(), dest: z.string().optional(), handle: z.string().optional() })),
})

const functionSchema = z.object({ handler: z.string(), launcherType: z.literal('Nodejs'), runtime: z.string() })

/** What Vercel sets for every function, so that code which looks for it is run too. */
const SYSTEM_ENVIRONMENT = {
  VERCEL: '1',
  VERCEL_ENV: 'production',
  VERCEL_URL: 'deployment.invalid',
  VERCEL_REGION: 'dev1',
  NODE_ENV: 'production',
  NODE_PATH: '',
}

/** Starts each function in a process of its own, and before them a server that follows the routes. */
export async function startDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { routes } = configSchema.parse(JSON.parse(await readFile(join(options.output, 'config.json'), 'utf8')))
  const folder = join(options.output, 'functions')
  const functions = new Map<string, Instance>()
  for (const name of await readdir(folder)) {
    functions.set(`/${name.replace(/\.func$/, '')}`, await startInstance(join(folder, name), options))
  }
  const find = (path: string) => {
    for (const { src, dest, handle } of routes) {
      if (handle !== undefined) break
      if (src !== undefined && dest !== undefined && new RegExp(src).test(path)) return functions.get(dest)
    }
    return undefined
  }
  const server = createServer((incoming, outgoing) => {
    const instance = find(new URL(incoming.url ?? '/', 'http://any').pathname)
    if (instance === undefined) outgoing.writeHead(404).end()
    else forward(incoming, outgoing, instance.port)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server that listens on a port has an address of this kind.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    output: () => [...functions.values()].map((instance) => instance.output()).join(''),
    async stop() {
      server.close()
      server.closeAllConnections()
      await Promise.all(Array.from(functions.values(), (instance) => instance.stop()))
    },
  }
}

interface Instance {
  port: number
  output(): string
  stop(): Promise<void>
}

async function startInstance(folder: string, { launcher, node, environment }: DeploymentOptions): Promise<Instance> {
  const config = functionSchema.parse(JSON.parse(await readFile(join(folder, '.vc-config.json'), 'utf8')))
  const allowed = [resolve(folder), launcher].map((path) => `--allow-fs-read=${path}`)
  const child = spawn(node, ['--permission', ...allowed, launcher, resolve(folder, config.handler)], {
    cwd: folder,
    env: { ...SYSTEM_ENVIRONMENT, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  const exited = once(child, 'exit').then(() => {
    throw new Error(`${folder} does not start:\n${output}`)
  })
  // What the launcher sends is the address of its server.
  const [{ port }] = (await Promise.race([once(child, 'message'), exited])) as [AddressInfo]
  exited.catch(() => {})
  return { port, output: () => output, stop: () => stop(child) }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  // Vercel allows as much.
  const timer = setTimeout(() => child.kill('SIGKILL'), 500)
  await exited
  clearTimeout(timer)
}

function forward(incoming: IncomingMessage, outgoing: ServerResponse, port: number): void {
  const { method, url: path, headers } = incoming
  const onward = request({ port, host: '127.0.0.1', method, path, headers, agent: false }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    answer.pipe(outgoing)
    answer.once('error', () => outgoing.destroy())
  })
  onward.once('error', () => outgoing.destroy())
  outgoing.once('close', () => onward.destroy())
  incoming.pipe(onward)
}
