import { DatabaseError } from './errors.ts'

/** A number of permits for connections; whoever finds none waits in line, and is served in turn. */
export class Permits {
  readonly #count: number
  readonly #line = new Set<() => void>()
  #taken = 0
  #closed = false
  #onDrained: (() => void) | undefined

  constructor(count: number) {
    this.#count = count
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#line.size
  }

  get closed(): boolean {
    return this.#closed
  }

  /** @throws {DatabaseError} `pool_timeout`, or `unavailable` once closed */
  async take(timeoutMs: number): Promise<void> {
    if (this.#closed) throw closedError()
    if (this.#taken < this.#count && this.#line.size === 0) {
      this.#taken++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const proceed = () => {
        clearTimeout(timer)
        this.#line.delete(proceed)
        if (this.#closed) reject(closedError())
        else resolve()
      }
      const timer = setTimeout(() => {
        this.#line.delete(proceed)
        reject(new DatabaseError('pool_timeout', `No connection became free within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#line.add(proceed)
    })
  }

  /** Gives a permit back, or rather on: to the first in line if there is one. */
  give(): void {
    const [next] = this.#line
    if (next !== undefined) {
      next()
      return
    }
    this.#taken--
    if (this.#taken === 0) this.#onDrained?.()
  }

  /** Refuses new takers and those in line, then waits for all permits to come back. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true
    for (const refuse of this.#line) refuse()
    if (this.#taken === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onDrained = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

export const closedError = () => new DatabaseError('unavailable', 'The database is closed')
