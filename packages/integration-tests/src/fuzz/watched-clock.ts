/** Simulated time whose every turn is watched: timers are where much of the product handles what came. */
import type { Timer } from '@understudy/contracts'
import { SimulatedClock } from '@understudy/testkit'
import type { Watch } from './watch.ts'

export class WatchedClock extends SimulatedClock {
  readonly #watch: Watch

  constructor(watch: Watch) {
    super()
    this.#watch = watch
  }

  override schedule(delayMs: number, run: () => void): Timer {
    return super.schedule(delayMs, () => this.#watch.timed(run))
  }

  override settle(): Promise<void> {
    return this.#watch.settle()
  }
}
