import type { DatabaseObserver } from './events.ts'

/** Logs every statement with its duration in milliseconds and its rows; never its values. */
export function echo(log: { info(message: string, fields: Record<string, unknown>): void }): DatabaseObserver {
  return (event) => {
    if (event.type !== 'statement') return
    const { text, durationMs, rows, error } = event
    log.info('statement', {
      text,
      durationMs: Math.round(durationMs * 1000) / 1000,
      rows,
      ...(error !== undefined && { error }),
    })
  }
}
