import type { Caller, FindCaller } from '../caller.ts'
import type { Database } from '../db/database.ts'
import type { User } from '../db/generated/client.ts'
import { AppError } from '../errors.ts'
import { UserRepository } from '../users/repository.ts'
import { signAccessToken, verifyAccessToken } from './access-token.ts'
import { LoginFailureRepository } from './login-failure-repository.ts'
import { UNMATCHABLE_HASH, verifyPassword } from './password.ts'

export interface AuthOptions {
  /** Signs access tokens; at least 32 bytes. */
  authSecret: string
}

export interface Credentials {
  email: string
  password: string
}

/**
 * Exchanges a password for an access token. Whatever is wrong (address, password, the user is inactive or deleted), the
 * answer and the work done for it are the same.
 * @throws {AppError} `unauthenticated`; `rate_limited` after ten failures for one address within five minutes
 */
export async function logIn(database: Database, options: AuthOptions, credentials: Credentials): Promise<string> {
  const failures = new LoginFailureRepository(database.client)
  const blockedFor = await failures.blockedForSeconds(credentials.email)
  if (blockedFor !== undefined) {
    throw new AppError('rate_limited', 'Too many failed logins for this address.', { retryAfterSeconds: blockedFor })
  }
  const user = await new UserRepository(database.client).findByEmail(credentials.email)
  const matches = await verifyPassword(credentials.password, user?.passwordHash ?? UNMATCHABLE_HASH)
  if (user === null || !matches || !user.isActive) {
    await failures.record(credentials.email)
    throw new AppError('unauthenticated', 'The email address or the password is wrong.')
  }
  await failures.clear(credentials.email)
  return signAccessToken(user.id, options.authSecret)
}

/** Makes the function that tells who a token speaks for: nobody, once its user is inactive or deleted. */
export const createFindCaller =
  (database: Database, options: AuthOptions): FindCaller =>
  async (accessToken) => {
    const userId = await verifyAccessToken(accessToken, options.authSecret)
    if (userId === undefined) return undefined
    const user = await new UserRepository(database.client).getById(userId)
    return user?.isActive ? { id: user.id, role: user.role } : undefined
  }

/**
 * The caller's own record.
 * @throws {AppError} `unauthenticated` if it was deleted a moment ago
 */
export async function getMe(database: Database, caller: Caller): Promise<User> {
  const user = await new UserRepository(database.client).getById(caller.id)
  if (user === null) throw new AppError('unauthenticated', 'The user of this token is gone.')
  return user
}
