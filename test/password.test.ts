import { afterEach, describe, expect, test, vi } from 'vitest'
import { hashPassword, UNMATCHABLE_HASH, verifyPassword } from '../src/auth/password.ts'

afterEach(() => vi.restoreAllMocks())

/** What Web Crypto says on Cloudflare's servers; the workerd that anyone can run has no such limit. */
function refuseIterations() {
  const refusal = new DOMException(
    'Pbkdf2 failed: iteration counts above 100000 are not supported',
    'NotSupportedError',
  )
  return vi.spyOn(crypto.subtle, 'deriveBits').mockRejectedValue(refusal)
}

describe('a password hash', () => {
  test('matches its password, however the characters were composed, and no other', async () => {
    const hash = await hashPassword('Caf\u00e9 1234')
    expect(hash).toMatch(/^\$pbkdf2-sha512\$i=210000\$[\w+/]{22}\$[\w+/]{43}$/)
    expect(await verifyPassword('Cafe\u0301 1234', hash)).toBe(true)
    expect(await verifyPassword('Cafe 1234', hash)).toBe(false)
    expect(await verifyPassword('', UNMATCHABLE_HASH)).toBe(false)
    expect(await verifyPassword('Caf\u00e9 1234', 'none')).toBe(false)
  })

  test('is never the same twice', async () => {
    expect(await hashPassword('a')).not.toBe(await hashPassword('a'))
  })

  test('is the same where the runtime refuses so many iterations', async () => {
    const native = await hashPassword('Caf\u00e9 1234')
    const deriveBits = refuseIterations()
    expect(await verifyPassword('Caf\u00e9 1234', native)).toBe(true)
    expect(await verifyPassword('Cafe 1234', native)).toBe(false)
    const portable = await hashPassword('User1234!')
    expect(deriveBits).toHaveBeenCalledTimes(3)
    vi.restoreAllMocks()
    expect(await verifyPassword('User1234!', portable)).toBe(true)
  })

  test('is not tried in another way when the runtime fails for another reason', async () => {
    vi.spyOn(crypto.subtle, 'deriveBits').mockRejectedValue(new DOMException('out of memory', 'OperationError'))
    await expect(hashPassword('a')).rejects.toThrow('out of memory')
  })
})
