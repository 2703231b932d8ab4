import { Client } from '@neondatabase/serverless'
import { PrismaNeon } from '@prisma/adapter-neon'
import type { DatabaseConfig } from '../config.ts'
import type { Driver, DriverClient, DriverQueryConstructor, DriverStream } from './driver.ts'
import { answerScram } from './scram.ts'
import { defineStatement } from './statement.ts'

export { PrismaNeon as PrismaAdapterFactory }

/** Neon's driver: PostgreSQL's protocol over a WebSocket, so that it runs where there is no TCP. */
export async function createDriver(config: DatabaseConfig): Promise<Driver> {
  const proxy = config.wsProxy
  const options = {
    // Node 20 has no WebSocket of its own; elsewhere nothing else is loaded.
    ...(typeof WebSocket === 'undefined' && { webSocketConstructor: (await import('ws')).WebSocket }),
    // Neon's own proxy wants none of these; a plain bridge knows neither TLS nor a log-in in one flush.
    ...(proxy !== undefined && {
      wsProxy: (host: string, port: number | string) => `${proxy}/v1?address=${host}:${port}`,
      useSecureWebSocket: false,
      pipelineConnect: false,
    }),
  }
  return {
    // The cast is for what the declared types leave out; see driver.ts.
    Statement: defineStatement((Client as unknown as { Query: DriverQueryConstructor }).Query),
    createClient() {
      const client = new Client({ connectionString: config.url })
      Object.assign(client.neonConfig, options)
      sendInOneFrame(client.connection.stream as unknown as WebSocketStream)
      answerInOneStep(client)
      return client as unknown as DriverClient
    },
    destroy(client) {
      const { ws } = client.connection.stream as WebSocketStream
      client.connection.stream.destroy()
      // `ws` would wait half a minute for the other side to agree to close.
      ws?.terminate?.()
    },
  }
}

/** The stream of Neon's client, and in it the WebSocket: the native one, or that of `ws`. */
interface WebSocketStream extends DriverStream {
  ws: { readonly readyState: number; send(bytes: Uint8Array): void; terminate?(): void } | null
  rawWrite(bytes: Uint8Array): void
}

/**
 * Neon's stream gathers the messages of a flush until a timer fires, a millisecond or more later. They are all written
 * in one go, so the end of the current task is late enough.
 */
function sendInOneFrame(stream: WebSocketStream): void {
  const OPEN = 1
  let messages: Uint8Array[] = []
  stream.rawWrite = (bytes) => {
    if (messages.push(bytes) > 1) return
    queueMicrotask(() => {
      const frame = concatenate(messages)
      messages = []
      if (stream.ws?.readyState === OPEN) stream.ws.send(frame)
    })
  }
}

/**
 * Neon's client derives the key of a SCRAM log-in in thousands of asynchronous steps, which takes a tenth of a second,
 * and lets an error on the way go unhandled.
 */
function answerInOneStep(client: Client): void {
  client._handleAuthSASLContinue = async ({ data }: { data: string }) => {
    try {
      const session = client.saslSession
      const { message, serverSignature } = await answerScram(client.password ?? '', session.clientNonce, data)
      Object.assign(session, { message: 'SASLResponse', response: message, serverSignature })
      client.connection.sendSCRAMClientFinalMessage(message)
    } catch (error) {
      client.connection.emit('error', error)
    }
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}
