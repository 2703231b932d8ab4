import type { Connection } from './connection.ts'
import { DatabaseError } from './errors.ts'
import type { DatabaseObserver, DiscardReason } from './events.ts'
import { closedError, Permits } from './permits.ts'

export interface PoolOptions {
  /** Opens a connection, or rejects within the time given. */
  open: (timeoutMs: number) => Promise<Connection>
  size: number
  maxOverflow: number
  /** Longest wait for a connection, all told. */
  acquireMs: number
  connectMs: number
  recycleMs: number
  idleMs: number
  /** 0: always; -1: never. */
  prePingIdleMs: number
  prePingMs: number
  observe: DatabaseObserver
}

/** `open` = `checkedIn` + `checkedOut`, and counts connections that are being opened, as `checkedOut` does. */
export interface PoolStatus {
  size: number
  maxOverflow: number
  open: number
  checkedIn: number
  checkedOut: number
  overflow: number
  waiting: number
}

/**
 * Connections to share, as SQLAlchemy's QueuePool shares them: `size` are kept, `maxOverflow` more may be open under
 * load and are closed when they come back to a full pool, and whoever finds none free waits in line.
 *
 * A connection in use or being opened holds one of `size + maxOverflow` permits; a permit goes straight from whoever
 * gives it back to the first in line. Its holder takes an idle connection if there is one, and opens one otherwise: so
 * no more connections than permits are ever open.
 */
export class Pool {
  readonly #options: PoolOptions
  readonly #permits: Permits
  /** Most recently used last, and taken first: what is not needed grows old. */
  #idle: { connection: Connection; timer: ReturnType<typeof setTimeout> }[] = []
  readonly #inUse = new Set<Connection>()
  readonly #farewells = new Set<Promise<void>>()

  constructor(options: PoolOptions) {
    this.#options = options
    this.#permits = new Permits(options.size + options.maxOverflow)
  }

  get status(): PoolStatus {
    const { size, maxOverflow } = this.#options
    const checkedIn = this.#idle.length
    const { taken: checkedOut, waiting } = this.#permits
    const open = checkedIn + checkedOut
    const overflow = Math.max(0, open - size)
    return { size, maxOverflow, open, checkedIn, checkedOut, overflow, waiting }
  }

  /**
   * A connection that answers, for its taker alone until it is given to {@link release}.
   * @throws {DatabaseError} `pool_timeout` if none became free in time, `unavailable` if none could be opened
   */
  async acquire(timeoutMs = this.#options.acquireMs): Promise<Connection> {
    const started = performance.now()
    const endsAt = started + timeoutMs
    await this.#permits.take(timeoutMs)
    try {
      const connection = (await this.#takeIdle(endsAt)) ?? (await this.#open(endsAt))
      if (this.#permits.closed) {
        this.#discard(connection, 'closed')
        throw closedError()
      }
      this.#inUse.add(connection)
      this.#options.observe({ type: 'acquire', waitedMs: performance.now() - started })
      return connection
    } catch (error) {
      this.#permits.give()
      throw error
    }
  }

  /** Takes a connection back: to be kept if the pool has room for it and its state is known, to be closed otherwise. */
  release(connection: Connection): void {
    if (!this.#inUse.delete(connection)) return
    const { observe, size } = this.#options
    observe({ type: 'release' })
    const reason = this.#reasonToDiscard(connection, size)
    if (reason === undefined) this.#keep(connection)
    else this.#discard(connection, reason)
    this.#permits.give()
  }

  /**
   * Refuses new takers, waits for connections in use to come back, and closes all of them.
   * @param timeoutMs how long to wait before those in use are cut
   */
  async close(timeoutMs: number): Promise<void> {
    const drained = this.#permits.close(timeoutMs)
    for (const { connection } of [...this.#idle]) this.#removeIdle(connection, 'closed')
    await drained
    for (const connection of this.#inUse) connection.destroy(closedError())
    await Promise.all(this.#farewells)
  }

  /** The first idle connection that is young enough and, if it has not been used for a while, answers. */
  async #takeIdle(endsAt: number): Promise<Connection | undefined> {
    const { recycleMs, prePingMs } = this.#options
    for (let entry = this.#idle.pop(); entry !== undefined; entry = this.#idle.pop()) {
      const { connection, timer } = entry
      clearTimeout(timer)
      connection.onIdleBreak = undefined
      if (Date.now() - connection.openedAt >= recycleMs) {
        this.#discard(connection, 'recycle')
      } else if (!this.#needsPing(connection) || (await connection.ping(Math.min(prePingMs, timeLeft(endsAt) / 2)))) {
        return connection
      } else {
        this.#discard(connection, 'pre_ping')
        // What killed this one has most likely killed those beside it: one check is enough.
        for (const other of this.#idle.filter((entry) => this.#needsPing(entry.connection))) {
          this.#removeIdle(other.connection, 'pre_ping')
        }
      }
    }
    return undefined
  }

  #needsPing(connection: Connection): boolean {
    const { prePingIdleMs } = this.#options
    return prePingIdleMs >= 0 && Date.now() - connection.idleSince >= prePingIdleMs
  }

  #open(endsAt: number): Promise<Connection> {
    return this.#options.open(Math.min(this.#options.connectMs, timeLeft(endsAt)))
  }

  #reasonToDiscard(connection: Connection, size: number): DiscardReason | undefined {
    if (connection.broken !== undefined) return 'broken'
    if (connection.busy || connection.status !== 'I') return 'open_transaction'
    if (this.#permits.closed) return 'closed'
    return this.#idle.length >= size ? 'overflow' : undefined
  }

  #keep(connection: Connection): void {
    const timer = setTimeout(() => this.#removeIdle(connection, 'idle'), this.#options.idleMs)
    timer.unref?.()
    connection.idleSince = Date.now()
    connection.onIdleBreak = () => this.#removeIdle(connection, 'broken')
    this.#idle.push({ connection, timer })
  }

  #removeIdle(connection: Connection, reason: DiscardReason): void {
    const index = this.#idle.findIndex((entry) => entry.connection === connection)
    const [entry] = index < 0 ? [] : this.#idle.splice(index, 1)
    clearTimeout(entry?.timer)
    if (entry !== undefined) this.#discard(connection, reason)
  }

  /** Politely where the other side is known to be waiting for us, at once where it may be in the middle of something. */
  #discard(connection: Connection, reason: DiscardReason): void {
    const { broken } = connection
    this.#options.observe({ type: 'discard', reason, ...(broken && { error: broken }) })
    if (reason === 'broken' || reason === 'open_transaction' || reason === 'pre_ping') {
      connection.destroy(new DatabaseError('unavailable', 'The connection was discarded'))
    } else {
      const farewell = connection.end().finally(() => this.#farewells.delete(farewell))
      this.#farewells.add(farewell)
    }
  }
}

const timeLeft = (endsAt: number) => Math.max(1, Math.ceil(endsAt - performance.now()))
