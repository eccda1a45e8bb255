/**
 * One measurement of one instance, and what is measured once for an instance.
 *
 * Decides: what is read before and after. Leaves to others: whose turn it is (plan.ts), what an instance is (subjects/).
 *
 * Validity:
 * 1. A measurement ends when every replica shows what was written: what an ack policy leaves for later is in processor time and bytes.
 * 2. Then the instance rests, so that no measurement pays for the one before.
 * 3. Lag and staleness are measured in a load of their own, at half of the rate that was reached just before: a replica that is short of processor
 *    time falls ever more behind at the full rate, and then measures how long the load was.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { exclusively } from '../acks/exclusive.ts'
import { encode } from '../load/histogram.ts'
import type { Acknowledged, LoadHost, LoadSample } from '../load/load-calls.ts'
import type { Counters, Instance, Survivors } from '../subjects/subject.ts'
import type { Cell } from './cell.ts'
import { lagOf, stalenessOf, type Lags } from './lag.ts'
import type { MatrixSettings } from './options.ts'
import { processUse, type ProcessUse } from './process-use.ts'
import type { CatchUpSample, KillSample, NodeUse, RoundSample, TransferSample } from './results.ts'

/** An instance with its load. */
export interface Running {
  readonly instance: Instance
  readonly host: LoadHost
  /** Whether the load is a process of its own. */
  readonly isLoadApart: boolean
}

export type MeasureSettings = Pick<MatrixSettings, 'measures' | 'seconds' | 'warmUpSeconds' | 'exclusive'>

const LAG_SECONDS_MIN = 0.3

export async function measureRound(
  running: Running,
  cell: Cell,
  { round, batch }: { readonly round: number; readonly batch: number },
  settings: MeasureSettings,
): Promise<RoundSample> {
  const { instance, host } = running
  const before = await state(running, settings)
  const load = (): Promise<LoadSample> =>
    host.call('run', {
      writers: cell.writers,
      seconds: settings.seconds,
      // Code is not compiled yet, files have no space yet.
      warmUpSeconds:
        round === 1 ? Math.max(settings.warmUpSeconds, settings.seconds) : settings.warmUpSeconds,
      ...(cell.rate !== undefined && { rate: cell.rate }),
    })
  const pids = nodesOf(running).map(({ pid }) => pid)
  const sample = settings.exclusive ? await exclusively(pids, load) : await load()
  const settleMs = await settled(instance)
  const after = await state(running, settings)
  await instance.rest?.()
  return {
    round,
    batch,
    operations: sample.operations,
    commits: sample.commits,
    commitsInAll: sample.commitsInAll,
    seconds: sample.seconds,
    operationsPerSecond: sample.operations / sample.seconds,
    commitsPerSecond: sample.commits / sample.seconds,
    latency: sample.latency,
    byOperation: sample.byOperation,
    lateMsMax: sample.lateMsMax,
    settleMs,
    ...bytesOf(before.counters, after.counters, sample),
    ...usesOf(running, before.uses, after.uses),
    ...(await lagAndStaleness(running, cell, sample, settings)),
  }
}

interface State {
  readonly counters: Counters
  readonly uses: ReadonlyMap<number, ProcessUse> | undefined
}

async function state(running: Running, { measures }: MeasureSettings): Promise<State> {
  const counters = measures.includes('bytes') ? await running.instance.counters?.() : undefined
  const pids = nodesOf(running).map(({ pid }) => pid)
  return { counters: counters ?? {}, uses: measures.includes('resources') ? processUse(pids) : undefined }
}

function nodesOf({
  instance,
  host,
  isLoadApart,
}: Running): readonly { readonly name: string; readonly pid: number }[] {
  const load = isLoadApart && host.pid !== undefined ? [{ name: 'load', pid: host.pid }] : []
  return [...instance.nodes(), ...load]
}

function bytesOf(
  before: Counters,
  after: Counters,
  { commitsInAll }: LoadSample,
): Pick<RoundSample, 'wireBytesPerCommit' | 'logBytesPerCommit'> {
  if (commitsInAll === 0) return {}
  const perCommit = (from: number | undefined, to: number | undefined): number | undefined =>
    from === undefined || to === undefined ? undefined : (to - from) / commitsInAll
  const wire = perCommit(before.wireBytes, after.wireBytes)
  const log = perCommit(before.logBytes, after.logBytes)
  return {
    ...(wire !== undefined && { wireBytesPerCommit: wire }),
    ...(log !== undefined && { logBytesPerCommit: log }),
  }
}

