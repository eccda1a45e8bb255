import type { Clock } from '@understudy/contracts'

/** A clock by hand, which counts what is asked of it. */
export class HandClock implements Clock {
  ms = 0
  schedules = 0
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>()

  get pending(): number {
    return this.#timers.size
  }

  now(): number {
    return this.ms
  }

  monotonic(): number {
    return this.ms
  }

  schedule(delayMs: number, run: () => void): { cancel(): void } {
    this.schedules += 1
    const timer = { atMs: this.ms + delayMs, run }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }

  advance(ms: number): void {
    this.ms += ms
    for (const timer of this.#timers)
      if (timer.atMs <= this.ms) {
        this.#timers.delete(timer)
        timer.run()
      }
  }
}
