/** Callers of the scenarios that need no more than one write after another, until they are stopped: the loop is that of every load. */
import { systemClock } from '@understudy/contracts'
import { build, type Histogram } from 'hdr-histogram-js'
import { runLoop, type LoopOptions, type LoopResult } from '../load/loop.ts'

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
  return loadResult(await runLoop({ ...loopOptions(signal, write), writers }))
}

export interface PacedOptions extends LoadOptions {
  /** Writes per second of all callers together. */
  readonly perSecond: number
}

/** The same in an open loop, until the signal: latencies count from when a write was to begin. */
export async function runPaced({ writers, signal, write, perSecond }: PacedOptions): Promise<LoadResult> {
  return loadResult(await runLoop({ ...loopOptions(signal, write), writers, rate: perSecond }))
}

function loopOptions(
  signal: AbortSignal,
  write: () => Promise<unknown>,
): Omit<LoopOptions<{ readonly name: string }>, 'writers'> {
  const operation = { name: 'write' }
  return {
    clock: systemClock(),
    durationMs: Number.POSITIVE_INFINITY,
    signal,
    next: () => operation,
    run: () => write(),
  }
}

function loadResult({ operations, durationMs, latency }: LoopResult): LoadResult {
  const seconds = durationMs / 1000
  return { commits: operations, seconds, perSecond: operations / seconds, latency: latencyOf(latency) }
}
