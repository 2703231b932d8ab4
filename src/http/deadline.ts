import { AppError } from '../errors.ts'
import type { AppMiddleware } from './context.ts'

/**
 * Answers when the time is up, whatever the handler is waiting for. The handler is not stopped: cutting a transaction
 * off at an unknown point would tell the caller nothing more. Every wait in the database layer ends by itself before.
 * @throws {AppError} `unavailable`
 */
export const deadline = (milliseconds: number): AppMiddleware =>
  async function deadline(_c, next) {
    let timer: ReturnType<typeof setTimeout> | undefined
    const expired = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const message = 'The request took too long. What it asked for may or may not have been done.'
        reject(new AppError('unavailable', message, { retryAfterSeconds: 1 }))
      }, milliseconds)
    })
    try {
      await Promise.race([next(), expired])
    } finally {
      clearTimeout(timer)
    }
  }
