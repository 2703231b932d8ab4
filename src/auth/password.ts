/**
 * Password hashes: PBKDF2-HMAC-SHA-512 with the iterations OWASP asks for, through Web Crypto: off the event loop, and
 * on every runtime. Stored as a PHC string, so that the iterations can rise without breaking older hashes.
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#pbkdf2
 * @see https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
 */
const ITERATIONS = 210_000
const SALT_BYTES = 16
const HASH_BYTES = 32

/** Hashes a password with a new random salt. Takes about a tenth of a second of one core, on purpose. */
export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES))
  const hash = await derive(password, salt, ITERATIONS)
  return `$pbkdf2-sha512$i=${ITERATIONS}$${toBase64(salt)}$${toBase64(hash)}`
}

/** Whether the password is the one that was hashed. Compares in constant time. A hash of another scheme matches nothing. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [, iterations, salt, hash] = /^\$pbkdf2-sha512\$i=(\d+)\$([\w+/]+)\$([\w+/]+)$/.exec(stored) ?? []
  if (iterations === undefined || salt === undefined || hash === undefined) return false
  return equal(await derive(password, fromBase64(salt), Number(iterations)), fromBase64(hash))
}

/** What a login compares with when there is no user, so that it takes the time it takes when there is one. */
export const UNMATCHABLE_HASH = `$pbkdf2-sha512$i=${ITERATIONS}$${toBase64(new Uint8Array(SALT_BYTES))}$${toBase64(new Uint8Array(HASH_BYTES))}`

async function derive(password: string, salt: Uint8Array<ArrayBuffer>, iterations: number): Promise<Uint8Array> {
  // NFKC, so that the same characters typed on another keyboard are the same password (NIST SP 800-63B, 5.1.1.2).
  const secret = new TextEncoder().encode(password.normalize('NFKC'))
  const key = await crypto.subtle.importKey('raw', secret, 'PBKDF2', false, ['deriveBits'])
  const parameters = { name: 'PBKDF2', hash: 'SHA-512', salt, iterations }
  try {
    return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, HASH_BYTES * 8))
  } catch (error) {
    if (!(error instanceof DOMException && error.name === 'NotSupportedError')) throw error
    // Cloudflare's servers refuse more than 100,000 iterations: https://github.com/cloudflare/workerd/issues/1346
    return deriveInJavaScript(secret, salt, iterations)
  }
}

/** The same bytes in about seven times the time. */
async function deriveInJavaScript(secret: Uint8Array, salt: Uint8Array, iterations: number): Promise<Uint8Array> {
  const [{ pbkdf2Async }, { sha512 }] = await Promise.all([
    import('@noble/hashes/pbkdf2.js'),
    import('@noble/hashes/sha2.js'),
  ])
  return pbkdf2Async(sha512, secret, salt, { c: iterations, dkLen: HASH_BYTES })
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  return a.reduce((difference, byte, index) => difference | (byte ^ (b[index] ?? 0)), 0) === 0
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replace(/=+$/, '')
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
