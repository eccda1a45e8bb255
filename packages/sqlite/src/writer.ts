/**
 * The transaction of a group on the one writing connection.
 *
 * Decides: when a write is rolled back alone, when the group is lost, when someone else has written.
 * Leaves to others: the recorder's payloads, the log, the order of groups, checkpoints.
 *
 * 1. A write ends with its savepoint released or rolled back; the callback never has the connection after that.
 * 2. COMMIT cannot fail for a reason that a callback made: deferred constraints are checked before the release, the
 *    guard refuses transaction statements, a transaction that SQLite ended is noticed before the next statement.
 * 3. What someone else committed since our last commit is noticed after BEGIN IMMEDIATE, when nobody can add to it.
 * 4. The position row changes in the same transaction as the data.
 * 5. A transaction of staged pages ends with COMMIT, not ROLLBACK, although SQLite has nothing to write in it: a rollback
 *    would take over the header of the log as it stands, and leave the pages that this connection has cached in use.
 */
import type { StatementSync } from 'node:sqlite'
import {
  UnderstudyError,
  type LogPoint,
  type OpenWrite,
  type Recorder,
  type WriteTransaction,
} from '@understudy/contracts'
import type { Connection } from './connection.ts'
import {
  foreignWrite,
  invalidArgument,
  isFailedSync,
  isSqlite,
  lockTimeout,
  SQLITE_CODES,
  storageFailed,
} from './errors.ts'
import { OWN_TABLE_PREFIX } from './guard.ts'
import { GuardedWriteTransaction } from './open-write.ts'
import type { Pages, TransactionState } from './pages.ts'
import {
  ensurePosition,
  positionUnsuitable,
  POSITION_TABLE,
  positionPage,
  readPositionImage,
  TOUCH,
  type StoredPosition,
} from './position.ts'
import { SqliteWriteTransaction, transactionLost } from './transactions.ts'

const SAVEPOINT = `${OWN_TABLE_PREFIX}write`
const NO_CHANGES = new Uint8Array(0)
/** SQLITE_CHANGESET_OMIT: the violation is counted here, and rolled back by us. */
const OMIT = 0

export class Writer implements TransactionState {
  /** Set when the storage must not write any more. */
  failure: UnderstudyError | undefined
  readonly connection: Connection
  readonly #path: string
  readonly #shared: boolean
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #rollback: StatementSync
  readonly #savepoint: StatementSync
  readonly #release: StatementSync
  readonly #undo: StatementSync
  readonly #mark: StatementSync
  readonly #dataVersion: StatementSync
  readonly #pageCount: StatementSync
  readonly #stored: StatementSync
  readonly #touch: readonly StatementSync[]
  #pages: Pages | undefined
  #knownVersion: unknown
  /** As in the row. */
  #storedPoint: LogPoint
  #applied: LogPoint
  #physical: boolean
  #ahead: boolean
  #marked: StoredPosition | undefined
  #writing = false
  #hasSql = false
  #byPages = false
  #positionPage: { readonly page: number; readonly generation: number } | undefined
  /** Whether the schema has deferred constraints, in schema generation `#deferredAsOf`. */
  #deferred = false
  #deferredAsOf = -1

  /** `shared`: another program may write too. */
  constructor(path: string, connection: Connection, shared: boolean) {
    this.#path = path
    this.#shared = shared
    this.connection = connection
    const { database } = connection
    this.#begin = database.prepare('begin immediate')
    this.#commit = database.prepare('commit')
    this.#rollback = database.prepare('rollback')
    this.#savepoint = database.prepare(`savepoint ${SAVEPOINT}`)
    this.#release = database.prepare(`release ${SAVEPOINT}`)
    this.#undo = database.prepare(`rollback to ${SAVEPOINT}`)
    const { point, ahead } = ensurePosition(connection)
    this.#storedPoint = point
    this.#applied = point
    this.#physical = ahead
    this.#ahead = ahead
    this.#mark = database.prepare(`update ${POSITION_TABLE} set epoch = ?, lsn = ?, crc = ?, ahead = ?`)
    this.#touch = TOUCH.map((sql) => database.prepare(sql))
    this.#stored = database.prepare(`select epoch, lsn, crc, ahead from ${POSITION_TABLE}`)
    this.#stored.setReturnArrays(true)
    this.#pageCount = database.prepare('pragma page_count')
    this.#pageCount.setReturnArrays(true)
    this.#dataVersion = database.prepare('pragma data_version')
    this.#dataVersion.setReturnArrays(true)
    this.#knownVersion = this.#version()
  }

