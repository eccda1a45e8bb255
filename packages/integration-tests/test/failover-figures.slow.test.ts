/**
 * How long nobody takes writes when a leader is lost, over many real failovers, and that none of them loses what was acknowledged.
 *
 * `npm run bench:failover`; ROUNDS=100 by default, WAYS picks some of the ways by their names, FIGURES=file keeps what is printed as JSON.
 *
 * Measured by clients beside the load that try to write to every node but the lost one, all the time, on a way that no fault touches:
 * from before the leader is lost to the first answer of the next one.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { isUnderstudyError } from '@understudy/contracts'
import { afterAll, expect, test } from 'vitest'
import type { ProcessCluster } from './support/rig/cluster.ts'
import { KIND, openFailover, type FailoverPlan } from './support/rig/failover.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 100)
const CHOSEN = process.env['WAYS']?.split(',')
const FILE = process.env['FIGURES']
/** Of one failover, on any machine that is alive. */
const LOST_MS_MAX = 60_000

interface Way {
  readonly name: string
  readonly plan: FailoverPlan
  /** Median that is wanted, in milliseconds. */
  readonly goalMs: number
  readonly lose: (cluster: ProcessCluster, leader: string) => void | Promise<void>
}

const kill = (cluster: ProcessCluster, leader: string): Promise<void> => cluster.kill(leader)
const stop = (cluster: ProcessCluster, leader: string): void => cluster.pause(leader)
/** From everybody but its coordinator, without a word: packets are dropped. */
const drop = (cluster: ProcessCluster, leader: string): void => cluster.isolate(leader)

const WAYS: readonly Way[] = [
  { name: 'sqlite-kill', plan: {}, goalMs: 2000, lose: kill },
  { name: 'sqlite-stop', plan: {}, goalMs: 4000, lose: stop },
  { name: 'sqlite-drop', plan: {}, goalMs: 4000, lose: drop },
  { name: 'etcd-kill', plan: { coordinator: 'etcd' }, goalMs: 5000, lose: kill },
  { name: 'etcd-stop', plan: { coordinator: 'etcd' }, goalMs: 5000, lose: stop },
]

const figures: Record<string, unknown> = {
  rounds: ROUNDS,
  network: KIND,
  processors: availableParallelism(),
  loadAverage: loadavg()[0],
}
const isChosen = (name: string): boolean => CHOSEN === undefined || CHOSEN.includes(name)

test.for(WAYS.filter(({ name }) => isChosen(name)))(
  `$name: ${ROUNDS} failovers`,
  { timeout: ROUNDS * 60_000 },
  async ({ name, plan, goalMs, lose }) => {
    const { cluster } = await openFailover(plan)
    await makeProbe(cluster)
    const load = cluster.load({ writers: 4, pauseMs: 2 })
    await load.more(100)
    const tookMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const leader = await cluster.untilLeader()
      const first = firstWrite(cluster, cluster.others(leader), `${name} ${round}`)
      const lostAtMs = performance.now()
      await lose(cluster, leader)
      tookMs.push((await first) - lostAtMs)
      await cluster.untilLeader(cluster.others(leader))
      await cluster.bringBack(leader)
      await load.more(20)
    }
    const { writes, registers } = await cluster.judge({ timeoutMs: 120_000 })
    const acknowledged = writes.ok + registers.ok
    const told = { ...summary(tookMs), acknowledged, ackedLost: 0 }
    figures[name] = { ...told, tookMs: tookMs.map(Math.round) }
    process.stdout.write(`${name} ${JSON.stringify(told)}\n`)
    expect(told.p50Ms).toBeLessThan(goalMs)
  },
)

test.runIf(isChosen('switchover'))(`switchover: ${ROUNDS} times`, { timeout: ROUNDS * 60_000 }, async () => {
  const { cluster } = await openFailover()
  await makeProbe(cluster)
  const load = cluster.load({ writers: 4, pauseMs: 2 })
  await load.more(100)
  const tookMs: number[] = []
  const failed = load.failed
  for (let round = 0; round < ROUNDS; round++) {
    const leader = await cluster.untilLeader()
    const [target = ''] = cluster.others(leader)
    const first = firstWrite(cluster, [target], `switchover ${round}`)
    const askedAtMs = performance.now()
    await (await cluster.client(leader)).switchover({ target, timeoutMs: LOST_MS_MAX })
    tookMs.push((await first) - askedAtMs)
    await cluster.untilLeader([target])
    await cluster.until(
      leader,
      'to follow',
      ({ role, state }) => role === 'follower' && state === 'streaming',
    )
    await load.more(20)
  }
  const callsFailed = load.failed - failed
  const { writes, registers } = await cluster.judge({ timeoutMs: 120_000 })
  const told = { ...summary(tookMs), acknowledged: writes.ok + registers.ok, ackedLost: 0, callsFailed }
  figures['switchover'] = told
  process.stdout.write(`switchover ${JSON.stringify(told)}\n`)
  expect(told.p50Ms).toBeLessThan(1000)
})

afterAll(() => {
  if (FILE !== undefined) writeFileSync(FILE, `${JSON.stringify(figures, undefined, 2)}\n`)
})

/** Writes that measure are no part of the histories that are judged. */
async function makeProbe(cluster: ProcessCluster): Promise<void> {
  const client = await cluster.client(await cluster.untilLeader())
  await client.write([{ sql: 'create table probe (value text primary key)' }])
}

/** When the first of them answered a write. */
async function firstWrite(cluster: ProcessCluster, names: readonly string[], value: string): Promise<number> {
  const over = new AbortController()
  const endMs = performance.now() + LOST_MS_MAX
  const tries = names.map(async (name) => {
    for (let n = 0; !over.signal.aborted; n++) {
      if (performance.now() > endMs) throw new Error(`no write was taken within ${LOST_MS_MAX} ms`)
      try {
        const client = await cluster.client(name)
        await client.write([{ sql: 'insert into probe values (?)', params: [`${value} ${name} ${n}`] }])
        return performance.now()
      } catch (error) {
        if (!isUnderstudyError(error)) throw error
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    return Infinity
  })
  try {
    return await Promise.race(tries)
  } finally {
    over.abort()
  }
}

function summary(valuesMs: readonly number[]): Record<'p50Ms' | 'p90Ms' | 'p99Ms' | 'maxMs', number> {
  const sorted = valuesMs.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0)
  return { p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: at(1) }
}
