import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Client } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'

export type Field = string | number | boolean | null

/** Characters in one write to the socket: enough to make the cost of each small. */
const WRITE_LENGTH = 65_536

/**
 * Sends rows by COPY, as fast as the server takes them and no further ahead than a stream's buffer.
 * @param onRows told how many more rows have been handed over
 */
export async function copyRows(
  client: Client,
  table: string,
  columns: string,
  rows: Iterable<readonly Field[]>,
  onRows: (count: number) => void,
): Promise<void> {
  const copy = client.query(copyFrom(`COPY ${table} (${columns}) FROM STDIN`))
  await pipeline(Readable.from(toWrites(rows, onRows), { objectMode: false }), copy)
}

async function* toWrites(rows: Iterable<readonly Field[]>, onRows: (count: number) => void): AsyncGenerator<string> {
  let text = ''
  let count = 0
  for (const row of rows) {
    text += `${row.map(toCopyText).join('\t')}\n`
    count++
    if (text.length < WRITE_LENGTH) continue
    yield text
    onRows(count)
    text = ''
    count = 0
    // A socket that takes everything at once would keep signals and timers waiting to the end.
    await nextTurn()
  }
  if (text !== '') yield text
  onRows(count)
}

/** @see https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT */
function toCopyText(field: Field): string {
  if (field === null) return '\\N'
  if (typeof field !== 'string') return String(field)
  return field.replace(/[\\\t\n\r]/g, (character) => escapes[character] ?? character)
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }
