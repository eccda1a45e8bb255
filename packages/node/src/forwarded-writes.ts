/**
 * Who wrote through other nodes: what a leader counts of the writes that followers send on.
 *
 * Decides: what is kept, which is a number for each pair of node and author, of the pairs that wrote last.
 */
import type { Forwarded } from '@understudy/protocol'

export interface ForwardedCount extends Forwarded {
  /** Since the node was started; those that failed count, too. */
  readonly writes: number
}

/** Pairs that are kept: whoever may send writes on says the names. */
const PAIRS_MAX = 256

export class ForwardedWrites {
  readonly #counts = new Map<string, ForwardedCount>()

  count({ by, author }: Forwarded): void {
    const pair = JSON.stringify([by, author])
    const writes = (this.#counts.get(pair)?.writes ?? 0) + 1
    // The one that wrote last stands last.
    this.#counts.delete(pair)
    this.#counts.set(pair, { by, author, writes })
    if (this.#counts.size <= PAIRS_MAX) return
    const [oldest] = this.#counts.keys()
    this.#counts.delete(oldest as string)
  }

  list(): readonly ForwardedCount[] {
    return [...this.#counts.values()]
  }
}
