/**
 * From commit to visible: the time between a caller's reply on the leader and the moment at which a reader on the
 * follower saw that row, for every commit, at half of the rate that 64 callers reach.
 *
 * The rows are new ones (ids from AUTOINCREMENT), so that no older row can be taken for them. Both processes read
 * CLOCK_MONOTONIC, which is one clock on one machine. The follower's reader waits for the next record with the node's
 * own `read(…, { after })`, reads the newest row, and only then looks at the clock: what it says is an upper bound.
 */
import { latencyHistogram, latencyOf } from '../processes/load.ts'
import { Pair } from '../pair.ts'
import type { Scenario } from '../scenario.ts'
import { median, summarize } from '../statistics.ts'

const WRITERS = 64

export const lag: Scenario = async ({ settings, directory, reporter, shared }) => {
  const { rounds, seconds } = settings
  await using pair = await Pair.start(directory)
  reporter.begin('lag', rounds + 1)
  const warmUp = await pair.leader.call('load', { writers: WRITERS, seconds: Math.min(seconds, 2) })
  await pair.equal()
  const perSecond = (shared.commits64PerSecond ?? warmUp.perSecond) / 2
  reporter.step(`warm-up; the rate is ${Math.round(perSecond)} commits/s`)
  const p50: number[] = []
  const p99: number[] = []
  const max: number[] = []
  const reached: number[] = []
  for (let round = 0; round < rounds; round++) {
    await pair.follower.call('watch')
    const sent = await pair.leader.call('probe', { writers: WRITERS, perSecond, seconds })
    await pair.equal()
    const seen = await pair.follower.call('sightings')
    const histogram = latencyHistogram()
    for (const lagMs of lagsOf(sent, seen)) histogram.recordValue(lagMs * 1000)
    const latency = latencyOf(histogram)
    p50.push(latency.p50)
    p99.push(latency.p99)
    max.push(latency.max)
    reached.push(sent.perSecond)
    reporter.step(
      `round ${round + 1}: p50 ${latency.p50.toFixed(2)} ms, p99 ${latency.p99.toFixed(2)} ms at ${Math.round(sent.perSecond)} commits/s`,
    )
  }
  reporter.end()
  return {
    figures: { lagP99Ms: median(p99) },
    details: {
      commitsPerSecond: summarize(reached),
      askedPerSecond: perSecond,
      p50Ms: summarize(p50),
      p99Ms: summarize(p99),
      maxMs: summarize(max),
    },
  }
}

/** For each reply the time until the first sighting of its id, or of a higher one. A sighting before the reply counts as 0. */
export function lagsOf(
  sent: { readonly ids: Float64Array; readonly repliedAtMs: Float64Array },
  seen: { readonly ids: Float64Array; readonly seenAtMs: Float64Array },
): number[] {
  const order = Array.from(sent.ids.keys()).sort((a, b) => Number(sent.ids[a]) - Number(sent.ids[b]))
  const lags: number[] = []
  let at = 0
  for (const index of order) {
    const id = Number(sent.ids[index])
    while (at < seen.ids.length && Number(seen.ids[at]) < id) at++
    if (at === seen.ids.length) throw new RangeError(`Row ${id} was never seen on the follower.`)
    lags.push(Math.max(0, Number(seen.seenAtMs[at]) - Number(sent.repliedAtMs[index])))
  }
  return lags
}