function usesOf(running: Running, before: State['uses'], after: State['uses']): Pick<RoundSample, 'nodes'> {
  if (before === undefined || after === undefined) return {}
  const nodes: Record<string, NodeUse> = {}
  for (const { name, pid } of nodesOf(running)) {
    const from = before.get(pid)
    const to = after.get(pid)
    if (from !== undefined && to !== undefined)
      nodes[name] = { cpuSeconds: to.cpuSeconds - from.cpuSeconds, residentMiB: to.residentMiB }
  }
  return { nodes }
}

/** Milliseconds until every replica showed what the leader has. */
async function settled(instance: Instance): Promise<number> {
  const beganMs = performance.now()
  await instance.settled()
  return performance.now() - beganMs
}

async function lagAndStaleness(
  { instance, host }: Running,
  cell: Cell,
  reached: LoadSample,
  { measures, seconds }: MeasureSettings,
): Promise<Pick<RoundSample, 'lag' | 'staleness'>> {
  const isAsked = measures.includes('lag') || measures.includes('staleness')
  if (!isAsked || instance.watch === undefined || instance.watched === undefined || reached.commits === 0)
    return {}
  await instance.watch()
  const length = Math.max(seconds, LAG_SECONDS_MIN)
  const rate = Math.max(1, reached.operations / reached.seconds / 2)
  const sample = await host.call('run', { writers: cell.writers, seconds: length, rate, noted: true })
  await instance.settled()
  const commits = await host.call('notes')
  const watched = await instance.watched()
  await instance.rest?.()
  if (commits.numbers.length === 0 || watched.length === 0) return {}
  const lags = watched.map(({ waiter }) => lagOf(commits, waiter))
  // The replica that is behind most: what a reader may meet.
  const worst = lags.reduce((most, each) => (p99(each) > p99(most) ? each : most))
  const staleness = watched
    .map(({ poller }) => stalenessOf(commits, poller))
    .reduce((most, each) => (each.getValueAtPercentile(99) > most.getValueAtPercentile(99) ? each : most))
  return {
    ...(measures.includes('lag') && {
      lag: {
        commitsPerSecond: sample.commits / sample.seconds,
        latency: encode(worst.latency),
        series: worst.series,
      },
    }),
    ...(measures.includes('staleness') && { staleness: encode(staleness) }),
  }
}

function p99({ latency }: Lags): number {
  return latency.getValueAtPercentile(99)
}

export async function measureBootstrap(instance: Instance): Promise<TransferSample | undefined> {
  if (instance.bootstrap === undefined) return undefined
  const { bytes, seconds } = await instance.bootstrap()
  return { bytes, seconds, mibPerSecond: bytes / 1024 ** 2 / seconds }
}

/** The replica is down for one measurement's length. */
export async function measureCatchUp(
  { instance, host }: Running,
  { writers }: Cell,
  { seconds }: MeasureSettings,
): Promise<CatchUpSample | undefined> {
  if (instance.catchUp === undefined) return undefined
  let operations = 0
  const caughtUp = await instance.catchUp(async () => {
    operations = (await host.call('run', { writers, seconds })).operations
  })
  return { operations, seconds: caughtUp.seconds, operationsPerSecond: operations / caughtUp.seconds }
}

/** Nobody may use the instance afterwards. */
export async function measureKill(
  { instance, host, isLoadApart }: Running,
  { writers }: Cell,
  { seconds }: MeasureSettings,
): Promise<KillSample | undefined> {
  if (instance.killLeader === undefined || instance.survivors === undefined || !isLoadApart) return undefined
  const load = host.call('run', { writers, seconds: 2 * seconds, untilFailure: true })
  await delay(seconds * 1000)
  await instance.killLeader()
  await load
  return killSample(await host.call('acknowledged'), await instance.survivors())
}

/** What of the acknowledged keys is gone. A key ends with `-` and a number that grows. */
export function killSample(
  { keys, numbers }: Pick<Acknowledged, 'keys' | 'numbers'>,
  { replica, leader }: Survivors,
): KillSample {
  const onReplica = 'keys' in replica ? new Set(replica.keys) : undefined
  const reached = 'reached' in replica ? replica.reached : 0
  const onLeader = new Set(leader)
  const told = new Set(keys)
  // Smaller numbers are of the loads before.
  const first = keys.reduce((least, key) => Math.min(least, numberOf(key)), Number.POSITIVE_INFINITY)
  const isOnReplica = (key: string, index: number): boolean =>
    onReplica === undefined ? (numbers[index] as number) <= reached : onReplica.has(key)
  return {
    acknowledged: told.size,
    lostOnReplica: keys.filter((key, index) => !isOnReplica(key, index)).length,
    lostOnRestart: keys.filter((key) => !onLeader.has(key)).length,
    unacknowledged: leader.filter((key) => numberOf(key) >= first && !told.has(key)).length,
    failoverSeconds: 'not measured',
  }
}

function numberOf(key: string): number {
  return Number(key.slice(key.lastIndexOf('-') + 1))
}
