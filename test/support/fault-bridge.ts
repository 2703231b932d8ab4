import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Environment } from '../../src/config.ts'

/** One message of PostgreSQL's protocol on its way through the bridge. */
export interface WireMessage {
  direction: 'request' | 'reply'
  /** Its type byte; `startup` for the first request, which has none. */
  type: string
  /** The statement of a Parse, or the tag of a CommandComplete. */
  text: string
}

/**
 * - `drop`: this reply never arrives; of a request, nothing more of what was sent with it does
 * - `hold`: it and all behind it arrive only after `holdMs`
 * - `reset`, `close`: the connection ends instead, rudely or politely
 * - `black_hole`: nothing comes through any more in either direction, not even that someone hung up
 * - `deaf`: nothing comes through any more in this message's direction
 */
export type Fault = 'drop' | 'hold' | 'reset' | 'close' | 'black_hole' | 'deaf'

export interface FaultBridge {
  /** The settings that lead to this bridge instead of the database. */
  environment: Environment
  /** Asked about every message; undefined lets it through. */
  fault: (message: WireMessage) => Fault | undefined
  /** What becomes of new connections: at a WebSocket its upgrade, at TCP its first bytes. */
  onConnect: 'accept' | 'refuse' | 'hang' | 'status_503'
  latencyMs: number
  holdMs: number
  /** Messages are cut into pieces of so many bytes. */
  sliceBytes: number
  /** Clients are told a made-up process id, as transaction poolers do. */
  madeUpKeys: boolean
  /** Every message that came in, in order. */
  readonly messages: WireMessage[]
  /** How many WebSocket frames or TCP segments the clients have sent. */
  requestFrames: number
  /** Puts a fault on all connections there are. */
  breakAll(fault: 'reset' | 'close' | 'black_hole'): void
  /** Lets everything through again on new connections; those in a black hole stay there. */
  heal(): void
  close(): Promise<void>
}

/** How bytes leave to the client: frames of a WebSocket, or TCP. */
interface ClientSide {
  send(bytes: Buffer): void
  reset(): void
  close(): void
}

/**
 * A bridge to the database of `environment` that does to its traffic what networks do, message by message: in front of
 * the WebSocket transport as what `NEON_WS_PROXY` points at, in front of TCP as the server itself.
 */
