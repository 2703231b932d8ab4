import { DriverAdapterError } from '@prisma/driver-adapter-utils'
import pg from 'pg'

/** A failure with one of Prisma's codes and its wording: https://www.prisma.io/docs/orm/reference/error-reference */
export class KnownError extends Error {
  override readonly name = 'KnownError'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export function messageOf(error: unknown): string {
  if (!(error instanceof pg.DatabaseError)) return error instanceof Error ? error.message : String(error)
  const { severity, message, detail, hint } = error
  return [`${severity}: ${message}`, detail && `DETAIL: ${detail}`, hint && `HINT: ${hint}`].filter(Boolean).join('\n')
}

/** Why `url` could not be connected to, in the words of Prisma's native engine. */
export function connectionError(error: unknown, url: URL): unknown {
  const database = decodeURIComponent(url.pathname.slice(1))
  const message = messageOf(error)
  if (error instanceof pg.DatabaseError) {
    switch (error.code) {
      case '28P01':
        return new KnownError(
          'P1000',
          `Authentication failed against database server, the provided database credentials for \`${decodeURIComponent(url.username)}\` are not valid.\n\nPlease make sure to provide valid database credentials for the database server at the configured address.`,
        )
      case '3D000':
        return new KnownError('P1003', `Database \`${database}\` does not exist`)
      case '28000':
      case '42501':
        return new KnownError('P1010', `User was denied access on the database \`${database}\``)
      default:
        return error
    }
  }
  if (/\bSSL\b|\bTLS\b|certificate/i.test(message)) {
    return new KnownError('P1011', `Error opening a TLS connection: ${message}`)
  }
  const location = url.searchParams.get('host') ?? `${url.hostname}:${url.port || '5432'}`
  return new KnownError(
    'P1001',
    `Can't reach database server at \`${location}\`\n\nPlease make sure your database server is running at \`${location}\`.`,
  )
}

/** A failed statement as the engine expects it from a driver; it gives SQLSTATEs their meaning itself. */
export function driverError(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) return new DriverAdapterError({ kind: 'ConnectionClosed' })
  const { code = 'N/A', severity = 'N/A', message, detail, column, hint } = error
  return new DriverAdapterError({ kind: 'postgres', code, severity, message, detail, column, hint })
}
