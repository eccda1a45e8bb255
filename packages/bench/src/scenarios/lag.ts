/**
 * From commit to visible: the time between a caller's reply on the leader and the moment at which a reader on the
 * follower saw the commit, for every commit, at half of the rate that 64 callers reach. A part of the matrix: see `lag` there.
 */
import { decode, percentileMs } from '../load/histogram.ts'
import { runPreset } from '../matrix/preset.ts'
import type { LagSample } from '../matrix/results.ts'
import type { Scenario } from '../scenario.ts'
import { median, summarize } from '../statistics.ts'

const WRITERS = 64

export const lag: Scenario = async (context) => {
  const { rounds, seconds } = context.settings
  const preset = await runPreset('lag', context, {
    writers: [WRITERS],
    followers: 1,
    peers: ['none'],
    measure: ['lag'],
    rounds,
    seconds,
  })
  const lags = preset.rounds({ subject: 'understudy' }, WRITERS).flatMap((round) => round.lag ?? [])
  const p99 = lags.map((sample) => lagMs(sample, 99))
  return {
    figures: { lagP99Ms: median(p99) },
    details: {
      commitsPerSecond: summarize(lags.map(({ commitsPerSecond }) => commitsPerSecond)),
      p50Ms: summarize(lags.map((sample) => lagMs(sample, 50))),
      p99Ms: summarize(p99),
      maxMs: summarize(lags.map((sample) => lagMs(sample, 100))),
    },
  }
}

/** Milliseconds of one round. */
export function lagMs({ latency }: LagSample, percentile: number): number {
  return percentileMs(decode(latency), percentile)
}
