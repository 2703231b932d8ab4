import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseError } from '../../src/db/errors.ts'
import type { PrismaClient } from '../../src/db/generated/client.ts'
import type { Fault, FaultBridge } from '../../test/support/fault-bridge.ts'
import { limits } from './contenders.ts'

/** Longer than anything may take; whatever has not answered by then is said to hang. */
const PATIENCE_MS = 4000

export interface Trial {
  id: string
  bridge: FaultBridge
  client: PrismaClient
  /** By a connection of its own, straight to the server. */
  query(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
}

/** Tells what went wrong, or undefined if nothing did. */
export type Scenario = (trial: Trial) => Promise<string | undefined>

const HANGS = Symbol('no answer')

/** The error, undefined for success, or {@link HANGS}. */
export async function answerOf(work: Promise<unknown>, patienceMs = PATIENCE_MS): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const patience = new Promise((resolve) => {
    timer = setTimeout(resolve, patienceMs, HANGS)
  })
  const answer = work.then(
    () => undefined,
    (error: unknown) => error ?? 'nothing',
  )
  return Promise.race([answer, patience]).finally(() => clearTimeout(timer))
}

/** Two statements, then COMMIT. */
export async function placeTwo({ client, id }: Trial): Promise<void> {
  await client.$transaction(async (tx) => {
    await tx.product.create({ data: { sku: `${id}-a`, name: 'a', priceCents: 1 } })
    await tx.product.create({ data: { sku: `${id}-b`, name: 'b', priceCents: 1 } })
  })
}

const countRows = async ({ query, id }: Trial) =>
  (await query('SELECT 1 FROM products WHERE sku LIKE $1', [`${id}-_`])).length

/** Whether the next request is served soon after the network's recovery; other trials share the machine. */
async function recover({ bridge, client }: Trial): Promise<string | undefined> {
  bridge.heal()
  const answer = await answerOf(client.product.count(), 3000)
  if (answer === HANGS) return 'the next request hangs'
  return answer === undefined ? undefined : 'the next request fails'
}

/** Whether the server still has a transaction of this client after the time of its own limits. */
async function isLeftOpen({ query, id }: Trial): Promise<boolean> {
  const sql = 'SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL'
  for (const until = Date.now() + limits.acquireMs; Date.now() < until; await sleep(100)) {
    if ((await query(sql, [id])).length === 0) return false
  }
  return true
}

/** A fault at one message of a transaction, then everything that must be true. */
export const faultAt =
  (fault: Fault, at: number): Scenario =>
  async (trial) => {
    let index = 0
    trial.bridge.fault = () => (index++ === at ? fault : undefined)
    const answer = await answerOf(placeTwo(trial))
    if (answer === HANGS) return 'no answer'
    const ill = await recover(trial)
    if (ill !== undefined) return ill
    if (await isLeftOpen(trial)) return 'a transaction is left open'
    const rows = await countRows(trial)
    if (answer === undefined) return rows === 2 ? undefined : 'success reported, nothing written'
    const inDoubt = answer instanceof DatabaseError && answer.kind === 'ambiguous_commit'
    return rows === 0 || inDoubt ? undefined : 'failure reported, everything written'
  }

export const scenarios: Record<string, Scenario> = {
  'the error of a statement in a transaction is swallowed': async (trial) => {
    const answer = await answerOf(
      trial.client.$transaction(async (tx) => {
        await tx.product.create({ data: { sku: `${trial.id}-a`, name: 'a', priceCents: 1 } })
        await tx.$queryRaw`SELECT 1 / 0`.catch(() => {})
      }),
    )
    return answer === undefined && (await countRows(trial)) === 0 ? 'success reported, nothing written' : undefined
  },
  'a statement is slow inside a transaction, and others write meanwhile': async (trial) => {
    const slow = answerOf(
      trial.client.$transaction(async (tx) => {
        await tx.product.create({ data: { sku: `${trial.id}-a`, name: 'a', priceCents: 1 } })
        await tx.$executeRaw`SELECT pg_sleep(1.5)`
      }),
    )
    await sleep(1200)
    const written: number[] = []
    for (let n = 0; n < 4; n++) {
      const sku = `${trial.id}-other-${n}`
      if ((await answerOf(trial.client.product.create({ data: { sku, name: 'n', priceCents: 1 } }))) === undefined) {
        written.push(n)
      }
    }
    const answer = await slow
    await sleep(1000)
    const others = await trial.query('SELECT 1 FROM products WHERE sku LIKE $1', [`${trial.id}-other-%`])
    if (others.length !== written.length) return 'success reported, nothing written'
    const kept = await countRows(trial)
    if (answer !== undefined && kept > 0) return 'failure reported, everything written'
    return answer === undefined && kept === 0 ? 'success reported, nothing written' : undefined
  },
  'a statement runs for half a minute': async (trial) => {
    const answer = await answerOf(trial.client.$executeRaw`SELECT pg_sleep(30)`)
    return answer === HANGS ? 'no answer' : recover(trial)
  },
  'every connection is in use': async (trial) => {
    const busy = [0, 1].map(() => {
      const until = Date.now() + 6000
      const work = trial.client.$transaction(
        async (tx) => {
          while (Date.now() < until) await tx.$executeRaw`SELECT pg_sleep(0.1)`
        },
        { timeout: 10_000 },
      )
      return answerOf(work, 9000)
    })
    await sleep(100)
    const answer = await answerOf(trial.client.product.count())
    await Promise.all(busy)
    return answer === HANGS ? 'no answer' : undefined
  },
  'connections die unseen, as while an instance is frozen': async (trial) => {
    await Promise.all([trial.client.product.count(), trial.client.product.count()])
    await sleep(200)
    trial.bridge.breakAll('black_hole')
    return recover(trial)
  },
  'the WebSocket upgrade is never answered': async (trial) => {
    trial.bridge.breakAll('reset')
    await sleep(50)
    trial.bridge.onConnect = 'hang'
    const answer = await answerOf(trial.client.product.count())
    return answer === HANGS ? 'no answer' : recover(trial)
  },
  'the WebSocket upgrade is refused with 503': async (trial) => {
    trial.bridge.breakAll('reset')
    await sleep(50)
    trial.bridge.onConnect = 'status_503'
    const answer = await answerOf(trial.client.product.count())
    if (answer === HANGS) return 'no answer'
    return answer instanceof Error ? recover(trial) : 'what is thrown is not an Error'
  },
  'the server’s time zone is not UTC': async (trial) => {
    // What `ALTER ROLE ... SET timezone` does, for this client alone.
    const createdAt = new Date('2026-07-01T12:00:00Z')
    await trial.query(`ALTER ROLE CURRENT_USER SET timezone = 'America/New_York'`)
    trial.bridge.breakAll('reset')
    await sleep(50)
    await trial.client.product.create({ data: { sku: `${trial.id}-a`, name: 'a', priceCents: 1, createdAt } })
    await trial.query('ALTER ROLE CURRENT_USER RESET timezone')
    const sql = 'SELECT extract(epoch FROM created_at)::float8 AS at FROM products WHERE sku = $1'
    const hours =
      (Number((await trial.query(sql, [`${trial.id}-a`]))[0]?.['at']) * 1000 - Number(createdAt)) / 3_600_000
    return hours === 0 ? undefined : `times are stored ${hours} h off`
  },
}
