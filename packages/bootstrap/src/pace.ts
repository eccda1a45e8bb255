/**
 * Rate limit: a token bucket that holds at most a tenth of a second, so that late timers do not lower the rate and a
 * pause does not become a burst.
 *
 * 1. What is taken is paid for afterwards: the first chunk goes at once, however large it is.
 * 2. Over any time t, at most rate × (t + 0.1 s) bytes plus one chunk pass.
 */
import type { Clock } from '@understudy/contracts'

const BURST_MS = 100

export class Pace {
  readonly #clock: Clock
  readonly #bytesPerMs: number
  #paidUntilMs: number

  /** `bytesPerSecondMax` 0 or infinite: no limit. */
  constructor(clock: Clock, bytesPerSecondMax: number) {
    this.#clock = clock
    this.#bytesPerMs = bytesPerSecondMax === 0 ? Number.POSITIVE_INFINITY : bytesPerSecondMax / 1000
    this.#paidUntilMs = clock.monotonic()
  }

  /** Milliseconds until the next bytes may pass; 0 for now. */
  delayMs(): number {
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return 0
    return Math.max(0, this.#paidUntilMs - this.#clock.monotonic())
  }

  take(bytes: number): void {
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return
    const from = Math.max(this.#paidUntilMs, this.#clock.monotonic() - BURST_MS)
    this.#paidUntilMs = from + bytes / this.#bytesPerMs
  }
}

/** The lower of two limits where 0 means none. */
export function lowerRate(a: number, b: number): number {
  if (a === 0) return b
  if (b === 0) return a
  return Math.min(a, b)
}
