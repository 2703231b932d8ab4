import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'

/** What `NEON_WS_PROXY` points at: speaks WebSocket to `@neondatabase/serverless` and TCP to any PostgreSQL. */
export interface Bridge {
  /** `host:port` */
  readonly address: string
  /** Cuts off every connection and frees the port. */
  close(): Promise<void>
}

export interface BridgeOptions {
  /** Default: any free one. */
  port?: number
  /** Whether clients may be connected to this server; a bridge that lets all through is an open relay. */
  allow: (host: string, port: number) => boolean
}

interface Target {
  host: string
  port: number
}

/**
 * Serves `ws://<address>/v1?address=host:port` on 127.0.0.1: each WebSocket becomes one TCP connection, byte for byte.
 * Addresses that are not allowed, and web pages (they send `Origin`), are answered with 403.
 */
export async function startBridge({ port = 0, allow }: BridgeOptions): Promise<Bridge> {
  const targets = new Set<Socket>()
  const http = createServer((_request, response) => response.writeHead(426).end())
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 0 })

  http.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const target = targetOf(request.url)
    if (!target || !allow(target.host, target.port) || request.headers.origin !== undefined) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () => socket.destroy())
      return
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const tcp = join(webSocket, target)
      targets.add(tcp)
      tcp.once('close', () => targets.delete(tcp))
    })
  })

  http.listen(port, '127.0.0.1')
  await once(http, 'listening')
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('the bridge has no TCP port')
  return {
    address: `127.0.0.1:${address.port}`,
    async close() {
      const closed = once(http, 'close')
      http.close()
      http.closeAllConnections()
      for (const webSocket of sockets.clients) webSocket.terminate()
      for (const tcp of targets) tcp.destroy()
      await closed
    },
  }
}

/** The end of one side ends the other once all bytes are through; an error cuts it off. */
function join(webSocket: WebSocket, target: Target): Socket {
  const tcp = connect({ ...target, noDelay: true, allowHalfOpen: true })
  const web = createWebSocketStream(webSocket)
  web.pipe(tcp)
  tcp.pipe(web)
  tcp.once('close', () => webSocket.close())
  tcp.on('error', () => webSocket.terminate())
  web.on('error', () => tcp.destroy())
  return tcp
}

function targetOf(url: string | undefined): Target | undefined {
  if (url === undefined || !URL.canParse(url, 'ws://bridge')) return undefined
  const { pathname, searchParams } = new URL(url, 'ws://bridge')
  const match = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(searchParams.get('address') ?? '')
  if (pathname !== '/v1' || match?.[1] === undefined) return undefined
  return { host: match[1], port: Number(match[2]) }
}
