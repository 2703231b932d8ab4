import * as z from 'zod'

/** The environment variables the process was started with, or a record of them in tests. */
export type Environment = Readonly<Record<string, string | undefined>>

const integer = (fallback: number, min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .default(fallback)

const onOff = (fallback: 'on' | 'off') =>
  z
    .enum(['on', 'off'])
    .default(fallback)
    .transform((value) => value === 'on')

const postgresUrl = z.url({ protocol: /^postgres(ql)?$/, hostname: /.+/, error: 'must be a postgresql:// URL' })

/** What a request needs beside its slowest statement, for the client to notice that the server gave up. */
const MIN_MARGIN_MS = 200

const environmentSchema = z
  .object({
    NODE_ENV: z.string().default('development'),
    VERCEL: z.string().optional(),
    PORT: integer(3000, 0, 65_535),
    HOST: z.string().default('127.0.0.1'),
    DATABASE_URL: postgresUrl,
    DATABASE_TRANSPORT: z.enum(['websocket', 'tcp']).default('websocket'),
    NEON_WS_PROXY: z
      .string()
      .regex(/^[^/:]+:\d+$/, 'must be host:port')
      .optional(),
    DATABASE_POOL_SIZE: integer(5, 1, 1000),
    DATABASE_MAX_OVERFLOW: integer(5, 0, 1000),
    DATABASE_POOL_TIMEOUT_MS: integer(5000, 1, 600_000),
    DATABASE_POOL_RECYCLE_SECONDS: integer(3600, 1, 604_800),
    DATABASE_POOL_IDLE_MS: integer(10_000, 1, 3_600_000),
    DATABASE_PRE_PING_IDLE_MS: integer(1000, -1, 3_600_000),
    DATABASE_STATEMENT_TIMEOUT_MS: integer(5000, 1, 600_000),
    DATABASE_PREPARED_STATEMENTS: onOff('on'),
    DATABASE_ECHO: onOff('off'),
    REQUEST_DEADLINE_MS: integer(10_000, 1, 600_000),
    AUTH_SECRET: z
      .string()
      .refine((value) => new TextEncoder().encode(value).length >= 32, 'must be at least 32 bytes'),
    CRON_SECRET: z.string().min(16).optional(),
    LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  })
  .refine((env) => env.DATABASE_STATEMENT_TIMEOUT_MS + MIN_MARGIN_MS <= env.REQUEST_DEADLINE_MS, {
    path: ['DATABASE_STATEMENT_TIMEOUT_MS'],
    message: `must be at least ${MIN_MARGIN_MS} less than REQUEST_DEADLINE_MS, so that the database gives up first`,
  })

/** Connections and their limits. All `...Ms` are milliseconds. */
export interface DatabaseConfig {
  url: string
  transport: 'websocket' | 'tcp'
  /** `host:port` of a plain `ws://` bridge, for a Postgres that is not Neon. */
  wsProxy: string | undefined
  poolSize: number
  maxOverflow: number
  poolTimeoutMs: number
  recycleMs: number
  idleMs: number
  /** 0: always; -1: never. */
  prePingIdleMs: number
  statementTimeoutMs: number
  /** No transaction, and no wait for one, outlives this. */
  deadlineMs: number
  preparedStatements: boolean
  echo: boolean
  /** Whether the instance may be suspended between requests, as Vercel does. */
  vercel: boolean
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface Config {
  production: boolean
  port: number
  host: string
  logLevel: LogLevel
  requestDeadlineMs: number
  authSecret: string
  cronSecret: string | undefined
  database: DatabaseConfig
}

/** Thrown by {@link readConfig}; the message lists every problem, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads all settings at once. An empty variable counts as unset.
 * @throws {ConfigError} listing every bad or missing value
 */
export function readConfig(environment: Environment): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = environmentSchema.safeParse(given)
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => {
      const name = issue.path.join('.')
      return `  ${name}: ${given[name] === undefined ? 'is required' : issue.message}`
    })
    throw new ConfigError(`The settings are not usable:\n${problems.join('\n')}`)
  }
  const env = parsed.data
  return {
    production: env.NODE_ENV === 'production',
    port: env.PORT,
    host: env.HOST,
    logLevel: env.LOG_LEVEL,
    requestDeadlineMs: env.REQUEST_DEADLINE_MS,
    authSecret: env.AUTH_SECRET,
    cronSecret: env.CRON_SECRET,
    database: {
      url: env.DATABASE_URL,
      transport: env.DATABASE_TRANSPORT,
      wsProxy: env.NEON_WS_PROXY,
      poolSize: env.DATABASE_POOL_SIZE,
      maxOverflow: env.DATABASE_MAX_OVERFLOW,
      poolTimeoutMs: env.DATABASE_POOL_TIMEOUT_MS,
      recycleMs: env.DATABASE_POOL_RECYCLE_SECONDS * 1000,
      idleMs: env.DATABASE_POOL_IDLE_MS,
      prePingIdleMs: env.DATABASE_PRE_PING_IDLE_MS,
      statementTimeoutMs: env.DATABASE_STATEMENT_TIMEOUT_MS,
      deadlineMs: env.REQUEST_DEADLINE_MS,
      preparedStatements: env.DATABASE_PREPARED_STATEMENTS,
      echo: env.DATABASE_ECHO,
      vercel: env.VERCEL !== undefined,
    },
  }
}
