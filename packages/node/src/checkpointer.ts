/**
 * When the database is checkpointed, what that lets go of, and that a log which failed in between is noticed. Decides: a checkpoint begins when enough bytes wait for it,
 * one at a time. A finished one moves the node's own slot to the position that is durable in the database now, and
 * then deletes the segments that nobody needs any more: never the other way round, because what is above that
 * position exists in the log alone. After one that failed there is no other: the disk is not to be trusted.
 */
import {
  LOCAL_SLOT,
  UnderstudyError,
  type Clock,
  type Log,
  type LogPoint,
  type Lsn,
  type Timer,
} from '@understudy/contracts'

export interface CheckpointedStorage {
  readonly applied: { readonly lsn: number }
  readonly uncheckpointedBytes: number
  readonly rewindsTo?: LogPoint | undefined
  checkpoint(): Promise<LogPoint | undefined>
}

export interface CheckpointerOptions {
  readonly storage: CheckpointedStorage
  readonly log: Log
  readonly clock: Clock
  /** Bytes that start a checkpoint. */
  readonly bytes: number
  /** Bytes of the log that are kept for the storage's way back. Default 0. */
  readonly rewindBytesMax?: number
  /** How often the bytes are looked at. */
  readonly intervalMs: number
  /** The log was cut as far as its slots allow. */
  readonly collected?: () => void
  /** Before segments are deleted: what reads them has its turn. Must not reject. */
  readonly beforeCollect?: () => Promise<void>
  /** A checkpoint failed: the node must stop trusting its disk. */
  readonly failed: (error: UnderstudyError) => void
}

export class Checkpointer implements AsyncDisposable {
  readonly #options: CheckpointerOptions
  /** What must be kept of a log that is not needed up to there for the database. */
  keepsFrom: (lsn: Lsn) => Lsn = (lsn) => lsn
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #closed = false
  #hasFailed = false

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#schedule()
  }

  /** One checkpoint now, or the one under way. */
  async run(): Promise<void> {
    this.#running ??= this.#checkpoint().finally(() => {
      this.#running = undefined
    })
    await this.#running
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #schedule(): void {
    if (this.#closed || this.#hasFailed) return
    this.#timer = this.#options.clock.schedule(this.#options.intervalMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    // A slot may have met it, or a reset: without a write nobody else would notice, and every follower be refused.
    const { failure } = this.#options.log
    if (failure !== undefined) this.#fail(failure)
    else if (this.#isDue()) await this.run()
    this.#schedule()
  }

  #isDue(): boolean {
    try {
      return this.#options.storage.uncheckpointedBytes >= this.#options.bytes
    } catch (error) {
      this.#fail(error)
      return false
    }
  }

  async #checkpoint(): Promise<void> {
    const { storage, log } = this.#options
    try {
      const point = await storage.checkpoint()
      if (point === undefined || this.#closed || log.failure !== undefined) return
      // What it was of was undone meanwhile: the log goes on with other records at these numbers.
      if (point.lsn > storage.applied.lsn) return
      log.slots.advance(LOCAL_SLOT, Math.min(this.keepsFrom(point.lsn), this.#rewindsFrom() ?? point.lsn))
      await this.#options.beforeCollect?.()
      if (this.#closed || log.failure !== undefined) return
      log.collect()
      this.#options.collected?.()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** The way back to an older point of the database leads on through the log, which is kept for it within limits. */
  #rewindsFrom(): Lsn | undefined {
    const { storage, log, rewindBytesMax = 0 } = this.#options
    const to = storage.rewindsTo?.lsn
    return to !== undefined && log.bytesAfter(to) <= rewindBytesMax ? to : undefined
  }

  #fail(error: unknown): void {
    if (this.#closed || this.#hasFailed) return
    this.#hasFailed = true
    this.#options.failed(
      error instanceof UnderstudyError
        ? error
        : new UnderstudyError(
            'STORAGE_FAILED',
            'A checkpoint failed; the node stopped writing. Restart it: what was acknowledged is in its log.',
            { cause: error },
          ),
    )
  }
}
