/**
 * One fdatasync for everyone who waits.
 *
 * At most one sync runs; whoever asks meanwhile shares the next one, which begins when the running one ended and covers
 * everything appended until then. Decides who waits for which sync; what a sync is, and what its failure means, is the
 * log's.
 */

/** Runs one sync and resolves when everything appended before the call is durable. */
export type RunSync = () => Promise<void>

export class GroupSync {
  readonly #run: RunSync
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(run: RunSync) {
    this.#run = run
  }

  /** Resolves once a sync that began after this call has ended. */
  wait(): Promise<void> {
    if (this.#running === undefined) return this.#begin()
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.#begin()
    })
    return this.#next
  }

  /** Resolves when no sync is running or waiting; never rejects. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await (this.#next ?? this.#running).catch(() => undefined)
  }

  #begin(): Promise<void> {
    const running = this.#run().finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }
}
