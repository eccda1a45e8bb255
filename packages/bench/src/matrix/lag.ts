/**
 * Lag and staleness from what the callers on the leader and the readers on a replica noted. Pure.
 *
 * All times are of the system's monotonic clock, one for all processes of a machine. Decides: what counts. Lag of a commit: from its answer until a reader that
 * waits saw it; before the answer counts as 0. Staleness of a read: the age of the oldest answered commit that it did not see; 0 when it saw all.
 */
import { histogram, recordMs, type Histogram } from '../load/histogram.ts'
import type { CommitNotes } from '../load/load-calls.ts'
import type { Notes } from '../subjects/subject.ts'

/** A point of a plot is this long, at least. */
const POINTS_MAX = 200

export interface Lags {
  readonly latency: Histogram
  readonly series: readonly (readonly [atMs: number, p50Ms: number, maxMs: number])[]
}

/** Throws `RangeError` when a commit was never seen. */
export function lagOf(commits: CommitNotes, seen: Notes): Lags {
  const latency = histogram()
  const points: { readonly atMs: number; readonly lagMs: number }[] = []
  const order = inOrder(commits)
  const beganMs = Math.min(...order.map(({ atMs }) => atMs))
  let at = 0
  for (const { number, atMs } of order) {
    while (at < seen.numbers.length && (seen.numbers[at] as number) < number) at++
    if (at === seen.numbers.length) throw new RangeError(`Commit ${number} was never seen on the replica.`)
    const lagMs = Math.max(0, (seen.atMs[at] as number) - atMs)
    recordMs(latency, lagMs)
    points.push({ atMs: atMs - beganMs, lagMs })
  }
  return { latency, series: seriesOf(points) }
}

/** Of every read between the first answer and the last. */
export function stalenessOf(commits: CommitNotes, reads: Notes): Histogram {
  const staleness = histogram()
  const order = inOrder(commits)
  // The earliest answer of what comes after a number: an older commit is not answered later than a newer one by much, but it may be.
  const earliest = order.map(({ atMs }) => atMs)
  for (let index = earliest.length - 2; index >= 0; index--)
    earliest[index] = Math.min(earliest[index] as number, earliest[index + 1] as number)
  const firstMs = earliest[0] ?? Number.POSITIVE_INFINITY
  const lastMs = Math.max(...earliest)
  let next = 0
  for (const [index, number] of reads.numbers.entries()) {
    const atMs = reads.atMs[index] as number
    while (next < order.length && (order[next] as Numbered).number <= number) next++
    if (atMs < firstMs || atMs > lastMs) continue
    const missedMs = earliest[next]
    recordMs(staleness, missedMs === undefined ? 0 : Math.max(0, atMs - missedMs))
  }
  return staleness
}

interface Numbered {
  readonly number: number
  readonly atMs: number
}

function inOrder({ numbers, answeredAtMs }: CommitNotes): readonly Numbered[] {
  return Array.from(numbers, (number, index) => ({ number, atMs: answeredAtMs[index] as number })).sort(
    (a, b) => a.number - b.number,
  )
}

function seriesOf(points: readonly { readonly atMs: number; readonly lagMs: number }[]): Lags['series'] {
  const endMs = points.reduce((most, { atMs }) => Math.max(most, atMs), 0)
  const stepMs = Math.max(1, Math.ceil(endMs / POINTS_MAX))
  return [...Map.groupBy(points, ({ atMs }) => Math.floor(atMs / stepMs))]
    .sort(([a], [b]) => a - b)
    .map(([slot, inSlot]) => {
      const lags = inSlot.map(({ lagMs }) => lagMs).sort((a, b) => a - b)
      return [
        slot * stepMs,
        rounded(lags[lags.length >> 1] as number),
        rounded(lags.at(-1) as number),
      ] as const
    })
}

/** Microseconds are what is recorded. */
function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000
}
