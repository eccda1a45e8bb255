/**
 * A storage in memory that keeps, loses and refuses as SQLite with synchronous=NORMAL does: the reference of `Storage`.
 *
 * Decides: transactions, what a crash takes back, which injected failure hits.
 * Leaves to others: payloads (format.ts), bytes of snapshots (image.ts).
 *
 * 1. A crash loses any suffix of the commits since the last completed checkpoint, each whole and with its position.
 * 2. While a snapshot is open, `checkpoint` resolves with `undefined`.
 * 3. After a failed COMMIT, every call throws `STORAGE_FAILED`; only `crash` and `close` go on.
 * 4. What `settle` says is not stored: after a crash, a kill and in a snapshot's image the stored position counts again.
 * 5. Stricter than a file can be: a physical storage refuses the COMMIT of changes that bring no note with them.
 */
import {
  ORIGIN,
  UnderstudyError,
  type Clock,
  type LogPoint,
  type OpenWrite,
  type Recorder,
  type SnapshotOptions,
  type SnapshotSource,
  type Storage,
} from '@understudy/contracts'
import { drawSpan, SeededRandom, type Span } from '../random.ts'
import { MemoryConnection, type MemoryCommit } from './connection.ts'
import { decodeImage, encodeImage, type MemoryImage } from './image.ts'
import { MemoryIds } from './ids.ts'
import { MemoryKeys } from './keys.ts'
import { MemorySnapshot } from './snapshot.ts'
import { MemoryTransaction } from './transaction.ts'

export { MemoryConnection, type MemoryChange, type MemoryCommit, type MemoryNote } from './connection.ts'
export { MEMORY_ID_PREFIX } from './ids.ts'
export { MEMORY_KEY_PREFIX } from './keys.ts'
export { memoryFormat, type MemoryFormatOptions } from './format.ts'
export { MemoryTransaction } from './transaction.ts'

export interface MemoryStorageOptions {
  /** Draws what a crash takes back. Default: seed 0. */
  readonly random?: SeededRandom
  /** Times checkpoints and snapshot reads. Without it they end on a later turn of the event loop. Use the node's view. */
  readonly clock?: Clock
  /** Milliseconds that a checkpoint takes. Default 1 to 20. */
  readonly checkpointMs?: Span
}

const EMPTY: MemoryImage = Object.freeze({
  note: Object.freeze({ point: ORIGIN, physical: false }),
  entries: [],
})

export class MemoryStorage implements Storage<MemoryConnection, MemoryTransaction> {
  readonly connection: MemoryConnection
  readonly keys: MemoryKeys
  readonly ids: MemoryIds
  readonly #options: MemoryStorageOptions
  readonly #random: SeededRandom
  /** What `settle` said since the note was stored. */
  #settled: LogPoint | undefined
  /** Since the last completed checkpoint, oldest first. */
  #commits: MemoryCommit[] = []
  /** A checkpoint of this life has taken what earlier ones left. */
  #isCheckpointed = false
  #state: 'open' | 'failed' | 'closed' = 'open'
  #transactionLost = false
  #commitFails = false
  #foreignWrite = false
  #snapshots = new Set<MemorySnapshot>()
  #checkpointing: Promise<LogPoint | undefined> | undefined
  #waiting: (() => void)[] = []

  constructor(options: MemoryStorageOptions = {}, image: MemoryImage = EMPTY, survived?: MemoryCommit) {
    this.#options = options
    this.#random = options.random ?? new SeededRandom(0)
    this.connection = new MemoryConnection(new Map(image.entries), image.note, image.preparedFor, survived)
    this.keys = new MemoryKeys(this.connection)
    this.ids = new MemoryIds(this.connection)
  }

  /** The storage that a snapshot was taken of. Throws `FILE_MALFORMED`. */
  static fromImage(bytes: Uint8Array, options: MemoryStorageOptions = {}): MemoryStorage {
    return new MemoryStorage(options, decodeImage(bytes))
  }

  get applied(): LogPoint {
    return this.#settled ?? this.connection.committedNote.point
  }

  get physical(): boolean {
    return this.connection.committedNote.physical
  }

  get ahead(): boolean {
    return this.physical && this.#settled === undefined
  }

