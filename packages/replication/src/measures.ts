/**
 * What a node measures of its commits: histograms with fixed buckets.
 *
 * Decides: what is measured, the buckets. Leaves to others: when something is counted, showing it.
 *
 * 1. Counting allocates nothing and takes a few nanoseconds, so that it may stand on the way of every write.
 * 2. Counts only grow, for as long as the process lives: whoever wants a rate takes two looks.
 */

/** Counts by size, as they are now. */
export interface HistogramSnapshot {
  /** Upper bounds of all buckets but the last, which has none; a value on a bound is below it. */
  readonly bounds: readonly number[]
  /** One for each bucket: not cumulative. */
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  /** Bucket of the value before: writes of a group took about equally long. */
  #newest = 0
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    const bounds = this.#bounds
    let bucket = this.#newest
    while (bucket > 0 && value <= bounds[bucket - 1]!) bucket--
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++
    this.#newest = bucket
    this.#counts[bucket]!++
    this.#sum += value
  }

  snapshot(): HistogramSnapshot {
    const counts = [...this.#counts]
    const count = counts.reduce((all, each) => all + each, 0)
    return { bounds: this.#bounds, counts, sum: this.#sum, count }
  }
}

export interface CommitMeasures {
  /** From the call of `write` to its answer, in milliseconds: of writes that resolved, or threw in their callback. */
  readonly commitMs: Histogram
  /** Writes of a group. */
  readonly groupWrites: Histogram
  /** One fdatasync of the log, in milliseconds, on a leader and on a follower. */
  readonly syncMs: Histogram
  /** From when a group is durable here until its set has it, in milliseconds: of groups that waited. */
  readonly ackWaitMs: Histogram
}

export type CommitMeasuresSnapshot = { readonly [name in keyof CommitMeasures]: HistogramSnapshot }

export function commitMeasures(): CommitMeasures {
  return {
    commitMs: new Histogram(MILLISECONDS),
    groupWrites: new Histogram(WRITES),
    syncMs: new Histogram(MILLISECONDS),
    ackWaitMs: new Histogram(MILLISECONDS),
  }
}

export function snapshotOf(measures: CommitMeasures): CommitMeasuresSnapshot {
  return {
    commitMs: measures.commitMs.snapshot(),
    groupWrites: measures.groupWrites.snapshot(),
    syncMs: measures.syncMs.snapshot(),
    ackWaitMs: measures.ackWaitMs.snapshot(),
  }
}

/** A fast fdatasync is 0.1 ms; a write that waits longer than 10 s is a matter of its deadline. */
const MILLISECONDS: readonly number[] = Object.freeze([
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
])
const WRITES: readonly number[] = Object.freeze([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
