import { expect, test } from 'vitest'
import { ConfigError, readConfig } from '../src/config.ts'

const complete = { DATABASE_URL: 'postgresql://u:p@localhost:5432/app', AUTH_SECRET: 'x'.repeat(32) }

test('the defaults are those of the README', () => {
  expect(readConfig(complete)).toMatchObject({
    production: false,
    port: 3000,
    host: '127.0.0.1',
    logLevel: 'info',
    requestDeadlineMs: 10_000,
    database: {
      transport: 'websocket',
      poolSize: 5,
      maxOverflow: 5,
      poolTimeoutMs: 5000,
      recycleMs: 3_600_000,
      idleMs: 10_000,
      prePingIdleMs: 1000,
      statementTimeoutMs: 5000,
      preparedStatements: true,
      echo: false,
    },
  })
})

test('an empty variable is an unset one', () => {
  expect(readConfig({ ...complete, PORT: '', DATABASE_ECHO: '' })).toMatchObject({ port: 3000 })
})

test('one error lists every problem, and no value', () => {
  const bad = {
    AUTH_SECRET: 'too short',
    PORT: '3000.5',
    DATABASE_TRANSPORT: 'pigeon',
    DATABASE_POOL_SIZE: '0',
    DATABASE_ECHO: 'yes',
    NEON_WS_PROXY: 'ws://localhost',
  }
  const read = () => readConfig(bad)
  expect(read).toThrow(ConfigError)
  const names = [...Object.keys(bad), 'DATABASE_URL']
  expect(read).toThrow(new RegExp(names.map((name) => `(?=[\\s\\S]*  ${name}: )`).join('')))
  expect(read).not.toThrow(/too short|pigeon/)
})

test('the database must give up before the request does', () => {
  const settings = { ...complete, DATABASE_STATEMENT_TIMEOUT_MS: '3000', REQUEST_DEADLINE_MS: '3000' }
  expect(() => readConfig(settings)).toThrow(
    /DATABASE_STATEMENT_TIMEOUT_MS: must be at least 200 less than REQUEST_DEADLINE_MS/,
  )
})
