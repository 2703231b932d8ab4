import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mayBeProduction, resolveDirectUrl } from '../scripts/database-url.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'database-url-'))
})
afterAll(() => rm(directory, { recursive: true }))

describe('the direct URL', () => {
  const [direct, pooled] = ['postgresql://direct.example/a', 'postgres://pooled.example/a']

  test('is the unpooled one, else the only one', () => {
    expect(resolveDirectUrl({ DATABASE_URL_UNPOOLED: direct, DATABASE_URL: pooled })).toBe(direct)
    expect(resolveDirectUrl({ DATABASE_URL_UNPOOLED: '', DATABASE_URL: pooled })).toBe(pooled)
  })

  test('is that of the running development server if none is set', async () => {
    const environment = { LOCAL_DATA_DIR: directory, DATABASE_URL: '' }
    expect(() => resolveDirectUrl(environment)).toThrow(
      'There is no database to use: set DATABASE_URL, or run `npm run dev` in another terminal.',
    )
    await writeFile(join(directory, 'database-url'), `${direct}\n`)
    expect(resolveDirectUrl(environment)).toBe(direct)
    expect(resolveDirectUrl({ ...environment, DATABASE_URL: pooled })).toBe(pooled)
  })

  test('is not a pooler', () => {
    const url = 'postgresql://me:secret@ep-cool-rain-1-pooler.eu-central-1.aws.neon.tech/shop'
    expect(() => resolveDirectUrl({ DATABASE_URL: url })).toThrow(
      'ep-cool-rain-1-pooler.eu-central-1.aws.neon.tech is a pooler, which keeps no session: set DATABASE_URL_UNPOOLED to the direct URL, the same without "-pooler".',
    )
  })

  test.each(['mysql://localhost/a', 'localhost:5432', 'nonsense'])('is not %s', (url) => {
    expect(() => resolveDirectUrl({ DATABASE_URL: url })).toThrow('must begin with postgresql://')
  })
})

test.each([
  ['postgresql://u:p@localhost:5432/a', false],
  ['postgresql://u:p@127.0.0.1/a', false],
  ['postgresql://u:p@[::1]:5432/a', false],
  ['postgresql://u:p@192.168.1.20/a', false],
  ['postgresql://u:p@postgres/a', false],
  ['postgresql://u:p@db.internal/a', false],
  ['postgresql:///a?host=/var/run/postgresql', false],
  ['postgresql://u:p@ep-cool-rain-1.eu-central-1.aws.neon.tech/a', true],
  ['postgresql://u:p@shop.abc.eu-west-1.rds.amazonaws.com/a', true],
  ['postgresql://u:p@203.0.113.7/a', true],
  ['postgresql://u:p@[2001:db8::7]/a', true],
  ['postgresql://u:p@localhost/a?host=shop.example.com', true],
])('%s may be production: %s', (url, expected) => {
  expect(mayBeProduction(url)).toBe(expected)
})
