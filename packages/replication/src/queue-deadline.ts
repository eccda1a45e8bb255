/** The deadlines of writes that wait for their turn: one timer for the earliest, so that a write costs none of its own. */
import type { Clock, Timer } from '@understudy/contracts'
import { notWrittenInTime } from './failures.ts'
import type { WriteQueue } from './write-queue.ts'

export class QueueDeadline<T> {
  readonly #queue: WriteQueue<T>
  readonly #clock: Clock
  #next: { readonly atMs: number; readonly timer: Timer } | undefined

  constructor(queue: WriteQueue<T>, clock: Clock) {
    this.#queue = queue
    this.#clock = clock
  }

  /** A write waits until then. */
  watch(atMs: number): void {
    if (atMs === Number.POSITIVE_INFINITY) return
    if (this.#next !== undefined && atMs >= this.#next.atMs) return
    this.#next?.timer.cancel()
    const timer = this.#clock.schedule(Math.max(0, atMs - this.#clock.monotonic()), () => this.#expire())
    this.#next = { atMs, timer }
  }

  cancel(): void {
    this.#next?.timer.cancel()
    this.#next = undefined
  }

  #expire(): void {
    this.#next = undefined
    for (const write of this.#queue.takeExpired(this.#clock.monotonic())) write.reject(notWrittenInTime())
    const next = this.#queue.earliestDeadlineMs()
    if (next !== Number.POSITIVE_INFINITY) this.watch(next)
  }
}
