/**
 * What is to be handed on after a time, in order. Decides when; leaves to others what it is, and waking up.
 *
 * A queue is enough: what comes later is due later.
 */
export class DelayLine<T> {
  readonly #delayMs: number
  #waiting: { readonly item: T; readonly cameMs: number }[] = []

  constructor(delayMs: number) {
    this.#delayMs = delayMs
  }

  push(item: T, nowMs: number): void {
    this.#waiting.push({ item, cameMs: nowMs })
  }

  /** When the next one is due; `Infinity` when none waits. */
  get dueMs(): number {
    const next = this.#waiting[0]
    return next === undefined ? Number.POSITIVE_INFINITY : next.cameMs + this.#delayMs
  }

  /** Takes out those that are due, oldest first, with the time at which each came. */
  takeDue(nowMs: number): readonly { readonly item: T; readonly cameMs: number }[] {
    let due = 0
    for (const { cameMs } of this.#waiting) {
      if (cameMs + this.#delayMs > nowMs) break
      due++
    }
    return this.#waiting.splice(0, due)
  }
}
