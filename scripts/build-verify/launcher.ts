// What Vercel's Node launcher does with a function, as far as a web handler can tell: loads it, then calls its `fetch`,
// without `this`, for every request. Runs in a process of its own, started by deployment.ts.
// https://github.com/vercel/vercel/blob/main/packages/node/src/serverless-functions/serverless-handler.mts
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'

type Fetch = (request: Request) => Response | Promise<Response>

/** The others are not let through to a function. */
const METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'PATCH'])

const [handler = ''] = process.argv.slice(2)
const waiting = new Set<Promise<unknown>>()
// Where `@vercel/functions` looks for what the platform offers.
Object.assign(globalThis, {
  [Symbol.for('@vercel/request-context')]: { get: () => ({ waitUntil }) },
})

const fetch = await load(handler)
const server = createServer((request, response) => void answer(request, response))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
process.send?.(server.address())
// An instance is not told more than this before it is gone; it ends with whoever started it.
process.once('SIGTERM', () => Promise.allSettled(waiting).then(() => process.exit()))
process.once('disconnect', () => process.exit())

function waitUntil(promise: Promise<unknown>): void {
  waiting.add(promise)
  void promise.catch(() => {}).finally(() => waiting.delete(promise))
}

async function load(path: string): Promise<Fetch> {
  let found: { default?: unknown; fetch?: unknown } = await import(pathToFileURL(path).href)
  // As the platform does, for transpiled modules; the cast is what it takes on trust.
  for (let depth = 0; depth < 5 && found.default; depth++) found = found.default as typeof found
  if (typeof found.fetch !== 'function') throw new Error(`${path} has no fetch to call`)
  return found.fetch as Fetch
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const disconnected = new AbortController()
  outgoing.once('close', () => outgoing.writableFinished || disconnected.abort())
  try {
    if (!METHODS.has(incoming.method ?? '')) return void outgoing.writeHead(405).end()
    const response = await fetch(toRequest(incoming, disconnected.signal))
    outgoing.statusCode = response.status
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value)
    if (response.body === null) return void outgoing.end()
    for await (const chunk of response.body) {
      if (!outgoing.write(chunk)) await once(outgoing, 'drain', { signal: disconnected.signal })
    }
    outgoing.end()
  } catch (error) {
    if (disconnected.signal.aborted) return
    console.error(error)
    if (!outgoing.headersSent) outgoing.statusCode = 500
    outgoing.end()
  }
}

function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers()
  for (const [name, values = []] of Object.entries(incoming.headersDistinct)) {
    for (const value of values) headers.append(name, value)
  }
  const { method = 'GET', url = '/' } = incoming
  const hasBody = method !== 'GET' && method !== 'HEAD'
  return new Request(new URL(url, `http://${incoming.headers.host}`), {
    method,
    headers,
    signal,
    // The declared types of Node's and the global streams are not one; the streams are.
    ...(hasBody && { body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: 'half' }),
  })
}
