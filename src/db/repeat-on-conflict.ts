import { toDatabaseError } from './errors.ts'

const FIRST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 500

interface Budget {
  maxAttempts: number
  /** By `performance.now()`. */
  endsAt: number
}

/**
 * Runs a whole transaction again while it fails with a serialization failure or a deadlock, which PostgreSQL promises to
 * have undone. Pauses at random before each repetition, up to twice as long each time ("full jitter"), so that those who
 * collided do not meet again.
 * @throws the last attempt's error, once there are no attempts or no time left
 * @see https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export async function repeatOnConflict<T>({ maxAttempts, endsAt }: Budget, run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      const pauseMs = Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1))
      const timeLeft = performance.now() + pauseMs < endsAt
      if (!toDatabaseError(error).retryable || attempt >= maxAttempts || !timeLeft) throw error
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}
