/** One waiter, any number of reasons to wake it: the waiter looks again at what it waits for each time it is rung. */
export class Doorbell {
  #wake: (() => void) | undefined
  #rung = false

  ring(): void {
    const wake = this.#wake
    this.#wake = undefined
    if (wake === undefined) this.#rung = true
    else wake()
  }

  /** Resolves at the next ring, at once when it rang since the last wait. */
  wait(): Promise<void> {
    if (this.#rung) {
      this.#rung = false
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
