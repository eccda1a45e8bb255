/**
 * One direction between two hosts: brings what is sent after a while, in order, or keeps it while the way is cut.
 *
 * 1. Things sent at one moment travel together; later ones never arrive before earlier ones, whatever the latencies.
 * 2. A cut shows in nothing but silence: what would arrive during it arrives after it is healed.
 */
import type { Clock } from '@understudy/contracts'

export interface DirectionOptions<T> {
  readonly from: string
  readonly to: string
  /** The sender's time. */
  readonly now: () => number
  /** The clock on which things arrive: the receiver's while it lives. */
  readonly arrivalClock: () => Clock
  readonly latencyMs: () => number
  /** Whether nothing gets through. */
  readonly cut: () => boolean
  readonly receive: (item: T) => void
}

/** Above any rounding of sums of milliseconds, below any latency that matters. */
const EARLY_MS = 1e-4

interface Batch<T> {
  readonly sentAtMs: number
  arriveAtMs: number
  readonly items: T[]
}

export class Direction<T> {
  readonly #options: DirectionOptions<T>
  #batches: Batch<T>[] = []
  #open = true

  constructor(options: DirectionOptions<T>) {
    this.#options = options
  }

  get from(): string {
    return this.#options.from
  }

  get to(): string {
    return this.#options.to
  }

  send(item: T): void {
    if (!this.#open) return
    const nowMs = this.#options.now()
    const last = this.#batches.at(-1)
    if (last !== undefined && last.sentAtMs === nowMs) {
      last.items.push(item)
      return
    }
    const arriveAtMs = Math.max(nowMs + this.#options.latencyMs(), last?.arriveAtMs ?? 0)
    this.#batches.push({ sentAtMs: nowMs, arriveAtMs, items: [item] })
    this.#schedule(arriveAtMs - nowMs)
  }

  /** Sends what waits on its way again: the cut was healed, or the receiver is back. */
  again(): void {
    const nowMs = this.#options.now()
    for (const batch of this.#batches) {
      batch.arriveAtMs = nowMs + this.#options.latencyMs()
      this.#schedule(batch.arriveAtMs - nowMs)
    }
  }

  /** Nothing arrives any more. */
  drop(): void {
    this.#open = false
    this.#batches = []
  }

  #schedule(delayMs: number): void {
    this.#options.arrivalClock().schedule(delayMs, () => this.#arrive())
  }

  /** Each scheduled arrival takes the oldest batch, so that order holds even where two come at the same time. */
  #arrive(): void {
    if (this.#options.cut()) return
    const batch = this.#batches[0]
    if (batch === undefined) return
    // The first schedule of a batch that was sent again, or a receiver whose clock runs fast.
    const earlyMs = batch.arriveAtMs - this.#options.now()
    if (earlyMs > EARLY_MS) return this.#schedule(earlyMs)
    this.#batches.shift()
    for (const item of batch.items) this.#options.receive(item)
  }
}
