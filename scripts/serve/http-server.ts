import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'

export interface HttpServer {
  readonly url: string
  /**
   * Stops listening, closes the connections without a request, and answers the requests in flight.
   * @returns false if some were still unanswered after `timeoutMs`: their connections are cut off then
   */
  drain(timeoutMs: number): Promise<boolean>
}

export interface HttpServerOptions {
  fetch: (request: Request) => Response | Promise<Response>
  host: string
  /** 0: any free one. */
  port: number
}

/** Longer than load balancers keep an idle connection: whoever closes first must not be the one that is written to. */
const KEEP_ALIVE_MS = 65_000

/**
 * Serves a fetch handler over HTTP/1.1.
 * @throws the system's error if it cannot listen there, e.g. `EADDRINUSE`
 */
export async function startHttpServer({ fetch, host, port }: HttpServerOptions): Promise<HttpServer> {
  const sockets = new Set<Socket>()
  const inFlight = new Set<ServerResponse>()
  let draining = false

  // Node's own `closeIdleConnections` passes over connections that have not sent a request yet.
  const closeIdle = () => {
    const busy = new Set(Array.from(inFlight, (response) => response.req.socket))
    for (const socket of sockets) if (!busy.has(socket)) socket.destroySoon()
  }

  const answer = getRequestListener(async (request, { incoming, outgoing }) => {
    const response = await fetch(request)
    // Half a second after an answer to a request that was not read to its end, the adapter cuts the connection off,
    // whatever else has been sent on it by then.
    if (!incoming.complete) outgoing.setHeader('Connection', 'close')
    return response
  })
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    inFlight.add(response)
    response.once('close', () => {
      inFlight.delete(response)
      if (draining) closeIdle()
    })
    void answer(request, response)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server listens on no TCP port.')
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address

  return {
    url: `http://${name}:${address.port}`,
    async drain(timeoutMs) {
      draining = true
      const closed = new Promise<true>((resolve) => server.close(() => resolve(true)))
      // The last of each connection's requests: what was sent after the others must be answered too.
      const last = new Map(Array.from(inFlight, (response) => [response.req.socket, response]))
      for (const response of last.values()) if (!response.headersSent) response.setHeader('Connection', 'close')
      closeIdle()

      let timer: NodeJS.Timeout | undefined
      const expired = new Promise<false>((resolve) => {
        timer = setTimeout(resolve, timeoutMs, false)
      })
      const answered = await Promise.race([closed, expired])
      clearTimeout(timer)
      if (!answered) server.closeAllConnections()
      return answered
    },
  }
}
