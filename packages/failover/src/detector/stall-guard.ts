/**
 * Time that the observer itself was there to see.
 *
 * Decides: how much of the time between two looks counts. Leaves to others: what is measured with it.
 *
 * A process that was stopped, a machine that was suspended, a loop that was blocked by one long query: its clock goes on, and
 * what peers sent in between was not read. Such time is no evidence against anybody.
 *
 * Validity conditions:
 * 1. `tick` is called at least every `tickMs` while the observer runs. What a look comes later than that, beyond `toleranceMs`,
 *    was missed.
 * 2. Observed time never goes back, and never faster than the clock.
 */

/** How often the observer looks, and how late a look may be before the rest counts as missed. */
export interface StallSettings {
  readonly tickMs: number
  readonly toleranceMs: number
}

/** What one look found. */
export interface Look {
  /** Milliseconds of observed time, from an arbitrary origin. */
  readonly observedMs: number
  /** Milliseconds that were missed just before this look; 0 when none. */
  readonly missedMs: number
}

export class StallGuard {
  readonly #settings: StallSettings
  #lastMs: number | undefined
  #observedMs = 0
  #missedMs = 0
  #stalledAtMs: number | undefined

  constructor(settings: StallSettings) {
    this.#settings = settings
  }

  /** All that was missed so far, in milliseconds. */
  get missedMs(): number {
    return this.#missedMs
  }

  /** Looks at the clock. Every other question does this first. */
  look(nowMs: number): Look {
    if (this.#lastMs === undefined) {
      this.#lastMs = nowMs
      return { observedMs: this.#observedMs, missedMs: 0 }
    }
    const passed = nowMs - this.#lastMs
    // A clock that goes back was not there either: nothing passed.
    if (passed <= 0) return { observedMs: this.#observedMs, missedMs: 0 }
    this.#lastMs = nowMs
    const { tickMs, toleranceMs } = this.#settings
    const isStall = passed > tickMs + toleranceMs
    const counted = isStall ? tickMs : passed
    this.#observedMs += counted
    const missedMs = passed - counted
    if (isStall) {
      this.#missedMs += missedMs
      this.#stalledAtMs = nowMs
    }
    return { observedMs: this.#observedMs, missedMs }
  }

  /** Whether the observer missed time within the last `withinMs`: its view is not worth much yet. */
  stalled(nowMs: number, withinMs: number): boolean {
    return this.#stalledAtMs !== undefined && nowMs - this.#stalledAtMs < withinMs
  }
}
