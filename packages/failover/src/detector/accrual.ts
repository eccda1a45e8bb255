/**
 * From the times between heartbeats to a level of suspicion.
 *
 * Decides: how unlikely a silence of some length is, given the intervals seen before. Leaves to others: which time counts
 * (stall-guard), what follows from a level (detector).
 *
 * After Hayashibara, Défago, Yared and Katayama, "The φ accrual failure detector" (2004): φ = −log10 of the probability that
 * a heartbeat comes later than this, for intervals with a normal distribution. φ = 8 is one needless suspicion in 10^8.
 *
 * Validity conditions:
 * 1. The window is bounded. Old intervals leave it, so that a quiet hour does not make an hour of load look dead.
 * 2. The deviation has a floor: a link without any jitter is not suspected at the first late packet.
 * 3. No single interval counts more than `intervalMsMax`: one outage does not teach that outages are normal.
 */

export interface AccrualSettings {
  /** What the first interval is taken to be, before any was seen. */
  readonly intervalMs: number
  readonly deviationMsMin: number
  readonly intervalMsMax: number
  /** How many intervals are remembered. */
  readonly windowSize: number
}

export class IntervalWindow {
  readonly #settings: AccrualSettings
  readonly #intervals: Float64Array
  #count = 0
  #next = 0
  #meanMs: number
  #deviationMs: number

  constructor(settings: AccrualSettings) {
    this.#settings = settings
    this.#intervals = new Float64Array(settings.windowSize)
    this.#meanMs = settings.intervalMs
    this.#deviationMs = settings.deviationMsMin
  }

  /** Mean of the intervals that are remembered, in milliseconds. */
  get meanMs(): number {
    return this.#meanMs
  }

  /** Their standard deviation, at least the floor. */
  get deviationMs(): number {
    return this.#deviationMs
  }

  add(intervalMs: number): void {
    const { windowSize, intervalMsMax, deviationMsMin } = this.#settings
    this.#intervals[this.#next] = Math.min(intervalMs, intervalMsMax)
    this.#next = (this.#next + 1) % windowSize
    this.#count = Math.min(this.#count + 1, windowSize)
    let sum = 0
    for (let at = 0; at < this.#count; at++) sum += this.#intervals[at] as number
    this.#meanMs = sum / this.#count
    // Summed anew each time: running sums of squares lose their digits within a day.
    let squares = 0
    for (let at = 0; at < this.#count; at++) squares += ((this.#intervals[at] as number) - this.#meanMs) ** 2
    this.#deviationMs = Math.max(Math.sqrt(squares / this.#count), deviationMsMin)
  }

  /** φ of a silence of this length. Grows with it; 0.3 at the mean. */
  phi(silentMs: number): number {
    return phiOf((silentMs - this.#meanMs) / this.#deviationMs)
  }

  /** The silence that is so many deviations above the mean, in milliseconds. */
  silenceAt(deviations: number): number {
    return Math.max(0, this.#meanMs + deviations * this.#deviationMs)
  }
}

/** How many deviations above the mean φ reaches this level. */
export function deviationsAt(level: number): number {
  let low = -10
  let high = 10 + level
  for (let round = 0; round < 50; round++) {
    const middle = (low + high) / 2
    if (phiOf(middle) < level) low = middle
    else high = middle
  }
  return high
}

/** −log10 of the upper tail of the normal distribution, through its logistic approximation, which has no end where it becomes 0. */
function phiOf(deviations: number): number {
  const exponent = deviations * (1.5976 + 0.070566 * deviations * deviations)
  // log10(1 + e^x), without overflow for a long silence.
  return (
    (exponent > 0 ? exponent + Math.log1p(Math.exp(-exponent)) : Math.log1p(Math.exp(exponent))) * Math.LOG10E
  )
}