export async function startFaultBridge(environment: Environment, transport: 'websocket' | 'tcp'): Promise<FaultBridge> {
  const database = new URL(environment['DATABASE_URL'] ?? '')
  const links = new Set<Link>()
  const sockets = new Set<Socket>()
  const server = transport === 'websocket' ? createHttpServer() : createServer()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    if (bridge.onConnect === 'refuse') socket.resetAndDestroy()
    else if (transport === 'tcp' && bridge.onConnect === 'accept') acceptTcp(socket)
  })

  const acceptTcp = (socket: Socket) => {
    socket.setNoDelay()
    const link = open({
      send: (bytes) => socket.write(bytes),
      reset: () => socket.resetAndDestroy(),
      close: () => socket.end(),
    })
    socket.on('data', (bytes) => link.request(bytes))
    socket.on('close', () => link.clientGone())
  }

  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  server.on('upgrade', (request, socket: Socket, head) => {
    if (bridge.onConnect === 'status_503') socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n')
    if (bridge.onConnect !== 'accept') return
    webSockets.handleUpgrade(request, socket, head, (web: WebSocket) => {
      web.on('error', () => {})
      const link = open({ send: (bytes) => web.send(bytes), reset: () => web.terminate(), close: () => web.close() })
      web.on('message', (bytes: Buffer) => link.request(bytes))
      web.on('close', () => link.clientGone())
    })
  })

  const open = (client: ClientSide) => {
    const upstream = connect({ host: database.hostname, port: Number(database.port), noDelay: true })
    const link = new Link(bridge, client, upstream)
    links.add(link)
    upstream.on('close', () => links.delete(link))
    return link
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server that listens on TCP has such an address.
  const { port } = server.address() as AddressInfo
  const address = `127.0.0.1:${port}`
  const bridge: FaultBridge = {
    environment: {
      ...environment,
      DATABASE_TRANSPORT: transport,
      ...(transport === 'websocket'
        ? { NEON_WS_PROXY: address }
        : { DATABASE_URL: Object.assign(new URL(database), { host: address }).href }),
    },
    fault: () => undefined,
    onConnect: 'accept',
    latencyMs: 0,
    holdMs: 1500,
    sliceBytes: Number.POSITIVE_INFINITY,
    madeUpKeys: false,
    messages: [],
    requestFrames: 0,
    breakAll(fault) {
      for (const link of links) link.break(fault)
    },
    heal() {
      Object.assign(bridge, { fault: () => undefined, onConnect: 'accept', latencyMs: 0 })
      bridge.sliceBytes = Number.POSITIVE_INFINITY
    },
    async close() {
      for (const link of links) link.break('reset')
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return bridge
}

/** One connection through the bridge. */
class Link {
  readonly #bridge: FaultBridge
  readonly #client: ClientSide
  readonly #upstream: Socket
  readonly #requests: Lane
  readonly #replies: Lane
  #hole = false

  constructor(bridge: FaultBridge, client: ClientSide, upstream: Socket) {
    this.#bridge = bridge
    this.#client = client
    this.#upstream = upstream
    this.#requests = new Lane('request', true, (bytes) => upstream.writable && upstream.write(bytes))
    this.#replies = new Lane('reply', false, (bytes) => client.send(bytes))
    upstream.on('data', (bytes) => this.#pass(this.#replies, bytes))
    upstream.on('error', () => {})
    upstream.on('close', () => {
      if (!this.#hole) this.#replies.after(() => client.close())
    })
  }

  request(bytes: Buffer): void {
    this.#bridge.requestFrames++
    this.#pass(this.#requests, bytes)
  }

  clientGone(): void {
    if (!this.#hole) this.#upstream.destroy()
  }

  break(fault: 'reset' | 'close' | 'black_hole'): void {
    this.#hole = true
    if (fault === 'black_hole') return
    if (fault === 'reset') this.#client.reset()
    else this.#client.close()
    this.#upstream.destroy()
  }

  #pass(lane: Lane, bytes: Buffer): void {
    let dropping = false
    for (const { message, frame } of lane.read(bytes)) {
      this.#bridge.messages.push(message)
      if (dropping) continue
      const fault = this.#hole || lane.deaf ? undefined : this.#bridge.fault(message)
      if (this.#bridge.madeUpKeys && message.direction === 'reply' && message.type === 'K') frame.writeInt32BE(7, 5)
      if (fault === 'deaf') lane.deaf = true
      else if (fault === 'hold') lane.wait(this.#bridge.holdMs)
      else if (fault !== undefined && fault !== 'drop') this.break(fault)
      if (fault !== 'drop' && !this.#hole && !lane.deaf) {
        lane.send(frame, this.#bridge.latencyMs, this.#bridge.sliceBytes, () => this.#hole)
      }
      if (fault === 'drop') dropping = lane === this.#requests
    }
  }
}

/** One direction of a link: bytes in, whole messages out, in order and in their own time. */
class Lane {
  deaf = false
  readonly #direction: WireMessage['direction']
  readonly #write: (bytes: Buffer) => unknown
  #untyped: boolean
  #rest: Buffer = Buffer.alloc(0)
  #line: Promise<unknown> | undefined

  constructor(direction: WireMessage['direction'], startsUntyped: boolean, write: (bytes: Buffer) => unknown) {
    this.#direction = direction
    this.#untyped = startsUntyped
    this.#write = write
  }

  *read(bytes: Buffer): Generator<{ message: WireMessage; frame: Buffer }> {
    this.#rest = Buffer.concat([this.#rest, bytes])
    for (;;) {
      const typeBytes = this.#untyped ? 0 : 1
      if (this.#rest.length < typeBytes + 4) return
      const length = typeBytes + this.#rest.readInt32BE(typeBytes)
      if (this.#rest.length < length) return
      const frame = this.#rest.subarray(0, length)
      this.#rest = this.#rest.subarray(length)
      const type = this.#untyped ? 'startup' : frame.toString('latin1', 0, 1)
      this.#untyped = false
      yield { message: { direction: this.#direction, type, text: textOf(this.#direction, type, frame) }, frame }
    }
  }

  send(frame: Buffer, latencyMs: number, sliceBytes: number, isCut: () => boolean): void {
    if (latencyMs > 0) this.wait(latencyMs)
    for (let start = 0; start < frame.length; start += sliceBytes) {
      const piece = frame.subarray(start, Math.min(frame.length, start + sliceBytes))
      this.after(() => isCut() || this.#write(piece))
    }
  }

  wait(milliseconds: number): void {
    const arrived = Date.now()
    this.#line = (this.#line ?? Promise.resolve()).then(() => sleep(Math.max(0, arrived + milliseconds - Date.now())))
  }

  after(action: () => unknown): void {
    if (this.#line === undefined) action()
    else this.#line = this.#line.then(action)
  }
}

function textOf(direction: WireMessage['direction'], type: string, frame: Buffer): string {
  const strings = frame.toString('utf8', 5).split('\0')
  if (direction === 'request' && type === 'P') return strings[1] ?? ''
  return direction === 'reply' && type === 'C' ? (strings[0] ?? '') : ''
}
