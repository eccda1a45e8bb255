/**
 * What one seed draws for itself before its run begins (swarm testing): sizes, limits, speeds, which faults and how
 * often. Two seeds differ in kind, not only in timing: one has no faults but kills, another no faults at all.
 *
 * Decides: the ranges. Leaves to others: what happens within them (nemesis, clients).
 */
import type { SeededRandom, Span } from '@understudy/testkit'
import type { AckPolicy, AckRule, ApplyLimits, LinkLimits, PipelineLimits } from '@understudy/replication'

export const FAULTS = [
  'killLeader',
  'powerLossLeader',
  'killFollower',
  'powerLossFollower',
  'cutOneWay',
  'isolate',
  'heal',
  'reset',
  'pause',
  'failSync',
  'failDirectorySync',
  'slowLink',
  'crashAfterCommit',
] as const
export type Fault = (typeof FAULTS)[number]

export interface Shape {
  readonly followers: number
  readonly clients: number
  /** How long faults come and clients write, in virtual milliseconds. */
  readonly chaosMs: number
  /**
   * In which formats the leader writes: the one that is taken before COMMIT, the one that gives some groups to that one,
   * the one that is taken after COMMIT, or all by turns, changed while it leads and at its starts.
   */
  readonly formats: 'logical' | 'mixed' | 'physical' | 'switching'
  /** Between two changes of the format. */
  readonly switchMs: Span
  /** Changes of a group above which a physical format cannot tell them, so that a base is needed. */
  readonly pagesMax: number
  /** Between two turns of one client. */
  readonly thinkMs: Span
  /** Writes that a client sends in one turn, at most. */
  readonly burstMax: number
  readonly valueBytesMax: number
  readonly bigValueChance: number
  readonly bigValueBytesMax: number
  readonly pipeline: Partial<PipelineLimits>
  /** Whose acks a write needs. Not drawn: see `acks.ts`. Default nobody's. */
  readonly acks?: AckPolicy
  /** Rules that take its place while the leader leads, and at its starts; the rest of the policy stays. */
  readonly ackChanges?: readonly AckPolicy[]
  /** Rules that some writes ask for by themselves. */
  readonly ownRules?: readonly AckRule[]
  /** Between two changes of the rule. */
  readonly changeAcksMs?: Span
  readonly link: Partial<LinkLimits> &
    Pick<LinkLimits, 'heartbeatMs' | 'deadlineMs' | 'windowBytes' | 'frameBytes'>
  readonly apply: Partial<ApplyLimits>
  readonly segmentBytes: number
  readonly tailCacheBytes: number
  readonly slotBytesMax: number
  readonly checkpointBytes: number
  readonly checkpointIntervalMs: number
  readonly snapshot: {
    readonly keepMs: number
    readonly chunkBytes: number
    readonly windowBytes: number
    readonly bytesPerSecondMax: number
    readonly flushBytes: number
  }
  /** Fault kinds of this seed with their weights; empty for a run without faults. */
  readonly faults: readonly { readonly kind: Fault; readonly weight: number }[]
  /** Between two faults. */
  readonly faultGapMs: Span
  /** From a crash to the restart. */
  readonly downMs: Span
  /** How long a pause lasts. */
  readonly pauseMs: Span
  readonly latencyMs: { readonly min: number; readonly max: number }
  readonly syncMs: Span
  /** How often everything is looked at. */
  readonly watchMs: number
}

export function drawShape(random: SeededRandom): Shape {
  const recordBytesMax = random.pick([200, 500, 2000, 100_000])
  const heartbeatMs = random.between(50, 500)
  const clients = random.between(1, 5)
  const burstMax = random.pick([1, 3, 10])
  return {
    ...drawFormats(random.fork('formats')),
    followers: random.between(2, 3),
    clients,
    chaosMs: random.between(2000, 12_000),
    // All clients together send about as much, however many they are.
    thinkMs: { min: 1, max: random.pick([30, 80, 250]) * clients * burstMax },
    burstMax,
    valueBytesMax: random.pick([20, 200, 600]),
    bigValueChance: random.pick([0, 0.05, 0.3]),
    bigValueBytesMax: random.pick([1000, 3000, 9000]),
    pipeline: {
      recordBytesMax,
      groupWritesMax: random.pick([1, 4, 64]),
      queueWritesMax: 64,
      writeTimeoutMs: 5000,
      // A sync on the thread takes no simulated time, so that nothing can happen during it: mostly the other one.
      syncHereMsMax: random.pick([1e-9, 1e-9, 1]),
    },
    link: {
      heartbeatMs,
      deadlineMs: heartbeatMs * random.between(3, 6),
      windowBytes: random.pick([2000, 20_000, 200_000]),
      frameBytes: random.pick([500, 4000, 50_000]),
      batchMs: random.pick([1, 1, 5, 30]),
    },
    apply: { batchRecordsMax: random.pick([1, 7, 500]), queueBytesMax: random.pick([500, 20_000]) },
    segmentBytes: random.pick([8192, 8192, 16_384, 65_536]),
    tailCacheBytes: random.pick([0, 2000, 100_000]),
    slotBytesMax: random.pick([4000, 20_000, 60_000, 1_000_000]),
    checkpointBytes: random.pick([500, 5000, 30_000]),
    checkpointIntervalMs: random.pick([20, 100, 500]),
    snapshot: {
      keepMs: random.pick([0, 300, 3000]),
      chunkBytes: random.pick([512, 1024, 4096]),
      windowBytes: random.pick([4096, 16_384]),
      bytesPerSecondMax: random.pick([0, 50_000, 200_000]),
      flushBytes: random.pick([1024, 8192, 1_000_000]),
    },
    faults: withCrash(drawFaults(random), random.fork('crash')),
    faultGapMs: { min: 1, max: random.pick([100, 400, 1500]) },
    downMs: { min: 0, max: random.pick([20, 500, 2000]) },
    pauseMs: { min: 1, max: random.pick([50, 1000, 4000]) },
    latencyMs: { min: 0.1, max: random.pick([1, 5, 50]) },
    syncMs: { min: 0.1, max: random.pick([1, 10, 60]) },
    watchMs: random.pick([5, 20, 100]),
  }
}

function drawFormats(random: SeededRandom): Pick<Shape, 'formats' | 'switchMs' | 'pagesMax'> {
  return {
    formats: random.pick(['logical', 'mixed', 'physical', 'physical', 'switching', 'switching']),
    switchMs: { min: 10, max: random.pick([200, 1000, 4000]) },
    pagesMax: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 20, 5]),
  }
}

/** One seed in twelve has no faults; of the others each keeps a random part of the kinds, always with a way to heal. */
function drawFaults(random: SeededRandom): Shape['faults'] {
  if (random.chance(1 / 12)) return []
  const keep = random.pick([0.3, 0.6, 1])
  const kinds = FAULTS.filter(
    (kind) => kind !== 'crashAfterCommit' && (random.chance(keep) || kind === 'heal'),
  )
  return kinds.map((kind) => ({ kind, weight: random.between(1, 8) }))
}

/** Strikes only a format that is taken after COMMIT; drawn apart, so that the other draws of a seed are what they were. */
function withCrash(faults: Shape['faults'], random: SeededRandom): Shape['faults'] {
  if (faults.length === 0 || random.chance(0.3)) return faults
  return [...faults, { kind: 'crashAfterCommit', weight: random.between(1, 8) }]
}
