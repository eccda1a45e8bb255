/**
 * Where a group is synced: on this thread, or on the thread pool.
 *
 * A lone writer waits less for an fdatasync on this thread than for a trip to the thread pool, and so does a group on a
 * disk that is fast at the moment. While the disk is slow the trip is nothing, and this thread has others to serve:
 * followers, snapshots, readers. Decides: from how long syncs took. Leaves to others: what follows.
 */
import type { Clock, Log } from '@understudy/contracts'
import type { PipelineLimits } from './limits.ts'
import type { Histogram } from './measures.ts'

/** Below any real sync, so that a limit below it never syncs a group on this thread. */
const SYNC_MS_MIN = 0.001

export class SyncPace {
  readonly #log: Log
  readonly #clock: Clock
  readonly #limits: PipelineLimits
  readonly #measured: Histogram | undefined
  /** How long a sync takes, smoothed. Unknown at first, which counts as slow. */
  #syncMs = Number.POSITIVE_INFINITY

  /** `measured`: gets how long each sync took, in milliseconds. */
  constructor(log: Log, clock: Clock, limits: PipelineLimits, measured?: Histogram) {
    this.#log = log
    this.#clock = clock
    this.#limits = limits
    this.#measured = measured
  }

  /** Syncs the log; `isLone`: for one write, while none waits. Tells how it went, in this turn or a later one. */
  sync(isLone: boolean, synced: () => void, failed: (error: unknown) => void): void {
    const startMs = this.#clock.monotonic()
    if (this.#isOffThread(isLone)) {
      this.#log.sync().then(() => {
        this.#note(this.#clock.monotonic() - startMs)
        synced()
      }, failed)
      return
    }
    try {
      this.#log.syncNow()
    } catch (error) {
      return failed(error)
    }
    this.#note(this.#clock.monotonic() - startMs)
    synced()
  }

  #isOffThread(isLone: boolean): boolean {
    const { loneSyncHereMsMax, syncHereMsMax } = this.#limits
    if (!isLone) return this.#syncMs >= syncHereMsMax
    // Nothing is known before the first sync: a lone write takes the disk for fast then.
    return Number.isFinite(this.#syncMs) && this.#syncMs >= loneSyncHereMsMax
  }

  /** One slow sync among fast ones is a checkpoint's; several in a row are the disk. Clocks are coarse: none takes no time. */
  #note(tookMs: number): void {
    this.#measured?.observe(tookMs)
    const ms = Math.max(tookMs, SYNC_MS_MIN)
    this.#syncMs = this.#syncMs === Number.POSITIVE_INFINITY ? ms : this.#syncMs * 0.9 + ms * 0.1
  }
}
