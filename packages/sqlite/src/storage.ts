/**
 * The storage of one node: a SQLite database with one writer, a pool of readers, a checkpointing thread.
 *
 * Decides: how the parts live and end together, when the log file begins anew. Leaves to others: the transaction of a
 * group (`writer.ts`), reads (`readers.ts`), images (`snapshot.ts`), the exclusive right to the directory (`lock.ts`).
 *
 * 1. Every connection of the process is closed before the descriptors are, the writer's last (`descriptors.ts`).
 * 2. Checkpoints are ours alone. While a snapshot is open none moves a page; commits become durable all the same.
 * 3. A log file over `walBytesRestart` is finished on the writer's own thread, between two groups, because under steady
 *    writes the checkpointing thread never catches the last frames, and only a fully moved log begins anew.
 * 4. With a way back to an older point (`rewind.ts`), frames above it stay in the log file until it moves on; commits
 *    become durable there.
 * 5. After a failed COMMIT or sync nothing is written any more.
 */
import type {
  IdTable,
  KeyTable,
  LogPoint,
  Lsn,
  OpenWrite,
  Recorder,
  SnapshotOptions,
  SnapshotSource,
  SqliteConnection,
  Storage,
  UnderstudyError,
  WriteTransaction,
} from '@understudy/contracts'
import { isUnderstudyError } from '@understudy/contracts'
import { sameSalts, WAL_FRAME_HEADER_BYTES, type WalIndexHeader } from '@understudy/sqlite-files'
import { Checkpointer } from './checkpointer.ts'
import { checkClosed, forgetClosed, rememberClosed } from './closed-state.ts'
import { openPin, openReader, openWriter, type Connection, type ConnectionOptions } from './connection.ts'
import { Descriptors } from './descriptors.ts'
import { closedError, heldOverload, invalidArgument, storageFailed } from './errors.ts'
import { FrozenView } from './frozen.ts'
import { Ids } from './ids.ts'
import { Keys } from './keys.ts'
import { withDefaults, type Settings, type StorageOptions } from './options.ts'
import { Pages } from './pages.ts'
import { ReaderPool } from './readers.ts'
import { removeRewindFile } from './rewind-file.ts'
import { Rewind } from './rewind.ts'
import { SharedLog } from './shared-log.ts'
import { Snapshot } from './snapshot.ts'
import type { SqliteRead } from './transactions.ts'
import { checkSqliteVersion } from './version.ts'
import { Writer } from './writer.ts'

/** Uncheckpointed bytes that a snapshot may hold back, unless its taker says otherwise. */
const HELD_BYTES_MAX = 1024 ** 3
/** Frames that the writer's thread may move at once: about a millisecond of copying. */
const INLINE_FRAMES_MAX = 512
/** Rounds of the checkpointing thread before the writer's thread takes what is left. */
const ROUNDS_MAX = 4

/** Which connection reads. */
export interface ReadKind {
  readonly foreign?: boolean
  readonly held?: boolean
}

/** The storage on `node:sqlite`. Made by `openStorage`. */
export class SqliteStorage implements Storage<SqliteConnection> {
  readonly #options: Settings
  readonly #connectionOptions: ConnectionOptions
  readonly #writer: Writer
  readonly #descriptors: Descriptors
  readonly #pages: Pages
  readonly #shared: SharedLog | undefined
  readonly #rewind: Rewind | undefined
  /** Where the log ended when it was made durable last. */
  #synced: WalIndexHeader | undefined
  readonly #keys: Keys
  readonly #ids: Ids
  readonly #readers: ReaderPool
  /** For SQL of others. */
  readonly #foreignReaders: ReaderPool
  /** For what may take long of it. */
  readonly #heldReaders: ReaderPool
  readonly #checkpointer: Checkpointer
  #checkpointing: Promise<LogPoint | undefined> | undefined
  readonly #snapshots = new Set<Snapshot>()
  readonly #frozen = new Set<FrozenView>()
  /** Each tries to begin a snapshot, and says whether it is over. */
  readonly #waiting = new Set<() => boolean>()
  #finishDue = false
  #closing: Promise<void> | undefined

