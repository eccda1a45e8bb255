/**
 * Waits between attempts to connect: exponential, with jitter, so that followers of a leader that comes back do not all
 * dial in the same moment.
 */
import type { Random } from '@understudy/contracts'
import type { BackoffLimits } from './limits.ts'

export class Backoff {
  readonly #limits: BackoffLimits
  readonly #random: Random
  #attempt = 0

  constructor(limits: BackoffLimits, random: Random) {
    this.#limits = limits
    this.#random = random
  }

  /** Milliseconds to wait now: between half and all of a span that doubles each time up to the longest. */
  next(): number {
    const { firstMs, lastMs } = this.#limits
    const spanMs = Math.min(lastMs, firstMs * 2 ** Math.min(this.#attempt++, 30))
    return spanMs / 2 + ((spanMs / 2) * this.#random.uint32()) / 0x1_0000_0000
  }

  /** The connection was of use: the next wait is the first one again. */
  reset(): void {
    this.#attempt = 0
  }
}
