import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Client, neonConfig } from '@neondatabase/serverless'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Bridge, startBridge } from '../scripts/local/bridge.ts'

let bridge: Bridge
let target: Server
let port: number
const arrived: Socket[] = []

beforeEach(async () => {
  target = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    arrived.push(socket)
  }).listen(0, '127.0.0.1')
  await once(target, 'listening')
  const address = target.address()
  port = typeof address === 'object' && address ? address.port : 0
  bridge = await startBridge({ allow: (host, to) => host === '127.0.0.1' && to === port })
})

afterEach(async () => {
  await bridge.close()
  for (const socket of arrived.splice(0)) socket.destroy()
  target.close()
})

test('carries bytes both ways, unchanged and in order', async () => {
  const { web, tcp } = await open()
  const bytes = randomBytes(8 * 1024 * 1024)
  const sent = digest(bytes)

  const there = received(tcp, bytes.length)
  for (let at = 0; at < bytes.length; at += 100_003) web.send(bytes.subarray(at, at + 100_003))
  expect(digest(await there)).toBe(sent)

  const back = new Promise<Buffer>((resolve) => {
    const parts: Buffer[] = []
    let size = 0
    web.on('message', (data: Buffer) => {
      parts.push(data)
      size += data.length
      if (size === bytes.length) resolve(Buffer.concat(parts))
    })
  })
  tcp.write(bytes)
  expect(digest(await back)).toBe(sent)
})

test('takes no more from the client than the server reads', async () => {
  const { web, tcp } = await open()
  tcp.pause()
  const size = 64 * 1024 * 1024
  for (let sent = 0; sent < size; sent += 65_536) web.send(Buffer.alloc(65_536))
  await settled(() => web.bufferedAmount)
  expect(web.bufferedAmount).toBeGreaterThan(size / 2)
  const all = received(tcp, size)
  tcp.resume()
  expect((await all).length).toBe(size)
})

test('takes no more from the server than the client reads', async () => {
  const { web, tcp } = await open()
  web.pause()
  const size = 64 * 1024 * 1024
  tcp.write(Buffer.alloc(size))
  await settled(() => tcp.writableLength)
  expect(tcp.writableLength).toBeGreaterThan(size / 2)
  let got = 0
  web.on('message', (data: Buffer) => {
    got += data.length
  })
  web.resume()
  await settled(() => got)
  expect(got).toBe(size)
})

test('ends the client’s side when the server ends, after the last byte', async () => {
  const { web, tcp } = await open()
  const parts: Buffer[] = []
  web.on('message', (data: Buffer) => parts.push(data))
  tcp.end(Buffer.alloc(1_000_000, 'x'))
  await once(web, 'close')
  expect(Buffer.concat(parts).length).toBe(1_000_000)
})

test('ends the server’s side when the client ends, after the last byte', async () => {
  const { web, tcp } = await open()
  const all = received(tcp, 1_000_000)
  const ended = once(tcp, 'end')
  web.send(Buffer.alloc(1_000_000, 'x'))
  web.close()
  expect((await all).length).toBe(1_000_000)
  await ended
})

test('a reset on either side cuts off the other', async () => {
  const first = await open()
  first.tcp.resetAndDestroy()
  const [code] = await once(first.web, 'close')
  expect(code).toBe(1006)

  const second = await open()
  const ended = once(second.tcp.resume(), 'end')
  second.web.terminate()
  await ended
})

test('bytes that are not WebSocket frames end that connection and no other', async () => {
  const good = await open()
  const bad = connect(portOf(bridge), '127.0.0.1')
  bad.write(
    `GET /v1?address=127.0.0.1:${port} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  await once(bad, 'data')
  bad.write(Buffer.alloc(64, 0xff))
  await once(bad.resume(), 'close')
  const there = received(good.tcp, 2)
  good.web.send('ok')
  expect(String(await there)).toBe('ok')
})

test('a server that refuses closes the client', async () => {
  target.close()
  const web = new WebSocket(`ws://${bridge.address}/v1?address=127.0.0.1:${port}`)
  const [code] = await once(web, 'close')
  expect(code).toBe(1006)
})

test('lets nobody through to other servers, nor web pages to any', async () => {
  const address = `127.0.0.1:${port}`
  const refused = [
    [`/v1?address=127.0.0.1:${port + 1}`],
    [`/v1?address=localhost:${port}`],
    ['/v1?address='],
    ['/v1?address=127.0.0.1'],
    ['/v1'],
    [`/v2?address=${address}`],
    ['//'],
    [`/v1?address=${address}`, 'http://evil.example'],
  ] as const
  for (const [path, origin] of refused) {
    const web = new WebSocket(`ws://${bridge.address}${path}`, { ...(origin && { origin }) })
    const [error] = await once(web, 'error')
    expect(String(error), path).toContain('Unexpected server response: 403')
  }
  expect(arrived).toHaveLength(0)
  expect((await fetch(`http://${bridge.address}/v1?address=${address}`)).status).toBe(426)
})

test('close() ends every connection on both sides and frees the port', async () => {
  const { web, tcp } = await open()
  const idle = connect(portOf(bridge), '127.0.0.1')
  await once(idle, 'connect')
  const ended = Promise.all([once(web, 'close'), once(tcp.resume(), 'close'), once(idle.resume(), 'close')])
  await bridge.close()
  tcp.end()
  await ended
  const again = await startBridge({ port: portOf(bridge), allow: () => false })
  await again.close()
})

test('the Neon driver speaks to PostgreSQL through it', async () => {
  const { adminUrl, bridge: shared } = inject('postgres')
  Object.assign(neonConfig, {
    wsProxy: (host: string, to: number) => `${shared}/v1?address=${host}:${to}`,
    useSecureWebSocket: false,
    pipelineTLS: false,
    pipelineConnect: false,
    webSocketConstructor: WebSocket,
  })
  const client = new Client(adminUrl)
  await client.connect()
  const { rows } = await client.query("SELECT length($1) AS there, repeat('y', 5000000) AS back", [
    'x'.repeat(5_000_000),
  ])
  expect(rows[0]).toEqual({ there: 5_000_000, back: 'y'.repeat(5_000_000) })
  await client.end()
})

async function open(): Promise<{ web: WebSocket; tcp: Socket }> {
  const web = new WebSocket(`ws://${bridge.address}/v1?address=127.0.0.1:${port}`)
  web.on('error', () => {})
  const accepted = once(target, 'connection')
  await once(web, 'open')
  await accepted
  const tcp = arrived.at(-1)
  if (!tcp) throw new Error('nothing arrived at the target')
  return { web, tcp }
}

function received(socket: Socket, size: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let got = 0
  return new Promise((resolve) => {
    socket.on('data', (part: Buffer) => {
      parts.push(part)
      got += part.length
      if (got >= size) resolve(Buffer.concat(parts))
    })
  })
}

/** Waits until a number has stopped to change. */
async function settled(read: () => number): Promise<void> {
  for (let last = Number.NaN, same = 0; same < 10; ) {
    await new Promise((resolve) => setTimeout(resolve, 30))
    same = read() === last ? same + 1 : 0
    last = read()
  }
}

const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const portOf = ({ address }: Bridge) => Number(address.split(':')[1])
