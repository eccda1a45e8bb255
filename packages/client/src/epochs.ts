/**
 * The highest epoch that a client has seen: its side of fencing.
 *
 * Decides: which answers come from below it and must not be used. Leaves to others: what happens to the call.
 *
 * 1. It never goes down. 2. Of two runs of one number the first seen counts, until a higher number ends the doubt.
 */
import { UnderstudyError, type EpochStamp } from '@understudy/contracts'
import type { Epochs } from './connect.ts'

export class SeenEpochs implements Epochs {
  #seen: EpochStamp | undefined
  readonly #watchers = new Set<(from: string) => void>()

  get seen(): EpochStamp | undefined {
    return this.#seen
  }

  /** Of a token, or of what the node `from` says. */
  raise(epoch: EpochStamp | undefined, from: string = ''): void {
    if (epoch === undefined || epoch.number <= (this.#seen?.number ?? 0)) return
    this.#seen = { number: epoch.number, runId: epoch.runId }
    for (const watcher of this.#watchers) watcher(from)
  }

  judge(node: string, epoch: EpochStamp | undefined): UnderstudyError | undefined {
    this.raise(epoch, node)
    const seen = this.#seen
    if (seen === undefined || epoch === undefined) return undefined
    if (epoch.number < seen.number)
      return new UnderstudyError(
        'EPOCH_STALE',
        `The answer of node ${node} comes from epoch ${epoch.number}; this client has seen ${seen.number}. It was not used: the node was replaced, or is behind.`,
        { epoch: epoch.number, seen: seen.number },
      )
    if (epoch.runId === seen.runId) return undefined
    return new UnderstudyError(
      'EPOCH_FORK',
      `The answer of node ${node} comes from epoch ${epoch.number} of run ${epoch.runId}; this client has seen run ${seen.runId} of it. It was not used: two nodes were promoted, decide which of them goes on.`,
      { epoch: epoch.number },
    )
  }

  /** Calls `watcher` for each higher epoch, with the node that told of it, until the function that it returns is called. */
  watch(watcher: (from: string) => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }
}
