import { once } from 'node:events'
import type { Server } from 'node:http'

/**
 * Starts to listen.
 * @param orNext whether the hundred ports after it will do as well, if this one is taken
 * @returns the port
 * @throws {Error} one sentence if the port is taken or not allowed
 */
export async function listen(
  server: Server,
  { host, port }: { host: string; port: number },
  { orNext }: { orNext: boolean },
): Promise<number> {
  for (let candidate = port; ; candidate++) {
    try {
      server.listen(candidate, host)
      await once(server, 'listening')
      const address = server.address()
      return typeof address === 'object' && address ? address.port : candidate
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error)) throw error
      if (error.code !== 'EADDRINUSE') throw new Error(`Cannot listen on ${host}:${port}: ${error.message}.`)
      if (!orNext || candidate === port + 100) throw new Error(`Port ${port} is taken: set PORT to another one.`)
    }
  }
}

/** Lets requests under way finish, for so many milliseconds at most, and takes no new ones. */
export async function drain(server: Server, limitMs: number): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const impatience = setTimeout(() => server.closeAllConnections(), limitMs)
  await closed
  clearTimeout(impatience)
}
