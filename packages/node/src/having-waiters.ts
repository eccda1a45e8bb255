/** Waiting until a follower has something: for a leader that is to hand over to it. */
import type { Lsn } from '@understudy/contracts'

interface Having {
  readonly durable: Lsn
  readonly applied: Lsn | undefined
}

interface Waiter {
  readonly name: string
  readonly lsn: Lsn
  readonly what: 'durable' | 'applied'
  readonly resolve: () => void
}

export class HavingWaiters {
  #waiters: Waiter[] = []

  wait(
    name: string,
    lsn: Lsn,
    what: 'durable' | 'applied',
    known: readonly (Having & { readonly name: string })[],
  ): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ name, lsn, what, resolve })
      this.look(
        name,
        known.find((follower) => follower.name === name),
      )
    })
  }

  look(name: string, having: Having | undefined): void {
    if (having === undefined || this.#waiters.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => {
      const isThere = waiter.name === name && (having[waiter.what] ?? 0) >= waiter.lsn
      if (isThere) waiter.resolve()
      return !isThere
    })
  }
}
