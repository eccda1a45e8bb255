/** What a watch was told. */
import type { CoordinatorWatcher, Observation } from '@understudy/contracts'

export class Watched {
  readonly observed: Observation[] = []
  unreachable = 0
  #told = Promise.withResolvers<void>()
  readonly watcher: CoordinatorWatcher = {
    observed: (observation) => {
      this.observed.push(observation)
      this.#tell()
    },
    unreachable: () => {
      this.unreachable += 1
      this.#tell()
    },
  }

  get last(): Observation | undefined {
    return this.observed.at(-1)
  }

  async until(reached: (watched: this) => boolean): Promise<void> {
    while (!reached(this)) await this.#told.promise
  }

  #tell(): void {
    this.#told.resolve()
    this.#told = Promise.withResolvers()
  }
}