  begin(): void {
    this.#checkOpen()
    if (this.connection.inTransaction)
      throw new UnderstudyError('INVALID_ARGUMENT', 'A transaction is open already.')
    if (this.#foreignWrite) {
      throw new UnderstudyError(
        'FOREIGN_WRITE',
        'Something else changed the data since the last commit; nothing was begun. Find it, then restore this node from another.',
      )
    }
    this.connection.begin()
  }

  write<R>(
    body: (tx: MemoryTransaction) => R,
    recorder: Recorder,
    _options: { readonly alone?: boolean } = {},
  ): R {
    this.#checkTransaction()
    this.#checkNotLost()
    const savepoint = this.connection.journal.length
    const tx = new MemoryTransaction(this.connection, () => this.#loseTransaction())
    recorder.beginWrite()
    try {
      const result = body(tx)
      // A body may have caught the error of the statement that ended the transaction.
      this.#checkNotLost()
      if (isPromise(result)) throw asyncError(result)
      recorder.endWrite()
      return result
    } catch (error) {
      this.#checkNotLost(error)
      this.connection.undoTo(savepoint)
      recorder.abandonWrite()
      throw error
    } finally {
      tx.end()
    }
  }

  openWrite(recorder: Recorder, used: () => void): OpenWrite<MemoryTransaction> {
    this.#checkTransaction()
    this.#checkNotLost()
    const savepoint = this.connection.journal.length
    const tx = new MemoryTransaction(this.connection, () => this.#loseTransaction(), used)
    recorder.beginWrite()
    const undo = (reason: unknown): void => {
      tx.end(reason)
      if (this.#transactionLost) return
      this.connection.undoTo(savepoint)
      recorder.abandonWrite()
    }
    return {
      tx,
      end: (last) => {
        try {
          last(tx)
          this.#checkNotLost()
          recorder.endWrite()
        } catch (error) {
          undo(undefined)
          throw error
        }
        tx.end()
      },
      abandon: undo,
    }
  }

  mark(point: LogPoint): void {
    this.#checkTransaction()
    this.#checkNotLost()
    this.connection.setNote({ point, physical: false })
  }

  markBefore(point: LogPoint): void {
    this.#checkTransaction()
    this.#checkNotLost()
    this.connection.setNote({ point, physical: true })
  }

  settle(point: LogPoint): void {
    this.#checkOpen()
    if (this.connection.inTransaction || !this.physical) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'settle is for a physical storage outside of a transaction; the position was kept. Use mark within one.',
      )
    }
    this.#settled = point
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  commit(): void {
    this.#checkTransaction()
    this.#checkNotLost()
    if (this.#commitFails) {
      this.#state = 'failed'
      throw new UnderstudyError(
        'STORAGE_FAILED',
        'COMMIT failed (injected); the storage takes no further calls. Open it anew and redo from the log.',
      )
    }
    const { isNoted, journal } = this.connection
    if (this.physical && !isNoted && journal.length > 0) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'A physical storage takes no changes without the note of a physical transaction; the transaction stays open. Roll it back.',
      )
    }
    if (isNoted) this.#settled = undefined
    this.#commits.push(this.connection.commit())
  }

  rollback(): void {
    this.#transactionLost = false
    if (this.connection.inTransaction) this.connection.rollback()
  }

