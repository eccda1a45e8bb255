/** Counts of many runs by position and outcome, and whether memory grows with them. */
import type { Outcome } from './run.ts'

export interface Report {
  readonly seed: number
  readonly frames: number
  readonly runs: number
  readonly framesPerSecond: number
  /** The same for a second of processor time: what it is on a machine of its own. */
  readonly framesPerCpuSecond: number
  /** Runs in which the thread stood still for longer than allowed once, and not when they were repeated. */
  readonly pauses: number
  readonly longestMs: number
  /** After collection of garbage: heap and what it holds outside. */
  readonly memory: { readonly beforeMiB: number; readonly afterMiB: number; readonly mostMiB: number }
  readonly positions: readonly {
    readonly position: string
    readonly runs: number
    readonly frames: number
    readonly longestMs: number
    readonly outcomes: Readonly<Record<string, number>>
  }[]
}

interface Line {
  runs: number
  frames: number
  longestMs: number
  readonly outcomes: Map<string, number>
}

/** Code and caches are in place after so many frames: memory counts from there. */
const WARM_FRAMES = 300_000
const CHECK_FRAMES = 200_000
/** What memory may differ by, however many frames. */
const GROWTH_MIB_MAX = 24
const MIB = 1024 * 1024

export class Ledger {
  frames = 0
  readonly #seed: number
  readonly #lines = new Map<string, Line>()
  readonly #begunAtMs = performance.now()
  #runs = 0
  #pauses = 0
  #nextCheck = WARM_FRAMES
  #beforeMiB: number | undefined
  #mostMiB = 0
  #toldAtMs = performance.now()

  constructor(seed: number) {
    this.#seed = seed
  }

  include({ position, frames, outcomes, longestMs }: Outcome, repeatedMs: number): void {
    const line: Line = this.#lines.get(position) ?? { runs: 0, frames: 0, longestMs: 0, outcomes: new Map() }
    this.#lines.set(position, line)
    line.runs++
    line.frames += frames
    line.longestMs = Math.max(line.longestMs, repeatedMs)
    for (const [outcome, count] of outcomes)
      line.outcomes.set(outcome, (line.outcomes.get(outcome) ?? 0) + count)
    this.frames += frames
    this.#runs++
    if (longestMs !== repeatedMs) this.#pauses++
  }

  /** What is wrong, if anything is. Needs `--expose-gc`. */
  checkMemory(): string | undefined {
    if (this.frames < this.#nextCheck || globalThis.gc === undefined) return undefined
    this.#nextCheck = this.frames + CHECK_FRAMES
    const usedMiB = memoryMiB()
    this.#beforeMiB ??= usedMiB
    this.#mostMiB = Math.max(this.#mostMiB, usedMiB)
    if (usedMiB - this.#beforeMiB <= GROWTH_MIB_MAX) return undefined
    return `memory grew from ${this.#beforeMiB.toFixed(1)} to ${usedMiB.toFixed(1)} MiB in ${this.frames} frames`
  }

  /** A line that is written over each second, where somebody watches; elsewhere one every minute. */
  progress(count: number): void {
    const { isTTY } = process.stderr
    const now = performance.now()
    if (now - this.#toldAtMs < (isTTY ? 1000 : 60_000)) return
    this.#toldAtMs = now
    const line = `${this.frames} of ${count} frames, ${this.#runs} runs, ${this.#rate()} frames/s`
    process.stderr.write(isTTY ? `\r${line} ` : `${line}\n`)
  }

  report(): Report {
    const afterMiB = memoryMiB()
    if (process.stderr.isTTY) process.stderr.write('\n')
    const positions = [...this.#lines].map(([position, { runs, frames, longestMs, outcomes }]) => ({
      position,
      runs,
      frames,
      longestMs: rounded(longestMs),
      outcomes: Object.fromEntries([...outcomes].toSorted(([, a], [, b]) => b - a)),
    }))
    return {
      seed: this.#seed,
      frames: this.frames,
      runs: this.#runs,
      framesPerSecond: this.#rate(),
      framesPerCpuSecond: this.#cpuRate(),
      pauses: this.#pauses,
      longestMs: Math.max(0, ...positions.map(({ longestMs }) => longestMs)),
      memory: {
        beforeMiB: rounded(this.#beforeMiB ?? afterMiB),
        afterMiB: rounded(afterMiB),
        mostMiB: rounded(Math.max(this.#mostMiB, afterMiB)),
      },
      positions,
    }
  }

  #cpuRate(): number {
    const { user, system } = process.cpuUsage()
    return Math.round((1e6 * this.frames) / (user + system))
  }

  #rate(): number {
    return Math.round((1000 * this.frames) / (performance.now() - this.#begunAtMs))
  }
}

function memoryMiB(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / MIB
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10
}
