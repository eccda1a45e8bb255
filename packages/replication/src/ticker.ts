/** Calls a function in a steady interval of a `Clock` until it is stopped. */
import type { Clock, Timer } from '@understudy/contracts'

export class Ticker {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #run: () => void
  #timer: Timer | undefined

  constructor(clock: Clock, intervalMs: number, run: () => void) {
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#run = run
    this.#next()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #next(): void {
    this.#timer = this.#clock.schedule(this.#intervalMs, () => {
      this.#next()
      this.#run()
    })
  }
}
