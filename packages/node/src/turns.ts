/**
 * What a follower does at the moment, and how it is brought to do something else.
 *
 * Decides: what a change interrupts, when it is in force. Leaves to others: what is done (follower-role).
 *
 * 1. A change is in force once the follower begins something that it chose after the change.
 * 2. A snapshot is interrupted by what needs another leader only: it takes long, and nothing of it is used before it is whole.
 */
export class Turns {
  #activity: { readonly kind: 'snapshot' | 'other'; readonly abort: AbortController } | undefined
  #waiting: (() => void)[] = []
  #isOver = false

  /** Something begins that was chosen in this very turn of the event loop. The signal says that something else is wanted. */
  enter(kind: 'snapshot' | 'other'): AbortSignal {
    const abort = new AbortController()
    this.#activity = { kind, abort }
    for (const resolve of this.#waiting.splice(0)) resolve()
    return abort.signal
  }

  /** What was begun is over; the next thing is not chosen yet. */
  leave(): void {
    this.#activity = undefined
  }

  /** Begins to stand still, until something else is wanted. */
  async rest(): Promise<void> {
    const signal = this.enter('other')
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    this.leave()
  }

  /** Something else is wanted; resolves once it is in force. `all`: a snapshot, too, is of no use any more. */
  change(interrupts: 'all' | 'stream'): Promise<void> {
    const activity = this.#activity
    if (this.#isOver || (activity?.kind === 'snapshot' && interrupts === 'stream')) return Promise.resolve()
    activity?.abort.abort()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** Nothing is begun any more. */
  end(): void {
    this.#isOver = true
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
