/** What the pool and its connections do, for logs, metrics and tests. Statements come with their text, never with values. */
export type DatabaseEvent =
  | { type: 'connect'; durationMs: number }
  | { type: 'acquire'; waitedMs: number }
  | { type: 'release' }
  | { type: 'discard'; reason: DiscardReason; error?: unknown }
  | { type: 'statement'; text: string; durationMs: number; rows: number; error?: unknown }

/**
 * - `overflow`, `idle`, `recycle`: more than are kept, unused for too long, too old
 * - `pre_ping`: did not answer the check before use, or stood idle beside one that did not
 * - `broken`: lost, timed out, or spoke out of turn
 * - `open_transaction`: returned with its transaction open, or in a state nobody knows
 * - `closed`: the pool was closed
 */
export type DiscardReason = 'overflow' | 'idle' | 'recycle' | 'pre_ping' | 'broken' | 'open_transaction' | 'closed'

export type DatabaseObserver = (event: DatabaseEvent) => void
