/**
 * Beside another, unmodified program: what it commits to its database becomes records of this node's log.
 *
 * Decides: when to look, when to try again. Leaves to others: the pin that keeps frames until they were taken (`sqlite`),
 * what is logged, pages or a base (`replication`).
 *
 * 1. One capture at a time, and the next look a moment after it.
 * 2. The other program holding the write lock is no error: what it committed stays in its log file until it is taken.
 * 3. A marker's view is frozen while nobody can commit: at any other time it would show what the log does not hold yet.
 * 4. A program that replaced its file, or took away the table of the position, ends the node: a restart begins with a base.
 */
import {
  UnderstudyError,
  isUnderstudyError,
  type Clock,
  type LogPoint,
  type Timer,
} from '@understudy/contracts'
import type { CommitPipeline } from '@understudy/replication'
import type { FrozenView, SqliteStorage } from '@understudy/sqlite'
import { SIDECAR_LOCK_MS } from './options.ts'

/** How long a marker or a snapshot tries again while the other program holds the lock. */
const BUSY_MS_MAX = 10_000
const BUSY_RETRY_MS = 20

export interface SidecarOptions {
  readonly storage: SqliteStorage
  readonly pipeline: CommitPipeline
  readonly clock: Clock
  readonly pollMs: number
  /** What the other program commits cannot be taken any more. */
  readonly failed: (error: UnderstudyError) => void
}

export class Sidecar {
  readonly #options: SidecarOptions
  #timer: Timer | undefined
  #taking: Promise<void> | undefined
  #closed = false
  #view: FrozenView | undefined

  constructor(options: SidecarOptions) {
    this.#options = options
    const { connection } = options.storage
    connection.internal(() => connection.database.exec(`pragma busy_timeout = ${SIDECAR_LOCK_MS}`))
    this.#schedule()
  }

  /** A marker, with what the other program committed before it. */
  async mark(): Promise<LogPoint> {
    const { pipeline, storage } = this.#options
    return this.whenFree(async () => {
      try {
        return await pipeline.capture(() => {
          this.#dropView()
          this.#view = storage.freeze()
        })
      } finally {
        this.#dropView()
      }
    })
  }

  /** The view that was frozen for the marker of which the pipeline tells now; whoever takes it closes it. */
  takeView(): FrozenView | undefined {
    const view = this.#view
    this.#view = undefined
    return view
  }

  /** Runs what needs the write lock, again while another program has it. */
  async whenFree<R>(run: () => Promise<R>): Promise<R> {
    const { clock } = this.#options
    const untilMs = clock.monotonic() + BUSY_MS_MAX
    for (;;) {
      try {
        return await run()
      } catch (error) {
        if (this.#closed || !isBusy(error) || clock.monotonic() >= untilMs) throw error
        await new Promise<void>((resolve) => {
          clock.schedule(BUSY_RETRY_MS, resolve)
        })
      }
    }
  }

  /** Looks no more; resolves when what is being taken is in the log. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#taking
    this.#dropView()
  }

  #schedule(): void {
    if (this.#closed) return
    const { clock, pollMs } = this.#options
    this.#timer = clock.schedule(pollMs, () => {
      this.#taking = this.#take().finally(() => this.#schedule())
    })
  }

  async #take(): Promise<void> {
    const { storage, pipeline } = this.#options
    try {
      if (storage.foreignChange()) await pipeline.capture()
    } catch (error) {
      if (isBusy(error)) return
      const isTold = this.#closed || pipeline.failure !== undefined
      this.#closed = true
      if (!isTold) this.#options.failed(cannotTake(error))
    }
  }

  #dropView(): void {
    this.takeView()
      ?.close()
      .catch(() => {})
  }
}

/** The lock was not to be had, or the turn did not come in time, or a base came in between: nothing happened. */
function isBusy(error: unknown): boolean {
  if (isUnderstudyError(error, 'TIMEOUT')) return true
  if (!isUnderstudyError(error, 'NOT_WRITTEN')) return false
  const reason = error.details['reason']
  return reason === 'deadline' || reason === 'base' || isUnderstudyError(error.cause, 'TIMEOUT')
}

function cannotTake(error: unknown): UnderstudyError {
  return new UnderstudyError(
    'STORAGE_FAILED',
    `What the other program commits cannot be taken any more: ${error instanceof Error ? error.message : String(error)} ` +
      'Its database is as it left it, and the log ends before. Start the node again: it begins with the whole database.',
    { cause: error },
  )
}

/** The refusal of a write to the database of another program. */
export function ownedElsewhere(sidecar: string): UnderstudyError {
  return new UnderstudyError(
    'WRITE_FORBIDDEN',
    `${sidecar} belongs to the program that writes it; this node only replicates it. Nothing was changed. Write through that program.`,
  )
}

/** The refusal of a format that records writes of this node: there are none. */
export function onlyPages(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    'Another program writes this database, so that only a format of pages sees what changes. The format stays as it was.',
  )
}
