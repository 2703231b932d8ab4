import { DatabaseError } from '../errors.ts'
import type { Position } from './order.ts'

/** What a cursor is good for; with anything else it is refused. */
export type CursorBinding = readonly unknown[]

/** A position as opaque text that is safe in a URL. */
export async function encodeCursor(binding: CursorBinding, position: Position): Promise<string> {
  const text = JSON.stringify([await checksum(binding, position), ...position])
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte))
  return btoa(bytes.join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** @throws {DatabaseError} `invalid_cursor` for one that was made for something else, or altered */
export async function decodeCursor(binding: CursorBinding, cursor: string): Promise<Position> {
  const [given, ...position] = parse(cursor)
  if (given !== (await checksum(binding, position))) throw invalidCursor()
  return position
}

function parse(cursor: string): Position {
  try {
    const bytes = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
    const text = new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)))
    const parsed: unknown = JSON.parse(text)
    if (Array.isArray(parsed)) return parsed
  } catch (error) {
    throw invalidCursor(error)
  }
  throw invalidCursor()
}

/** Against mistakes, not against malice: whoever forges a cursor reads from a place of their choice, as they may anyway. */
async function checksum(binding: CursorBinding, position: Position): Promise<string> {
  const text = JSON.stringify([binding, position], (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  )
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Array.from(new Uint8Array(hash, 0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

const invalidCursor = (cause?: unknown) =>
  new DatabaseError('invalid_cursor', 'The cursor does not belong to this list, its order and its filters', { cause })
