/**
 * Where a follower syncs records whose acks its leader waits for: on this thread, or on the thread pool.
 *
 * A leader whose rule needs this ack does nothing until it comes, so that every step on its way counts: a trip to the
 * thread pool and back costs about as much as a sync of a fast disk, and while it is under way this thread may begin to
 * apply a batch. A slow disk must not block the thread. Decides: by how long syncs on this thread took. Leaves to others:
 * everything that nobody waits for, which is synced on the thread pool while this thread applies.
 *
 * Validity conditions:
 * 1. Only syncs on this thread are measured: what else this thread does in between would count as the disk.
 * 2. The disk is taken for slow until one is measured. While it is, every `PROBE_EVERY`th sync is done here to see whether it still is.
 */
import type { Clock, Log, Lsn } from '@understudy/contracts'

const PROBE_EVERY = 32
/** One slow sync among fast ones is a checkpoint's; several in a row are the disk. */
const NEWEST_WEIGHT = 0.1

export class AwaitedSync {
  readonly #log: Log
  readonly #clock: Clock
  readonly #hereMsMax: number
  #smoothedMs = Number.POSITIVE_INFINITY
  #awayInARow = 0

  constructor(log: Log, clock: Clock, hereMsMax: number) {
    this.#log = log
    this.#clock = clock
    this.#hereMsMax = hereMsMax
  }

  /** Syncs the log here and returns its durable end; `undefined` when it is to be synced on the thread pool. Throws what the log throws. */
  syncHere(): Lsn | undefined {
    const isProbe = this.#smoothedMs >= this.#hereMsMax
    if (isProbe && ++this.#awayInARow < PROBE_EVERY) return undefined
    this.#awayInARow = 0
    const startMs = this.#clock.monotonic()
    this.#log.syncNow()
    const tookMs = this.#clock.monotonic() - startMs
    this.#smoothedMs = isProbe ? tookMs : this.#smoothedMs * (1 - NEWEST_WEIGHT) + tookMs * NEWEST_WEIGHT
    return this.#log.durable
  }
}
