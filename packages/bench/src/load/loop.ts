/**
 * Writers that do one operation after another: when each begins, and what its latency is.
 *
 * Decides: the beginning of an operation. Closed loop: each writer begins its next operation when the one before was answered. Open loop: operations
 * arrive at a rate, whether or not the ones before were answered; a free writer takes the one that waits longest.
 * Leaves to others: what an operation is and who executes it.
 *
 * Validity:
 * 1. In an open loop a latency counts from the moment at which the operation was to begin, so that a subject which stalls is charged with
 *    every operation that had to wait for it (no coordinated omission; Tene, "How NOT to Measure Latency").
 * 2. Operations that arrived before the end and found no writer are carried out and counted, or the slowest would be missing.
 * 3. Warm-up is not recorded, and ends without a pause. A closed loop measures one operation at least, however long it takes.
 */
import type { Clock } from '@understudy/contracts'
import { histogram, recordMs, type Histogram } from './histogram.ts'

export interface LoopOptions<O extends { readonly name: string }> {
  readonly clock: Clock
  readonly writers: number
  readonly durationMs: number
  readonly warmUpMs?: number
  /** Operations per second of all writers together: an open loop. Default: a closed one. */
  readonly rate?: number
  /** No writer begins another one after so many were begun in the measurement. */
  readonly operationsMax?: number
  /** Nothing more is begun. */
  readonly signal?: AbortSignal
  readonly next: (writer: number) => O
  /** Until it is answered; nothing to wait for where it is done at once. */
  readonly run: (operation: O, writer: number) => Promise<unknown> | undefined
  /** After each operation; `isCounted`: it did not begin in the warm-up. */
  readonly answered?: (operation: O, isCounted: boolean) => void
}

export interface LoopResult {
  readonly operations: number
  /** From the first operation that is counted until the last answer. */
  readonly durationMs: number
  readonly latency: Histogram
  readonly byName: ReadonlyMap<string, Histogram>
  /** Open loop: the longest that an operation was late to begin. */
  readonly lateMsMax: number
}

export async function runLoop<O extends { readonly name: string }>(
  options: LoopOptions<O>,
): Promise<LoopResult> {
  const loop = new Loop(options)
  await Promise.all(Array.from({ length: options.writers }, (_, writer) => loop.write(writer)))
  return loop.result()
}

class Loop<O extends { readonly name: string }> {
  readonly #options: LoopOptions<O>
  readonly #intervalMs: number
  readonly #startMs: number
  readonly #countFromMs: number
  readonly #endMs: number
  readonly #byName = new Map<string, Histogram>()
  #arrived = 0
  #begun = 0
  #operations = 0
  #lastAnswerMs: number
  #firstMs: number
  #lateMsMax = 0

  constructor(options: LoopOptions<O>) {
    this.#options = options
    this.#intervalMs = options.rate === undefined ? 0 : 1000 / options.rate
    this.#startMs = options.clock.monotonic()
    this.#countFromMs = this.#startMs + (options.warmUpMs ?? 0)
    this.#endMs = this.#countFromMs + options.durationMs
    this.#lastAnswerMs = this.#countFromMs
    this.#firstMs = this.#intervalMs === 0 ? Number.POSITIVE_INFINITY : this.#countFromMs
  }

  async write(writer: number): Promise<void> {
    const { clock, next, run } = this.#options
    for (;;) {
      const beginMs = this.#intervalMs === 0 ? clock.monotonic() : await this.#arrival()
      if (this.#isOver(beginMs)) return
      const operation = next(writer)
      const answer = run(operation, writer)
      if (answer !== undefined) await answer
      this.#count(operation, beginMs)
    }
  }

  /** Waits until the next operation is due; the moment at which it was. */
  async #arrival(): Promise<number> {
    const { clock } = this.#options
    const dueMs = this.#startMs + this.#arrived++ * this.#intervalMs
    if (dueMs >= this.#endMs) return dueMs
    // A timer may come a little early.
    for (let leftMs = dueMs - clock.monotonic(); leftMs > 0; leftMs = dueMs - clock.monotonic())
      await new Promise<void>((resolve) => void clock.schedule(leftMs, resolve))
    this.#lateMsMax = Math.max(this.#lateMsMax, clock.monotonic() - dueMs)
    return dueMs
  }

  #isOver(beginMs: number): boolean {
    const { operationsMax = Number.POSITIVE_INFINITY, signal } = this.#options
    if (signal?.aborted === true) return true
    if (beginMs < this.#countFromMs) return false
    // Operations that take longer than the measurement: one is measured all the same.
    if (beginMs >= this.#endMs && (this.#begun > 0 || this.#intervalMs > 0)) return true
    if (this.#begun >= operationsMax) return true
    this.#begun++
    // The rest of the warm-up, of operations that are long, is no part of the time.
    if (this.#intervalMs === 0) this.#firstMs = Math.min(this.#firstMs, beginMs)
    return false
  }

  #count(operation: O, beginMs: number): void {
    const nowMs = this.#options.clock.monotonic()
    const isCounted = beginMs >= this.#countFromMs
    this.#options.answered?.(operation, isCounted)
    if (!isCounted) return
    this.#operations++
    this.#lastAnswerMs = Math.max(this.#lastAnswerMs, nowMs)
    let named = this.#byName.get(operation.name)
    if (named === undefined) this.#byName.set(operation.name, (named = histogram()))
    recordMs(named, nowMs - beginMs)
  }

  result(): LoopResult {
    // Recording each operation once keeps the loop cheap beside a subject that answers within microseconds.
    const latency = histogram()
    for (const named of this.#byName.values()) latency.add(named)
    return {
      operations: this.#operations,
      durationMs: Math.max(0, this.#lastAnswerMs - this.#firstMs),
      latency,
      byName: this.#byName,
      lateMsMax: this.#lateMsMax,
    }
  }
}
