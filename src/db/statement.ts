import type { DriverConnection, DriverQueryConstructor, QueryInput, QueryResult } from './driver.ts'
import type { Plan } from './prepared-statements.ts'

/** What goes out in one flush: one round trip for all of it. */
export interface Flush {
  input: QueryInput
  /** Run before the statement, unnamed; a failure of one is a failure of the statement. */
  prelude: readonly string[]
  /** Names to close on the server first. */
  closed: readonly string[]
  plan: Plan | undefined
  onAnswer: (error: unknown, result: QueryResult) => void
}

export type StatementClass = ReturnType<typeof defineStatement>
export type Statement = InstanceType<StatementClass>

/**
 * A driver's Query that sends a prelude in the same flush, and keeps the names of prepared statements to itself: the
 * drivers would take the prelude's first ParseComplete for that of the statement, and remember every name for ever.
 */
export function defineStatement(Query: DriverQueryConstructor) {
  return class Statement extends Query {
    /** Whether the server has run the statement to its end. Outside a transaction it commits only after that. */
    completed = false
    readonly #flush: Flush
    #preludeLeft: number

    constructor(flush: Flush) {
      super(flush.input, flush.input.values, flush.onAnswer)
      this.#flush = flush
      this.#preludeLeft = flush.prelude.length
    }

    override submit(connection: DriverConnection): Error | null {
      const { prelude, closed, plan } = this.#flush
      const { stream } = connection
      stream.cork?.()
      try {
        for (const name of closed) connection.close({ type: 'S', name })
        if (plan?.state === 'doubtful') connection.close({ type: 'S', name: plan.name })
        for (const text of prelude) {
          connection.parse({ text })
          connection.bind({})
          connection.execute({})
        }
        this.name = plan?.name
        return super.submit(connection)
      } finally {
        if (this.name !== undefined) delete connection.submittedNamedStatements?.[this.name]
        this.name = undefined
        stream.uncork?.()
      }
    }

    /** Always the extended protocol: a failed prelude skips to the Sync that ends it, and a simple query is none. */
    override requiresPreparation(): boolean {
      return true
    }

    override hasBeenParsed(): boolean {
      return this.#flush.plan?.state === 'ready'
    }

    override handleDataRow(message: unknown): void {
      if (this.#preludeLeft === 0) super.handleDataRow(message)
    }

    override handleCommandComplete(message: unknown, connection: DriverConnection): void {
      if (this.#preludeLeft > 0) {
        this.#preludeLeft--
        return
      }
      this.completed = true
      super.handleCommandComplete(message, connection)
    }

    override handleEmptyQuery(connection: DriverConnection): void {
      this.completed = true
      super.handleEmptyQuery(connection)
    }
  }
}
