/**
 * Whether a pipeline may begin groups, and who waits until it has come to rest.
 *
 * Decides: when nothing more enters the log (`still`), when no group is under way (`idle`). Leaves to others: the groups (commit-pipeline).
 *
 * 1. Held, no group begins and no record is written; a group that runs already becomes durable first.
 * 2. What waits for acks does not keep a pipeline from being still: nothing of it will be appended.
 */
export class Hold {
  #isHeld = false
  /** A group runs, or its records are on their way to the disk. */
  #isAppending = false
  #still: (() => void)[] = []
  #idle: (() => void)[] = []

  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Resolves once nothing more enters the log. */
  hold(): Promise<void> {
    this.#isHeld = true
    if (!this.#isAppending) return Promise.resolve()
    return new Promise((resolve) => this.#still.push(resolve))
  }

  release(): void {
    this.#isHeld = false
  }

  appending(): void {
    this.#isAppending = true
  }

  appended(): void {
    this.#isAppending = false
    for (const resolve of this.#still.splice(0)) resolve()
  }

  /** `isBusy`: whether a group is under way now; `rested` says when none is. */
  idle(isBusy: boolean): Promise<void> {
    if (!isBusy) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  rested(): void {
    for (const resolve of this.#idle.splice(0)) resolve()
  }
}
