/**
 * A storage in memory that keeps, loses and refuses as SQLite with synchronous=NORMAL does: the reference of `Storage`.
 *
 * Decides: transactions, what a crash takes back, which injected failure hits.
 * Leaves to others: payloads (format.ts), bytes of snapshots (image.ts).
 *
 * 1. A crash loses any suffix of the commits since the last completed checkpoint, each whole and with its position.
 * 2. While a snapshot is open, `checkpoint` resolves with `undefined`.
 * 3. After a failed COMMIT, every call throws `STORAGE_FAILED`; only `crash` and `close` go on.
 */
import { createHash } from 'node:crypto'
import {
  ORIGIN,
  UnderstudyError,
  type Clock,
  type LogPoint,
  type Recorder,
  type SnapshotOptions,
  type SnapshotSource,
  type Storage,
} from '@understudy/contracts'
import { drawSpan, SeededRandom, type Span } from '../random.ts'
import { MemoryConnection, type MemoryChange } from './connection.ts'
import { decodeImage, encodeImage, MEMORY_PAGE_BYTES, type MemoryImage } from './image.ts'
import { MemoryTransaction } from './transaction.ts'

export { MemoryConnection, type MemoryChange } from './connection.ts'
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

interface Commit {
  readonly changes: readonly MemoryChange[]
  readonly appliedBefore: LogPoint
  readonly bytes: number
}

export class MemoryStorage implements Storage<MemoryConnection, MemoryTransaction> {
  readonly connection: MemoryConnection
  readonly #options: MemoryStorageOptions
  readonly #random: SeededRandom
  #applied: LogPoint
  #marked: LogPoint | undefined
  /** Since the last completed checkpoint, oldest first. */
  #commits: Commit[] = []
  #state: 'open' | 'failed' | 'closed' = 'open'
  #transactionLost = false
  #commitFails = false
  #foreignWrite = false
  #snapshots = new Set<MemorySnapshot>()
  #checkpointing: Promise<LogPoint | undefined> | undefined

  constructor(options: MemoryStorageOptions = {}, image: MemoryImage = { point: ORIGIN, entries: [] }) {
    this.#options = options
    this.#random = options.random ?? new SeededRandom(0)
    this.connection = new MemoryConnection(new Map(image.entries))
    this.#applied = image.point
  }

  /** The storage that a snapshot was taken of. Throws `FILE_MALFORMED`. */
  static fromImage(bytes: Uint8Array, options: MemoryStorageOptions = {}): MemoryStorage {
    return new MemoryStorage(options, decodeImage(bytes))
  }

  get applied(): LogPoint {
    return this.#applied
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

  mark(point: LogPoint): void {
    this.#checkTransaction()
    this.#checkNotLost()
    this.#marked = point
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
    const appliedBefore = this.#applied
    this.#applied = this.#marked ?? appliedBefore
    this.#marked = undefined
    const changes = this.connection.commit()
    this.#commits.push({ changes, appliedBefore, bytes: bytesOf(changes) })
  }

  rollback(): void {
    this.#transactionLost = false
    this.#marked = undefined
    if (this.connection.inTransaction) this.connection.rollback()
  }

  get uncheckpointedBytes(): number {
    let bytes = 0
    for (const commit of this.#commits) bytes += commit.bytes
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
    const point = this.#applied
    const image = encodeImage({ point, entries: this.connection.committedEntries() })
    const snapshot = new MemorySnapshot(point, image, () => this.#snapshots.delete(snapshot))
    this.#snapshots.add(snapshot)
    await this.#later(0)
    return snapshot
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.rollback()
    this.#state = 'closed'
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
    for (const commit of this.#commits.slice(kept).toReversed()) {
      this.connection.revert(commit.changes)
      this.#applied = commit.appliedBefore
    }
    this.#state = 'closed'
    const survivor: MemoryImage = { point: this.#applied, entries: this.connection.committedEntries() }
    return new MemoryStorage({ ...this.#options, random: this.#random, ...options }, survivor)
  }

  /**
   * SIGKILL: this storage is dead; returns the one that a restart finds. It has every commit, and those that waited for
   * a checkpoint still do: a power loss later can take them back.
   */
  kill(options: MemoryStorageOptions = {}): MemoryStorage {
    this.rollback()
    this.#state = 'closed'
    const survivor: MemoryImage = { point: this.#applied, entries: this.connection.committedEntries() }
    const next = new MemoryStorage({ ...this.#options, random: this.#random, ...options }, survivor)
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
    const hash = createHash('sha256')
    for (const [key, value] of this.connection.committedEntries())
      hash.update(`${key.length}:${key}${value.length}:${value}`)
    return hash.digest('hex')
  }

  async #runCheckpoint(): Promise<LogPoint | undefined> {
    const point = this.#applied
    const covered = this.#commits.length
    await this.#later(this.#options.checkpointMs ?? { min: 1, max: 20 })
    if (this.#snapshots.size > 0 || this.#state !== 'open') return undefined
    this.#commits.splice(0, covered)
    return point
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

class MemorySnapshot implements SnapshotSource {
  readonly point: LogPoint
  readonly pageBytes: number = MEMORY_PAGE_BYTES
  readonly totalBytes: number
  readonly #image: Uint8Array
  readonly #released: () => void
  #open = true

  constructor(point: LogPoint, image: Uint8Array, released: () => void) {
    this.point = point
    this.#image = image
    this.totalBytes = image.byteLength
    this.#released = released
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    if (!this.#open) throw new UnderstudyError('CLOSED', 'The snapshot was closed.')
    if (offset % this.pageBytes !== 0 || target.byteLength % this.pageBytes !== 0) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `Snapshots are read in multiples of ${this.pageBytes} bytes.`,
      )
    }
    const piece = this.#image.subarray(offset, offset + target.byteLength)
    target.set(piece)
    return piece.byteLength
  }

  async close(): Promise<void> {
    this.#open = false
    this.#released()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
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

function bytesOf(changes: readonly MemoryChange[]): number {
  let bytes = 0
  for (const { key, after } of changes) bytes += key.length + (after?.length ?? 0) + 16
  return bytes
}
