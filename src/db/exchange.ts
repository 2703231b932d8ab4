import type { QueryResult } from './driver.ts'
import type { DatabaseError } from './errors.ts'
import type { Plan } from './prepared-statements.ts'
import type { Statement } from './statement.ts'

/**
 * One statement and its answer. It is settled when the server is ready for the next one, which it says after its answer
 * or refusal, or when the connection breaks.
 */
export class Exchange {
  readonly settled: Promise<QueryResult>
  readonly statement: Statement
  readonly plan: Plan | undefined
  #resolve: (result: QueryResult) => void = () => {}
  #reject: (error: DatabaseError) => void = () => {}
  #answer: QueryResult | undefined
  #refusal: DatabaseError | undefined

  constructor(statement: Statement, plan: Plan | undefined) {
    this.statement = statement
    this.plan = plan
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Whether the server may have run the statement to its end, for all that it has said. */
  get inDoubt(): boolean {
    return this.#refusal === undefined || this.statement.completed
  }

  get refusal(): DatabaseError | undefined {
    return this.#refusal
  }

  answer(result: QueryResult): void {
    this.#answer = result
  }

  refuse(refusal: DatabaseError): void {
    this.#refusal = refusal
  }

  /** Whether the statement is answered or refused; if so, it is settled now. */
  settle(): boolean {
    if (this.#refusal !== undefined) this.#reject(this.#refusal)
    else if (this.#answer !== undefined) this.#resolve(this.#answer)
    else return false
    return true
  }

  /** Settles with the reason if the server has not said anything. */
  cut(reason: DatabaseError): void {
    if (!this.settle()) this.#reject(reason)
  }
}