  constructor(options: StorageOptions) {
    checkSqliteVersion(process.versions['sqlite'])
    this.#options = withDefaults(options)
    this.#connectionOptions = { ...this.#options, setup: options.setup }
    const { shared } = this.#options
    if (shared) forgetClosed(options.path)
    else checkClosed(options.path)
    const connection = openWriter(this.#connectionOptions, this.#options)
    let descriptors: Descriptors | undefined
    try {
      this.#writer = new Writer(options.path, connection, shared)
      this.#descriptors = descriptors = new Descriptors(options.path)
      // Until the log has a frame, the wal-index of a database that was closed in order says neither its page size nor its
      // page count. Of a database that is ahead it must not begin anew here: its newest transaction may be needed.
      if (!this.#writer.ahead || !this.#descriptors.hasFrames) this.#writer.touch()
      this.#pages = new Pages(this.#descriptors, this.#options, this.#writer)
      this.#writer.usePages(this.#pages)
      if (shared) this.#shared = this.#openSharedLog()
      else if (options.rewindSafe !== undefined) this.#rewind = this.#openRewind(options.rewindSafe)
      else removeRewindFile(options.path)
    } catch (error) {
      connection.close()
      void descriptors?.close()
      throw isUnderstudyError(error) ? error : storageFailed(`Cannot open ${options.path}`, error)
    }
    this.#keys = new Keys(connection)
    this.#ids = new Ids(connection)
    const { readers, heldReaders, trustSchema } = this.#options
    this.#readers = new ReaderPool(() => openReader(this.#connectionOptions), readers)
    const openForeign = (): Connection =>
      openReader(this.#connectionOptions, trustSchema ? 'limited' : 'foreign')
    this.#foreignReaders = new ReaderPool(openForeign, readers)
    this.#heldReaders = new ReaderPool(openForeign, heldReaders)
    this.#checkpointer = new Checkpointer(options.path, this.#descriptors.database)
  }

  get connection(): SqliteConnection {
    return this.#writer.connection
  }

  get keys(): KeyTable {
    return this.#keys
  }

  get ids(): IdTable {
    return this.#ids
  }

  get applied(): LogPoint {
    return this.#writer.applied
  }

  get physical(): boolean {
    return this.#writer.physical
  }

  get ahead(): boolean {
    return this.#writer.ahead
  }

  /** Why the storage does not write any more; `undefined` while it does. */
  get failure(): UnderstudyError | undefined {
    return this.#writer.failure
  }

  /**
   * Of a `shared` database: whether anybody has committed since the pages were taken last; cheap enough to ask every few
   * milliseconds. Throws `STORAGE_FAILED` when the files were replaced. False of any other.
   */
  foreignChange(): boolean {
    this.#checkOpen()
    if (this.#writer.failure !== undefined) throw this.#writer.failure
    return this.#shared?.foreignChange() ?? false
  }

  begin(): void {
    this.#checkOpen()
    this.#shared?.checkFiles()
    if (this.#finishDue) this.#finishLog()
    this.#writer.begin()
  }

  write<R>(body: (tx: WriteTransaction) => R, recorder: Recorder, options?: { readonly alone?: boolean }): R {
    this.#checkOpen()
    return this.#writer.write(body, recorder, options?.alone === true)
  }

  openWrite(recorder: Recorder, used: () => void): OpenWrite<WriteTransaction> {
    this.#checkOpen()
    return this.#writer.openWrite(recorder, used)
  }

  mark(point: LogPoint): void {
    this.#checkOpen()
    this.#writer.mark(point)
  }

  markBefore(point: LogPoint): void {
    this.#checkOpen()
    this.#writer.markBefore(point)
  }

  settle(point: LogPoint): void {
    this.#checkOpen()
    this.#writer.settle(point)
    this.#rewind?.settled()
    this.#wake()
  }

  commit(): void {
    this.#checkOpen()
    this.#writer.commit()
    this.#wake()
  }

  rollback(): void {
    this.#checkOpen()
    this.#writer.rollback()
  }

  /**
   * Runs `body` in one read transaction; it may be asynchronous. The database stays as it was at its first statement.
   * `foreign`: the SQL is somebody else's. It runs on connections with tight limits whose schema may call no function.
   * `held`: foreign, and it may take long: it has a connection of its own, of which there are `heldReaders`, and is `OVERLOADED`
   * when none is free, so that other reads never wait for it.
   */
  read<R>(body: (tx: SqliteRead) => R | Promise<R>, options: ReadKind = {}): Promise<Awaited<R>> {
    if (options.held === true) {
      const { heldReaders } = this.#options
      if (this.#heldReaders.busy >= heldReaders) return Promise.reject(heldOverload(heldReaders))
      return this.#heldReaders.read(body)
    }
    return (options.foreign === true ? this.#foreignReaders : this.#readers).read(body)
  }

  /** Bytes of frames that a checkpoint has work with: not in the database file yet, or with a way back not durable. One small read. */
  get uncheckpointedBytes(): number {
    this.#checkOpen()
    if (this.#rewind === undefined || this.#synced === undefined) return this.#descriptors.uncheckpointedBytes
    const { mxFrame, nBackfill, pageBytes, salts } = this.#descriptors.walIndex()
    const durable = sameSalts(salts, this.#synced.salts) ? this.#synced.mxFrame : 0
    return (mxFrame - Math.max(nBackfill, durable)) * (pageBytes + WAL_FRAME_HEADER_BYTES)
  }

  get rewindsTo(): LogPoint | undefined {
    return this.#rewind?.point
  }

  rewind(): boolean {
    this.#checkOpen()
    if (this.#rewind?.run() !== true) return false
    this.#readers.renew()
    this.#foreignReaders.renew()
    return true
  }

  async checkpoint(): Promise<LogPoint | undefined> {
    this.#checkOpen()
    this.#checkpointing ??= this.#checkpoint().finally(() => {
      this.#checkpointing = undefined
      this.#wake()
    })
    return await this.#checkpointing
  }

  async snapshot(options?: SnapshotOptions): Promise<SnapshotSource> {
    const heldBytesMax = options?.heldBytesMax ?? HELD_BYTES_MAX
    if (!(heldBytesMax >= 0)) throw invalidArgument(`heldBytesMax is ${heldBytesMax}; give 0 or more.`)
    this.#checkOpen()
    return this.#takeSnapshot(heldBytesMax) ?? (await this.#waitForSnapshot(heldBytesMax))
  }

  /** The database as of now, for as long as it is open, on a connection of its own. Synchronous, so that it can be taken at an exact position. */
  freeze(): FrozenView {
    this.#checkOpen()
    const point = this.#writer.physical ? this.#writer.applied : undefined
    const view = new FrozenView(openReader(this.#connectionOptions), point, (ended) =>
      this.#frozen.delete(ended),
    )
    this.#frozen.add(view)
    return view
  }

  /** Waits for reads and a checkpoint under way, then closes every connection, then the descriptors. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    // Only now those that wait find that it closes.
    this.#wake()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #openRewind(safe: () => Lsn | undefined): Rewind {
    return new Rewind({
      path: this.#options.path,
      descriptors: this.#descriptors,
      writer: this.#writer,
      pages: this.#pages,
      open: () => openReader({ ...this.#connectionOptions, setup: undefined }),
      safe,
      bytesMax: this.#options.rewindBytesMax,
    })
  }

  #openSharedLog(): SharedLog {
    const shared = new SharedLog(this.#options.path, this.#writer, this.#pages, this.#descriptors, () =>
      openPin(this.#connectionOptions),
    )
    this.#pages.onTaken = () => {
      shared.renew()
      // Under steady writes of the other program this is when most likely nothing is left to take.
      if (this.#finishDue && !this.#writer.inTransaction) this.#finishLog()
    }
    return shared
  }

  /** `undefined` while the storage is ahead, a checkpoint runs, or another program has committed what was not taken. */
  #takeSnapshot(heldBytesMax: number): Snapshot | undefined {
    // The database file must not move under the image, nor nBackfill between its two looks at the files.
    if (this.#checkpointing !== undefined || this.#writer.ahead) return undefined
    if (this.#shared === undefined) return this.#newSnapshot(heldBytesMax)
    // The image must be as of the position: nobody may commit between the look and the beginning.
    const inTransaction = this.#writer.inTransaction
    if (!inTransaction) this.#writer.begin()
    try {
      return this.#pages.isTaken ? this.#newSnapshot(heldBytesMax) : undefined
    } finally {
      if (!inTransaction) this.#writer.rollback()
    }
  }

  #newSnapshot(heldBytesMax: number): Snapshot {
    const connection = openReader({ ...this.#connectionOptions, setup: undefined })
    try {
      const point = this.#writer.physical ? this.#writer.applied : undefined
      const snapshot = new Snapshot(connection, this.#descriptors, heldBytesMax, point, (ended) =>
        this.#snapshots.delete(ended),
      )
      this.#snapshots.add(snapshot)
      return snapshot
    } catch (error) {
      connection.close()
      throw error
    }
  }

  #waitForSnapshot(heldBytesMax: number): Promise<Snapshot> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(() => {
        if (this.#closing !== undefined) {
          reject(closedError('The storage was closed before the snapshot could begin.'))
          return true
        }
        try {
          const snapshot = this.#takeSnapshot(heldBytesMax)
          if (snapshot !== undefined) resolve(snapshot)
          return snapshot !== undefined
        } catch (error) {
          reject(error)
          return true
        }
      })
    })
  }

  /** Lets those that wait for a snapshot try, at once: under steady writes the storage is ahead again a moment later. */
  #wake(): void {
    for (const attempt of this.#waiting) if (attempt()) this.#waiting.delete(attempt)
  }

  async #checkpoint(): Promise<LogPoint | undefined> {
    if (this.#writer.failure !== undefined) throw this.#writer.failure
    // Read before the checkpoint begins: what is committed meanwhile may or may not be durable.
    const point = this.#writer.stored
    try {
      const { walBytesRestart } = this.#options
      const large = this.#logFileBytes() >= walBytesRestart
      await this.#rewind?.beforeCheckpoint(this.#logFileBytes(), walBytesRestart)
      const held = this.#endSnapshotsOverCap() > 0
      const synced = this.#descriptors.walIndex()
      let complete = await this.#checkpointer.run(held, large)
      if (large && !held) {
        for (let round = 1; round < ROUNDS_MAX && this.#remainingFrames() > INLINE_FRAMES_MAX; round++)
          complete = await this.#checkpointer.run(false, true)
        // Of a shared database the last frames are moved when nobody else can add to them; with a way back, when it let go of them.
        this.#finishDue = complete || this.#shared !== undefined || this.#rewind !== undefined
        if (this.#finishDue && !this.#writer.inTransaction) this.#finishLog()
      }
      this.#synced = synced
    } catch (error) {
      this.#writer.failure ??= isUnderstudyError(error) ? error : storageFailed('A checkpoint failed', error)
      throw this.#writer.failure
    }
    return point
  }

  /** Moves the last frames on this thread, so that the next transaction starts the log file anew. Between groups only. */
  #finishLog(): void {
    this.#finishDue = false
    const { mxFrame, nBackfill } = this.#descriptors.walIndex()
    // The longer the log file has grown, the more the writer moves itself: a writer that outruns the thread is slowed down.
    const framesMax = (INLINE_FRAMES_MAX * this.#logFileBytes()) / this.#options.walBytesRestart
    if (this.#snapshots.size > 0 || mxFrame - nBackfill > framesMax) return
    if (this.#shared !== undefined) {
      this.#finishDue = !this.#shared.restart(framesMax)
      return
    }
    const { database } = this.#writer.connection
    try {
      this.#rewind?.letGo(framesMax)
      this.#writer.connection.internal(() => database.exec('pragma wal_checkpoint(passive)'))
      this.#rewind?.holdAgain()
    } catch (error) {
      this.#writer.failure = storageFailed('A checkpoint failed', error)
      throw this.#writer.failure
    }
    // SQLite begins the log anew when it writes itself, not when pages are appended beneath it.
    if (this.#writer.byPages && mxFrame > 1 && this.#remainingFrames() === 0) this.#writer.touch()
  }

  /** Ends what holds back too much; returns how many snapshots are left. */
  #endSnapshotsOverCap(): number {
    if (this.#snapshots.size === 0) return 0
    const held = this.#descriptors.uncheckpointedBytes
    for (const snapshot of this.#snapshots) snapshot.endWhenOver(held)
    return this.#snapshots.size
  }

  #remainingFrames(): number {
    const { mxFrame, nBackfill } = this.#descriptors.walIndex()
    return mxFrame - nBackfill
  }

  /** Bytes of the log file that are in use. */
  #logFileBytes(): number {
    const { mxFrame, pageBytes } = this.#descriptors.walIndex()
    return mxFrame * (pageBytes + WAL_FRAME_HEADER_BYTES)
  }

  async #close(): Promise<void> {
    if (this.#writer.inTransaction) this.#writer.rollback()
    for (const snapshot of this.#snapshots) await snapshot.close()
    for (const view of this.#frozen) await view.close()
    await this.#readers.close()
    await this.#foreignReaders.close()
    // Whoever holds one may do so for long.
    await this.#heldReaders.end()
    await this.#checkpointing?.catch(() => {})
    await this.#checkpointer.close()
    this.#shared?.close()
    this.#rewind?.close()
    this.#writer.connection.close()
    await this.#descriptors.close()
    if (this.#writer.failure === undefined && !this.#options.shared) rememberClosed(this.#options.path)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closedError('The storage is closed.')
  }
}

/** Opens the database at `path` as a node's storage. Throws `UNSUPPORTED_RUNTIME`, `READ_ONLY_DISK`, `DISK_FULL`, `DATABASE_UNSUITABLE`, `FOREIGN_WRITE`, `STORAGE_FAILED`, `TIMEOUT`, `INVALID_ARGUMENT`. */
export function openStorage(options: StorageOptions): SqliteStorage {
  return new SqliteStorage(options)
}
