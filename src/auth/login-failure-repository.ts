import type { DatabaseHandle } from '../db/database.ts'
import { sha256 } from '../sha256.ts'

/** Failed logins allowed for one address within a window, counted in the database for all instances together. */
const MAX_FAILURES = 10
const WINDOW_SECONDS = 300

/** Counts failed logins by address, whether or not there is a user with it. */
export class LoginFailureRepository {
  readonly #handle: DatabaseHandle

  constructor(handle: DatabaseHandle) {
    this.#handle = handle
  }

  /** Seconds until the address may be tried again, or undefined if it may be now. */
  async blockedForSeconds(email: string): Promise<number | undefined> {
    const [blocked] = await this.#handle.$queryRaw<{ seconds: number }[]>`
      SELECT ceil(extract(epoch FROM window_started_at - now()) + ${WINDOW_SECONDS}::int)::int AS "seconds"
      FROM login_failures
      WHERE email_hash = ${await sha256(email)}
        AND failures >= ${MAX_FAILURES}::int
        AND window_started_at > now() - make_interval(secs => ${WINDOW_SECONDS}::int)`
    return blocked?.seconds
  }

  /** Counts one failure; the first after a window has ended begins another. */
  async record(email: string): Promise<void> {
    await this.#handle.$executeRaw`
      INSERT INTO login_failures AS f (email_hash, failures) VALUES (${await sha256(email)}, 1)
      ON CONFLICT (email_hash) DO UPDATE SET
        failures = CASE WHEN f.window_started_at > now() - make_interval(secs => ${WINDOW_SECONDS}::int)
                        THEN f.failures + 1 ELSE 1 END,
        window_started_at = CASE WHEN f.window_started_at > now() - make_interval(secs => ${WINDOW_SECONDS}::int)
                                 THEN f.window_started_at ELSE now() END`
  }

  /** Forgets the failures of an address after a login that went well. */
  async clear(email: string): Promise<void> {
    await this.#handle.$executeRaw`DELETE FROM login_failures WHERE email_hash = ${await sha256(email)}`
  }
}
