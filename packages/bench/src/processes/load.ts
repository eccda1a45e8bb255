/**
 * Callers in a closed loop: each writes one row, waits until it is durable and visible, writes the next.
 *
 * Decides: when a caller writes. Leaves to others: where to, what with.
 */
import { performance } from 'node:perf_hooks'
import { build, type Histogram } from 'hdr-histogram-js'

/** Latencies in milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export interface LoadResult {
  readonly commits: number
  readonly seconds: number
  readonly perSecond: number
  readonly latency: Latency
}

/** Microseconds, three digits, up to a minute. */
export function latencyHistogram(): Histogram {
  return build({ highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 })
}

export function latencyOf(histogram: Histogram): Latency {
  return {
    p50: histogram.getValueAtPercentile(50) / 1000,
    p99: histogram.getValueAtPercentile(99) / 1000,
    max: histogram.maxValue / 1000,
  }
}

export interface LoadOptions {
  readonly writers: number
  /** Stops the callers; each ends with the write that it began. */
  readonly signal: AbortSignal
  /** One write, until its reply. */
  readonly write: () => Promise<unknown>
}

/** Runs the callers until the signal. */
export async function runLoad({ writers, signal, write }: LoadOptions): Promise<LoadResult> {
  const histogram = latencyHistogram()
  let commits = 0
  const startMs = performance.now()
  const caller = async (): Promise<void> => {
    while (!signal.aborted) {
      const beganMs = performance.now()
      await write()
      histogram.recordValue((performance.now() - beganMs) * 1000)
      commits++
    }
  }
  await Promise.all(Array.from({ length: writers }, caller))
  const seconds = (performance.now() - startMs) / 1000
  return { commits, seconds, perSecond: commits / seconds, latency: latencyOf(histogram) }
}

export interface PacedOptions extends LoadOptions {
  /** Writes per second of all callers together. */
  readonly perSecond: number
}

/**
 * The same callers, each with times of its own at which it begins its next write. One that is late begins at once, so
 * that the rate holds. The times are looked at every millisecond.
 */
export async function runPaced({ writers, signal, write, perSecond }: PacedOptions): Promise<number> {
  const intervalMs = (1000 * writers) / perSecond
  const startMs = performance.now()
  const due: { atMs: number; resolve: () => void }[] = []
  const timer = setInterval(() => {
    const nowMs = performance.now()
    for (let index = due.length - 1; index >= 0; index--) {
      const next = due[index]
      if (next === undefined || (next.atMs > nowMs && !signal.aborted)) continue
      due.splice(index, 1)
      next.resolve()
    }
  }, 1)
  let commits = 0
  const caller = async (index: number): Promise<void> => {
    for (let atMs = startMs + (intervalMs * index) / writers; ; atMs += intervalMs) {
      if (atMs > performance.now()) await new Promise<void>((resolve) => due.push({ atMs, resolve }))
      if (signal.aborted) return
      await write()
      commits++
    }
  }
  await Promise.all(Array.from({ length: writers }, (_, index) => caller(index)))
  clearInterval(timer)
  return commits / ((performance.now() - startMs) / 1000)
}
