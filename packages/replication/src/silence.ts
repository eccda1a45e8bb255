/**
 * How long a peer has been silent, fairly: SQL blocks the event loop, and while this process stood still the peer's
 * messages waited in the socket. A tick that comes late therefore grants a full interval to read them first.
 */
export class Silence {
  readonly #deadlineMs: number
  readonly #tickMs: number
  #heardAtMs: number
  #tickedAtMs: number

  /** `tickMs`: the interval in which `tick` is meant to be called. */
  constructor(deadlineMs: number, tickMs: number, nowMs: number) {
    this.#deadlineMs = deadlineMs
    this.#tickMs = tickMs
    this.#heardAtMs = nowMs
    this.#tickedAtMs = nowMs
  }

  heard(nowMs: number): void {
    this.#heardAtMs = nowMs
  }

  /** The length of the silence in milliseconds once it is over the deadline. */
  tick(nowMs: number): number | undefined {
    const isLate = nowMs - this.#tickedAtMs > 2 * this.#tickMs
    this.#tickedAtMs = nowMs
    if (isLate) this.#heardAtMs = Math.max(this.#heardAtMs, nowMs - this.#deadlineMs + this.#tickMs)
    const silentMs = nowMs - this.#heardAtMs
    return silentMs > this.#deadlineMs ? silentMs : undefined
  }
}
