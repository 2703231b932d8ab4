import { HISTORY_DDL, JOURNAL_DDL } from '../../src/migrations/history.ts'
import type { Direction, Plan } from '../../src/migrations/plan.ts'

/** What running the plans would do, as one script for `psql` that keeps the journal as truthful. */
export function printScripts(plans: readonly Plan[], direction: Direction): string {
  const parts = plans.map(({ file, script: { text, transactional }, before, after }) => {
    const note = transactional ? '' : ' (not in a transaction: if it fails, it can be run again)'
    const terminator = /;\s*$/.test(text) ? [] : [';']
    return [`-- ${file}${note}`, before, text.trimEnd(), ...terminator, after].join('\n')
  })
  return [
    '-- Stops at the first error with: psql -v ON_ERROR_STOP=1 -f FILE',
    'SET search_path TO public;',
    direction === 'up' ? JOURNAL_DDL : HISTORY_DDL,
    ...parts,
  ].join('\n\n')
}
