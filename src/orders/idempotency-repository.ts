import type { DatabaseHandle } from '../db/database.ts'
import { DatabaseError } from '../db/errors.ts'
import { AppError } from '../errors.ts'

/** A response as it was first sent. */
export interface StoredResponse {
  body: string
  location: string
}

export interface IdempotencyClaim {
  userId: string
  key: string
  /** SHA-256 of what the request asks for: the same key with another is refused. */
  requestHash: string
}

interface StoredRow extends StoredResponse {
  requestHash: string
}

/**
 * The keys under which a user's requests were served, each with its response. A key is claimed and completed in the
 * transaction of the work it protects: it is there if and only if the work is.
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
 */
export class IdempotencyRepository {
  readonly #handle: DatabaseHandle

  constructor(handle: DatabaseHandle) {
    this.#handle = handle
  }

  /**
   * Claims a key until the transaction ends, or gives the response stored under it. Waits for another transaction that
   * has claimed it, no longer than the lock timeout.
   * @throws {AppError} `idempotency_key_reused`, `idempotency_in_progress`
   */
  async claim({ userId, key, requestHash }: IdempotencyClaim): Promise<StoredResponse | undefined> {
    // ON CONFLICT DO NOTHING waits for a claim in flight, then inserts nothing if that claim was committed.
    const claimed = await this.#handle.$executeRaw`
      INSERT INTO idempotency_keys (user_id, key, request_hash) VALUES (${userId}::uuid, ${key}, ${requestHash})
      ON CONFLICT DO NOTHING`.catch(rethrowAsInProgress)
    if (claimed === 1) return undefined
    const stored = await this.find(userId, key)
    if (stored === undefined) throw inProgress()
    if (stored.requestHash !== requestHash) {
      throw new AppError('idempotency_key_reused', 'This key was used with another request. Use a new key.')
    }
    return stored
  }

  /** Stores the response of the work that claimed the key. */
  async complete({ userId, key }: IdempotencyClaim, status: number, response: StoredResponse): Promise<void> {
    await this.#handle.$executeRaw`
      UPDATE idempotency_keys
      SET response_status = ${status}::smallint, response_body = ${response.body}, location = ${response.location}
      WHERE user_id = ${userId}::uuid AND key = ${key}`
  }

  async find(userId: string, key: string): Promise<StoredRow | undefined> {
    const [stored] = await this.#handle.$queryRaw<StoredRow[]>`
      SELECT request_hash AS "requestHash", response_body AS "body", location
      FROM idempotency_keys WHERE user_id = ${userId}::uuid AND key = ${key}`
    return stored
  }
}

const inProgress = (cause?: unknown) =>
  new AppError('idempotency_in_progress', 'The first request with this key has not ended. Try again shortly.', {
    retryAfterSeconds: 1,
    cause,
  })

function rethrowAsInProgress(error: unknown): never {
  throw error instanceof DatabaseError && error.kind === 'lock_not_available' ? inProgress(error) : error
}