  get applied(): LogPoint {
    return this.#applied
  }

  /** What the row says, which is what a restart would find. */
  get stored(): LogPoint {
    return this.#storedPoint
  }

  get physical(): boolean {
    return this.#physical
  }

  get ahead(): boolean {
    return this.#ahead
  }

  /** Whether the newest transaction was one of staged pages. */
  get byPages(): boolean {
    return this.#byPages
  }

  get inTransaction(): boolean {
    return this.connection.database.isTransaction
  }

  get hasSql(): boolean {
    return this.#hasSql
  }

  pageCount(): number {
    return (this.#pageCount.get() as unknown as number[])[0] as number
  }

  positionPage(): number {
    const { generation } = this.connection.guard
    if (this.#positionPage?.generation !== generation)
      this.#positionPage = { page: positionPage(this.connection), generation }
    return this.#positionPage.page
  }

  /** Before the first transaction: the pages of the same database. */
  usePages(pages: Pages): void {
    this.#pages = pages
    this.connection.usePages(pages)
  }

  begin(): void {
    this.#checkFailure()
    if (this.inTransaction)
      throw invalidArgument('begin: the transaction of a group is open already; nothing was done.')
    this.#marked = undefined
    this.#hasSql = false
    try {
      this.#begin.run()
    } catch (error) {
      if (!isSqlite(error, SQLITE_CODES.BUSY)) throw error
      throw this.#shared
        ? lockTimeout(this.#path, error)
        : foreignWrite(this.#path, 'holds the write lock of', error)
    }
    const version = this.#version()
    if (version === this.#knownVersion) return
    if (this.#shared) {
      this.#knownVersion = version
      // The other program may have changed the schema: the query makes SQLite read it.
      this.#queryPosition()
      this.connection.guard.generation++
      return
    }
    if (this.#pages?.isPublished() === true) {
      // To SQLite what we appended beneath it was someone else's. Nobody can add to it now.
      this.#knownVersion = version
      return
    }
    this.#rollback.run()
    throw foreignWrite(this.#path, 'changed', undefined)
  }

  /** Writes a frame that changes nothing, so that the log has one, or begins anew when it can. */
  touch(): void {
    const touch = (): void => {
      this.begin()
      try {
        for (const statement of this.#touch) statement.run()
        this.#commit.run()
      } catch (error) {
        this.failure = storageFailed(`COMMIT in ${this.#path} failed`, error)
        if (this.inTransaction) this.#rollback.run()
        throw this.failure
      }
    }
    if (this.#pages === undefined) touch()
    else this.#pages.aroundTouch(touch)
  }

  write<R>(body: (tx: WriteTransaction) => R, recorder: Recorder, alone: boolean): R {
    this.#checkFailure()
    if (this.#writing)
      throw invalidArgument('write: a write callback cannot start another write; nothing was done.')
    this.#checkInTransaction('write')
    this.#useSql('write')
    const { guard } = this.connection
    const tx = new SqliteWriteTransaction(this.connection)
    this.#writing = true
    if (!alone) this.#savepoint.run()
    try {
      recorder.beginWrite()
      const result = guard.enforce(() => body(tx))
      tx.end()
      if (tx.lost !== undefined) throw tx.lost
      if (isThenable(result)) throw asyncWrite(result)
      this.#checkDeferred()
      recorder.endWrite()
      if (!alone) this.#release.run()
      return result
    } catch (error) {
      throw this.#abandon(tx, recorder, alone, error)
    } finally {
      tx.end()
      this.#writing = false
    }
  }

  /** Nobody shares the group, so that it needs no savepoint: whoever abandons it rolls the group back. */
  openWrite(recorder: Recorder, used: () => void): OpenWrite<WriteTransaction> {
    this.#checkFailure()
    if (this.#writing) throw invalidArgument('openWrite: a write is open already; nothing was done.')
    this.#checkInTransaction('openWrite')
    this.#useSql('openWrite')
    const inner = new SqliteWriteTransaction(this.connection)
    const tx = new GuardedWriteTransaction(inner, this.connection.guard, used)
    this.#writing = true
    const over = (): void => {
      inner.end()
      this.#writing = false
    }
    recorder.beginWrite()
    return {
      tx,
      end: (last) => {
        try {
          this.#checkFailure()
          last(tx)
          inner.end()
          if (inner.lost !== undefined) throw inner.lost
          this.#checkDeferred()
          recorder.endWrite()
        } catch (error) {
          throw this.#abandon(inner, recorder, true, error)
        } finally {
          over()
        }
      },
      abandon: (reason) => {
        tx.abandon(reason)
        try {
          this.#abandon(inner, recorder, true, reason)
        } finally {
          over()
        }
      },
    }
  }

  mark(point: LogPoint): void {
    this.#note('mark', point, false)
  }

  markBefore(point: LogPoint): void {
    this.#note('markBefore', point, true)
  }

  settle(point: LogPoint): void {
    if (this.inTransaction)
      throw invalidArgument('settle: a transaction is open; commit or roll back first. Nothing was done.')
    if (!this.#physical)
      throw invalidArgument(
        'settle: the database is not physical, so that its position is the stored one. Nothing was done.',
      )
    this.#applied = { epoch: point.epoch, lsn: point.lsn, crc: point.crc }
    this.#ahead = false
  }

  commit(): void {
    this.#checkFailure()
    this.#checkInTransaction('commit')
    const pages = this.#pages
    if (pages?.isStaging === true) return this.#commitPages(pages)
    try {
      this.#commit.run()
    } catch (error) {
      this.#fail(error)
    }
    this.#byPages = false
    if (this.#marked !== undefined) this.#stand(this.#marked)
    this.#marked = undefined
    this.connection.guard.settled()
  }

  rollback(): void {
    this.#marked = undefined
    this.#pages?.abandon()
    if (!this.inTransaction) return
    this.#rollback.run()
    this.connection.guard.undone()
    this.connection.guard.settled()
  }

  #note(call: string, point: LogPoint, ahead: boolean): void {
    this.#checkInTransaction(call)
    this.#useSql(call)
    const { changes } = this.#mark.run(point.epoch, point.lsn, point.crc, ahead ? 1 : 0)
    // Data without its position would be applied twice after a restart.
    if (changes !== 1) {
      this.failure = positionUnsuitable(this.#path, `it has ${changes} rows`)
      throw this.failure
    }
    this.#marked = { point: { epoch: point.epoch, lsn: point.lsn, crc: point.crc }, ahead }
  }

  #commitPages(pages: Pages): void {
    pages.checkComplete()
    const image = pages.stagedImage(this.positionPage())
    let stored = image === undefined ? undefined : readPositionImage(image)
    let isOurs: boolean
    let schemaChanged: boolean
    try {
      schemaChanged = pages.publish()
      this.#commit.run()
      isOurs = pages.endPublish()
    } catch (error) {
      pages.abandon()
      return this.#fail(error)
    }
    if (!isOurs)
      this.#fail(
        new Error(
          'its write-ahead log is not as it was left: SQL was written among pages, or another program wrote',
        ),
      )
    this.#byPages = true
    try {
      // With a new schema the row may be in another page, and a query makes SQLite read the schema.
      if (schemaChanged || (image !== undefined && stored === undefined)) stored = this.#queryPosition()
    } catch (error) {
      this.#fail(error)
    }
    this.#stand(stored ?? { point: this.#storedPoint, ahead: this.#physical })
    // What was analysed before that is of the old schema.
    if (schemaChanged) this.connection.guard.generation++
  }

  #queryPosition(): StoredPosition {
    const [epoch, lsn, crc, ahead] = this.#stored.get() as unknown as number[]
    return { point: { epoch: Number(epoch), lsn: Number(lsn), crc: Number(crc) }, ahead: ahead === 1 }
  }

  #stand({ point, ahead }: StoredPosition): void {
    this.#storedPoint = point
    this.#applied = point
    this.#physical = ahead
    this.#ahead = ahead
  }

  #fail(error: unknown): never {
    this.failure = storageFailed(`COMMIT in ${this.#path} failed`, error)
    if (this.inTransaction) this.#rollback.run()
    throw this.failure
  }

  #useSql(call: string): void {
    if (this.#pages?.isStaging === true)
      throw invalidArgument(
        `${call}: pages are staged in this transaction, which can hold either SQL or pages. Nothing was done.`,
      )
    this.#hasSql = true
  }

  /** Undoes one write; returns the error that its caller must see. */
  #abandon(tx: SqliteWriteTransaction, recorder: Recorder, alone: boolean, error: unknown): unknown {
    tx.end()
    const lost = !this.inTransaction
    if (!lost && alone) {
      // The group is this write: the transaction begins anew, so that the caller finds it open in either case.
      this.#rollback.run()
      this.#reopen()
    } else if (!lost) {
      this.#undo.run()
      this.#release.run()
    }
    const { database, guard, statements } = this.connection
    guard.undone()
    if (statements.deferralAsked) {
      statements.deferralAsked = false
      database.exec('pragma defer_foreign_keys = 0')
    }
    recorder.abandonWrite()
    if (isFailedSync(error)) this.failure = storageFailed(`A sync of ${this.#path} failed`, error)
    return lost ? (tx.lost ?? transactionLost(error)) : error
  }

  #reopen(): void {
    try {
      this.#begin.run()
    } catch {
      // Someone else took the lock in between. The write is undone all the same; what the caller does next, other than
      // to roll back, is refused because no transaction is open.
    }
  }

  /**
   * Fails the write when a deferred constraint would fail the COMMIT. Applying an empty changeset reports whether the
   * connection counts open violations, and clears the count: whoever sees one must roll back.
   */
  #checkDeferred(): void {
    if (!this.#canDefer()) return
    // Applying a changeset ends with PRAGMA defer_foreign_keys = 0, so that the next write of the group is strict again.
    this.connection.statements.deferralAsked = false
    let violated = false
    this.connection.internal(() =>
      this.connection.database.applyChangeset(NO_CHANGES, {
        onConflict: () => {
          violated = true
          return OMIT
        },
      }),
    )
    if (!violated) return
    throw new UnderstudyError(
      'NOT_WRITTEN',
      'The write leaves a row that refers to a row which does not exist: a deferred FOREIGN KEY constraint failed. ' +
        'It was rolled back and left no trace. Write the missing row in the same write, or leave out the one that refers to it.',
      { constraint: 'FOREIGN KEY' },
    )
  }

  #canDefer(): boolean {
    const { guard, statements } = this.connection
    if (statements.deferralAsked) return true
    const { generation } = guard
    if (generation !== this.#deferredAsOf) {
      // Only a schema with the keyword can defer; a comment with the word costs two microseconds for each write.
      const found = this.connection.internal(() =>
        this.connection.database
          .prepare("select 1 from sqlite_schema where sql like '%deferred%' limit 1")
          .get(),
      )
      this.#deferred = found !== undefined
      this.#deferredAsOf = generation
    }
    return this.#deferred
  }

  #version(): unknown {
    return (this.#dataVersion.get() as unknown as unknown[])[0]
  }

  #checkFailure(): void {
    if (this.failure !== undefined) throw this.failure
  }

  /** Outside a transaction, SQLite would give each statement one of its own. */
  #checkInTransaction(call: string): void {
    if (!this.inTransaction)
      throw invalidArgument(`${call}: no transaction is open; call begin first. Nothing was done.`)
  }
}

function isThenable(value: unknown): boolean {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  )
}

function asyncWrite(promise: unknown): UnderstudyError {
  // Its body goes on and will fail at its next statement; that failure must not end the process.
  void Promise.resolve(promise).catch(() => {})
  return new UnderstudyError(
    'WRITE_ASYNC',
    'The write callback returned a promise. It was rolled back and left no trace. Make the callback synchronous: await what it needs before the write.',
  )
}
