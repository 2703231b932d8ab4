/** A statement of this connection's server session, by name. */
export interface Plan {
  readonly name: string
  /** `doubtful`: the server may or may not have it, so it is closed (never an error) before it is prepared. */
  state: 'new' | 'ready' | 'doubtful'
}

const MAX_PLANS = 200

/**
 * The named statements of one connection, the least recently used forgotten first. A name is made of its statement's
 * text: behind a pooler, another client that prepared the same name meant the same statement.
 */
export class PreparedStatements {
  readonly #plans = new Map<string, Plan>()
  readonly #evicted: string[] = []

  plan(text: string): Plan {
    const known = this.#plans.get(text)
    const plan: Plan = known ?? { name: statementName(text), state: 'new' }
    this.#plans.delete(text)
    this.#plans.set(text, plan)
    if (this.#plans.size > MAX_PLANS) this.#evictOldest()
    return plan
  }

  /** Names to be closed on the server with the next statement. */
  takeEvicted(): string[] {
    return this.#evicted.splice(0)
  }

  /** After a migration, or a pooler that forgot one: every name is prepared anew when it is next used. */
  distrust(): void {
    for (const plan of this.#plans.values()) plan.state = 'doubtful'
  }

  #evictOldest(): void {
    const [oldest] = this.#plans
    if (oldest === undefined) return
    const [text, plan] = oldest
    this.#plans.delete(text)
    if (plan.state !== 'new') this.#evicted.push(plan.name)
  }
}

/** 64 bits of FNV-1a in two halves, and the length: names differ where texts do. */
function statementName(text: string): string {
  let low = 0x811c9dc5
  let high = 0xcbf29ce4
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    low = Math.imul(low ^ unit, 0x01000193)
    high = Math.imul(high ^ (unit + i), 0x85ebca6b)
  }
  const hex = (half: number) => (half >>> 0).toString(16).padStart(8, '0')
  return `p_${hex(high)}${hex(low)}_${text.length}`
}
