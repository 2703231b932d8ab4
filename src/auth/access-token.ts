import { sign, verify } from 'hono/jwt'
import * as z from 'zod'

/** How long an access token is good for, in seconds. */
export const ACCESS_TOKEN_SECONDS = 3600

const ALGORITHM = 'HS256'
const claimsSchema = z.object({ sub: z.guid(), exp: z.int() })

/** An access token that says who the user is and nothing of what the user may do: that is looked up at each request. */
export function signAccessToken(userId: string, secret: string, now = new Date()): Promise<string> {
  const iat = Math.floor(now.getTime() / 1000)
  return sign({ sub: userId, iat, exp: iat + ACCESS_TOKEN_SECONDS }, secret, ALGORITHM)
}

/** The user a token was signed for, or undefined if it is expired, altered, or signed with another secret or algorithm. */
export async function verifyAccessToken(token: string, secret: string): Promise<string | undefined> {
  try {
    const claims = claimsSchema.safeParse(await verify(token, secret, ALGORITHM))
    return claims.data?.sub
  } catch {
    // Whatever a stranger sends as a token, the answer is that it is none.
    return undefined
  }
}
