import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Api, makeUser, openApi } from '../support/api.ts'

let api: Api
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())

const logIn = (email: unknown, password: unknown) =>
  api.call('/api/v1/auth/token', { method: 'POST', body: { email, password } })

describe('a login', () => {
  test.each([
    ['admin@dev.local', 'Admin123!', 'admin', '00000000-0000-0000-0000-000000000001'],
    ['user@dev.local', 'User1234!', 'user', '00000000-0000-0000-0000-000000000002'],
    ['USER@dev.local', 'User1234!', 'user', '00000000-0000-0000-0000-000000000002'],
  ])('of %s gives a token for its user', async (email, password, role, id) => {
    const answer = await logIn(email, password)
    expect(answer.status).toBe(200)
    expect(answer.json).toEqual({ accessToken: expect.any(String), tokenType: 'Bearer', expiresIn: 3600 })
    const me = await api.call('/api/v1/auth/me', { token: answer.json.accessToken })
    expect(me.json).toMatchObject({ id, role, email: email.toLowerCase() })
    expect(me.text).not.toMatch(/password|pbkdf2/i)
  })

  test('is refused with the same answer, and the same work, whatever is wrong', async () => {
    const inactive = await makeUser(api, { isActive: false, password: 'Secret123!' })
    const deleted = await makeUser(api, { password: 'Secret123!' })
    await api.query('UPDATE users SET deleted_at = now() WHERE id = $1', [deleted.id])
    const attempts = [
      () => logIn('user@dev.local', 'wrong'),
      () => logIn('nobody@dev.local', 'wrong'),
      () => logIn(inactive.email, 'Secret123!'),
      () => logIn(deleted.email, 'Secret123!'),
    ]
    const fastest = attempts.map(() => Number.POSITIVE_INFINITY)
    for (let round = 0; round < 4; round++) {
      for (const [index, attempt] of attempts.entries()) {
        const started = performance.now()
        const answer = await attempt()
        fastest[index] = Math.min(fastest[index] ?? 0, performance.now() - started)
        expect([answer.status, answer.json.code]).toEqual([401, 'unauthenticated'])
        const { requestId: _differs, ...problem } = answer.json
        expect(problem).toEqual({
          type: 'urn:problem-type:unauthenticated',
          title: 'Authentication is required',
          status: 401,
          detail: 'The email address or the password is wrong.',
          instance: '/api/v1/auth/token',
          code: 'unauthenticated',
        })
      }
    }
    // Without a hash to compare with for an absent user, these differ by a factor of ten and more.
    expect(Math.max(...fastest) / Math.min(...fastest)).toBeLessThan(2)
  })

  test('is rate_limited after ten failures for one address, and for that address alone', async () => {
    const [victim, other] = [
      await makeUser(api, { password: 'Secret123!' }),
      await makeUser(api, { password: 'Secret123!' }),
    ]
    for (let i = 0; i < 10; i++) expect((await logIn(victim.email, `guess ${i}`)).status).toBe(401)
    const limited = await logIn(victim.email, 'Secret123!')
    expect([limited.status, limited.json.code]).toEqual([429, 'rate_limited'])
    expect(Number(limited.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await logIn(other.email, 'Secret123!')).status).toBe(200)

    await api.query(`UPDATE login_failures SET window_started_at = now() - interval '301 seconds'`)
    expect((await logIn(victim.email, 'Secret123!')).status).toBe(200)
  })

  test.each([
    ['a number', 7, 'x'],
    ['nothing', undefined, 'x'],
    ['an object', { not: '' }, 'x'],
    ['text with NUL', 'a\0@dev.local', 'x'],
  ])('with %s for an address is validation_failed', async (_name, email, password) => {
    const answer = await logIn(email, password)
    expect([answer.status, answer.json.code]).toEqual([422, 'validation_failed'])
  })
})