  get uncheckpointedBytes(): number {
    let bytes = 0
    for (const commit of this.#commits) bytes += bytesOf(commit)
    return bytes
  }

  /** Concurrent calls share one checkpoint. */
  async checkpoint(): Promise<LogPoint | undefined> {
    this.#checkOpen()
    this.#checkpointing ??= this.#runCheckpoint().finally(() => {
      this.#checkpointing = undefined
    })
    return this.#checkpointing
  }

  async snapshot(_options: SnapshotOptions = {}): Promise<SnapshotSource> {
    this.#checkOpen()
    while (this.ahead) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      this.#checkOpen()
    }
    const image = encodeImage(this.#image())
    const snapshot = new MemorySnapshot(this.applied, image, () => this.#snapshots.delete(snapshot))
    this.#snapshots.add(snapshot)
    await this.#later(0)
    return snapshot
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.rollback()
    this.#state = 'closed'
    for (const resolve of this.#waiting.splice(0)) resolve()
    for (const snapshot of this.#snapshots) await snapshot.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // For tests: crashes, failures, comparison.

  /**
   * Power loss or a killed machine: this storage is dead; returns the one that a restart finds. `kept`: commits since
   * the last checkpoint that survive; drawn when not given.
   */
  crash(options: { readonly kept?: number } & MemoryStorageOptions = {}): MemoryStorage {
    this.rollback()
    const kept = options.kept ?? this.#random.below(this.#commits.length + 1)
    const survived = this.#newest(kept)
    for (const commit of this.#commits.slice(kept).toReversed()) this.connection.revert(commit)
    this.#state = 'closed'
    return new MemoryStorage({ ...this.#options, random: this.#random, ...options }, this.#image(), survived)
  }

  /**
   * SIGKILL: this storage is dead; returns the one that a restart finds. It has every commit, and those that waited for
   * a checkpoint still do: a power loss later can take them back.
   */
  kill(options: MemoryStorageOptions = {}): MemoryStorage {
    this.rollback()
    this.#state = 'closed'
    const survived = this.#newest(this.#commits.length)
    const given = { ...this.#options, random: this.#random, ...options }
    const next = new MemoryStorage(given, this.#image(), survived)
    next.#commits = this.#commits
    return next
  }

  /** The next COMMIT throws, and the storage is failed. */
  failCommit(): void {
    this.#commitFails = true
  }

  /** Changes a value as another program would that opened the database file. */
  foreignWrite(key: string, value: string | undefined): void {
    this.connection.overwrite(key, value)
    this.#foreignWrite = true
  }

  /** A value as of the last commit. */
  get(key: string): string | undefined {
    return this.connection.committed(key)
  }

  /** Hexadecimal SHA-256 of all committed data, without the position: equal for equal data. */
  digest(): string {
    return this.connection.digest()
  }

  async #runCheckpoint(): Promise<LogPoint | undefined> {
    const { point } = this.connection.committedNote
    const covered = this.#commits.length
    await this.#later(this.#options.checkpointMs ?? { min: 1, max: 20 })
    if (this.#snapshots.size > 0 || this.#state !== 'open') return undefined
    this.#commits.splice(0, covered)
    this.#isCheckpointed = true
    return point
  }

  /**
   * What a write-ahead log still shows of the first `kept` commits after a restart: the newest one, with changes of some
   * before it, as its pages cannot be told from theirs.
   */
  #newest(kept: number): MemoryCommit | undefined {
    const newest = this.#commits[kept - 1]
    if (newest === undefined) return this.#isCheckpointed ? undefined : this.connection.survived
    const from = Math.max(0, kept - 1 - this.#random.below(3))
    const changes = this.#commits.slice(from, kept).flatMap((commit) => commit.changes)
    return { ...newest, changes }
  }

  #image(): MemoryImage {
    const { committedNote: note, committedPreparedFor: preparedFor } = this.connection
    return { note, preparedFor, entries: this.connection.committedEntries() }
  }

  #later(span: Span): Promise<void> {
    return new Promise((resolve) => {
      const { clock } = this.#options
      if (clock === undefined) setImmediate(resolve)
      else clock.schedule(drawSpan(this.#random, span), resolve)
    })
  }

  #loseTransaction(): void {
    this.connection.undoTo(0)
    this.#transactionLost = true
  }

  #checkNotLost(cause?: unknown): void {
    if (!this.#transactionLost) return
    throw new UnderstudyError(
      'TRANSACTION_LOST',
      'The engine ended the transaction; none of its writes happened. Roll back and fail the group.',
      { cause },
    )
  }

  #checkTransaction(): void {
    this.#checkOpen()
    if (!this.connection.inTransaction)
      throw new UnderstudyError('INVALID_ARGUMENT', 'No transaction is open.')
  }

  #checkOpen(): void {
    if (this.#state === 'closed') throw new UnderstudyError('CLOSED', 'The storage was closed.')
    if (this.#state === 'failed')
      throw new UnderstudyError(
        'STORAGE_FAILED',
        'An earlier COMMIT failed; the storage takes no further calls. Open it anew.',
      )
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** The promise's own rejection must not end the process: the write is refused whatever becomes of it. */
function asyncError(promise: PromiseLike<unknown>): UnderstudyError {
  promise.then(undefined, () => undefined)
  return new UnderstudyError(
    'WRITE_ASYNC',
    'The write returned a promise, so it was rolled back. Await before the write, not in it.',
  )
}

function bytesOf({ changes }: MemoryCommit): number {
  let bytes = 0
  for (const { key, after } of changes) bytes += key.length + (after?.length ?? 0) + 16
  return bytes
}
