import { type HttpServer, type HttpServerOptions, startHttpServer } from '../serve/http-server.ts'

/**
 * Serves a fetch handler.
 * @param orNext whether the hundred ports after the wanted one will do as well, if it is taken
 * @throws {Error} one sentence if the port is taken or not allowed
 */
export async function listen(options: HttpServerOptions, { orNext }: { orNext: boolean }): Promise<HttpServer> {
  const { host, port } = options
  for (let candidate = port; ; candidate++) {
    try {
      return await startHttpServer({ ...options, port: candidate })
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error)) throw error
      if (error.code !== 'EADDRINUSE') throw new Error(`Cannot listen on ${host}:${port}: ${error.message}.`)
      if (!orNext || candidate === port + 100) throw new Error(`Port ${port} is taken: set PORT to another one.`)
    }
  }
}
