/**
 * The pages of the database beneath SQL: taken after a COMMIT on a leader, replaced on a follower.
 *
 * Decides: which frames a call of `committed` covers, whether it can be told, what a page is in the open transaction.
 * Leaves to others: the write lock and COMMIT itself (`writer.ts`), the bytes (`log-file.ts`, `staging.ts`, `captured.ts`).
 *
 * 1. `#mark` is the state of the log up to which everything was taken, or was put there by us; the cache holds images as
 *    of the mark, and is used for nothing else.
 * 2. The change counter of the wal-index counts commits. When the log began anew since the mark, what it held is known to
 *    be taken only if as many transactions were committed since as the new log holds.
 * 3. A touch leaves every page as it was: the mark moves over it.
 * 4. Of a shared database all that others commit is taken with the next call, their frames being kept until then
 *    (`shared-log.ts`). What they did before it was opened is not known: the first call says so.
 * 5. A transaction holds either SQL or staged pages: SQLite would write its frames over ours.
 */
import type { CommittedPages, SqlitePages } from '@understudy/contracts'
import {
  lockPage,
  readWalFrameHeader,
  sameSalts,
  WAL_FRAME_HEADER_BYTES,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import { CapturedPages, type Before, type CaptureMemory } from './captured.ts'
import type { Descriptors } from './descriptors.ts'
import { invalidArgument } from './errors.ts'
import { LogFile } from './log-file.ts'
import { PageCache } from './page-cache.ts'
import { Staging, type StagingMemory } from './staging.ts'

export interface PagesOptions {
  readonly pageCacheBytes: number
  readonly stagedBytesMax: number
  /** Another program writes the database too. */
  readonly shared: boolean
}

/** What the pages must know of the writer's transaction. */
export interface TransactionState {
  readonly inTransaction: boolean
  /** A write callback ran, or a position was stored, in the open transaction. */
  readonly hasSql: boolean
  /** `pragma page_count`. */
  pageCount(): number
  positionPage(): number
}

const MAX_PAGE = 0xffff_fffe

export class Pages implements SqlitePages {
  readonly pageBytes: number
  readonly #log: LogFile
  readonly #cache: PageCache
  readonly #options: PagesOptions
  readonly #transaction: TransactionState
  readonly #captureMemory: CaptureMemory
  readonly #stagingMemory: StagingMemory = { frames: new Uint8Array(0) }
  readonly #scratch: Uint8Array
  readonly #frameHeader = new Uint8Array(WAL_FRAME_HEADER_BYTES)
  #mark: WalIndexHeader
  #walk: CapturedPages | undefined
  #staging: Staging | undefined
  /** The header as we wrote it last, while it is the newest change of the log that is ours. */
  #published: Uint8Array | undefined
  /** What another program did before the mark is unknown. */
  #lost: boolean
  /** Called when every frame up to the mark was taken. */
  onTaken: (() => void) | undefined

  constructor(descriptors: Descriptors, options: PagesOptions, transaction: TransactionState) {
    this.#log = new LogFile(descriptors)
    this.#options = options
    this.#transaction = transaction
    this.#mark = this.#log.header()
    this.#lost = options.shared
    this.pageBytes = this.#mark.pageBytes
    this.#cache = new PageCache(this.pageBytes, options.pageCacheBytes)
    this.#captureMemory = { frames: new Uint8Array(0), previous: new Uint8Array(this.pageBytes) }
    this.#scratch = new Uint8Array(this.pageBytes)
  }

  get pageCount(): number {
    if (this.#staging !== undefined) return this.#staging.pageCount
    return this.#transaction.inTransaction ? this.#transaction.pageCount() : this.#log.header().pageCount
  }

  /** Whether everything that was committed was taken. */
  get isTaken(): boolean {
    return this.#isMark(this.#log.header())
  }

  /** Whether pages are staged in the open transaction. */
  get isStaging(): boolean {
    return this.#staging !== undefined
  }

  committed(): CommittedPages | undefined {
    this.#endWalk()
    const header = this.#log.header()
    const mark = this.#mark
    const sameLife = sameSalts(header.salts, mark.salts)
    this.#mark = header
    const commits = commitsBetween(mark, header)
    const inNewLog = sameLife || commits === 1 || commits === this.#commitsInLog(header)
    if (this.#lost || !inNewLog) {
      this.#lost = false
      this.#cache.clear()
      this.onTaken?.()
      return undefined
    }
    const before: Before = {
      cache: this.#cache,
      mxFrame: sameLife ? mark.mxFrame : 0,
      pageCount: mark.pageCount,
    }
    return this.#capture(header, before.mxFrame + 1, before)
  }

  recover(): CommittedPages | undefined {
    // Of a shared database nobody knows how many transactions the log lacks.
    if (this.#options.shared) return undefined
    this.#endWalk()
    const header = this.#log.header()
    const first = this.#newestTransaction(header)
    return first === undefined ? undefined : this.#capture(header, first, undefined)
  }

  read(page: number): Uint8Array | undefined {
    this.#endWalk()
    checkPage(page)
    const staging = this.#staging
    if (staging === undefined) return this.#committedImage(page, this.#log.header())
    if (page > staging.pageCount) return undefined
    return staging.read(page, this.#scratch) ?? this.#committedImage(page, staging.header)
  }

  stage(page: number, image: Uint8Array): void {
    checkPage(page)
    if (page === lockPage(this.pageBytes))
      throw invalidArgument(`Page ${page} is the one at 1 GiB, which SQLite never uses; nothing was staged.`)
    if (image.length !== this.pageBytes)
      throw invalidArgument(
        `An image of ${image.length} bytes was given for a page of ${this.pageBytes}; nothing was staged.`,
      )
    this.#begin('stage').stage(page, image)
  }

  resize(pageCount: number): void {
    checkPage(pageCount)
    this.#begin('resize').pageCount = pageCount
  }

  /** The image that is staged for `page`; a view, valid until the next call. */
  stagedImage(page: number): Uint8Array | undefined {
    return this.#staging?.read(page, this.#scratch)
  }

  /** The transaction was rolled back. */
  abandon(): void {
    this.#staging = undefined
  }

  /** Throws unless what is staged makes a whole database. */
  checkComplete(): void {
    const page = this.#staging?.missing(lockPage(this.pageBytes))
    if (page !== undefined)
      throw invalidArgument(
        `The database would grow beyond page ${page}, which was not staged. Nothing was committed; roll back.`,
      )
  }

  /**
   * Makes what is staged visible; says whether that may have changed the schema. The writer holds the write lock, and must
   * end its transaction by COMMIT (see `writer.ts`).
   */
  publish(): boolean {
    const staging = this.#staging
    if (staging === undefined || staging.isEmpty) return false
    this.#endWalk()
    if (!staging.hasCarrier) {
      const image = staging.read(1, this.#scratch) ?? this.#committedImage(1, staging.header)
      staging.stage(1, image as Uint8Array)
    }
    const schemaChanged = this.#changesSchema(staging)
    const atMark = this.#isMark(staging.header)
    this.#published = staging.publish()
    if (!atMark) this.#cache.clear()
    staging.forEach(
      (page, image) => this.#cache.put(page, image),
      (page) => this.#cache.delete(page),
    )
    return schemaChanged
  }

  /** After the COMMIT of what was published: whether the log is as we left it. */
  endPublish(): boolean {
    const staging = this.#staging
    this.#staging = undefined
    if (staging === undefined || staging.isEmpty) return true
    this.#mark = this.#log.header()
    return this.isPublished()
  }

  /** Whether the newest commit of the log is the one that we published last. */
  isPublished(): boolean {
    const published = this.#published
    if (published === undefined) return false
    const now = this.#log.descriptors.walIndexCopy()
    return now.every((byte, index) => byte === published[index])
  }

  /** Runs a touch: a transaction that leaves every page as it was. */
  aroundTouch(touch: () => void): void {
    this.#endWalk()
    const atMark = this.#isMark(this.#log.header())
    touch()
    const header = this.#log.header()
    // Of a shared database others may have committed just before, or since.
    if (atMark && commitsBetween(this.#mark, header) === 1) this.#mark = header
  }

  #changesSchema(staging: Staging): boolean {
    const image = staging.read(1, this.#scratch)
    if (image === undefined) return false
    const cookie = readCookie(image)
    return readCookie(this.#committedImage(1, staging.header)) !== cookie
  }

  #begin(call: string): Staging {
    if (this.#staging !== undefined) return this.#staging
    if (this.#options.shared)
      throw invalidArgument(
        `${call}: another program writes this database too, so that it cannot be a follower's. Nothing was done.`,
      )
    if (!this.#transaction.inTransaction)
      throw invalidArgument(`${call}: no transaction is open; call begin first. Nothing was done.`)
    if (this.#transaction.hasSql)
      throw invalidArgument(
        `${call}: SQL has written in this transaction, which can hold either SQL or pages. Nothing was done; roll back.`,
      )
    const header = this.#log.prepared(this.#log.header())
    const staging = new Staging(this.#log, header, this.#stagingMemory, this.#options.stagedBytesMax)
    this.#staging = staging
    return staging
  }

  #capture(header: WalIndexHeader, first: number, before: Before | undefined): CapturedPages {
    const done = before === undefined ? undefined : (): void => this.#endWalk()
    const walk = new CapturedPages(this.#log, header, first, before, this.#captureMemory, done)
    if (before !== undefined) this.#walk = walk
    return walk
  }

  /** Images of pages that a walk left out are of the past. */
  #endWalk(): void {
    const walk = this.#walk
    if (walk === undefined) return
    this.#walk = undefined
    for (const page of walk.rest()) this.#cache.delete(page)
    this.onTaken?.()
  }

  #isMark(header: WalIndexHeader): boolean {
    if (commitsBetween(this.#mark, header) !== 0) return false
    return sameSalts(header.salts, this.#mark.salts)
      ? header.mxFrame === this.#mark.mxFrame
      : header.mxFrame === 0
  }

  /** Transactions that the log holds: those since it began anew. */
  #commitsInLog(header: WalIndexHeader): number {
    let count = 0
    for (let frame = 1; frame <= header.mxFrame; frame++) if (this.#isCommit(frame)) count++
    return count
  }

  #committedImage(page: number, header: WalIndexHeader): Uint8Array | undefined {
    if (page > header.pageCount) return undefined
    const cacheIsOfNow = this.#isMark(header)
    const cached = cacheIsOfNow ? this.#cache.get(page) : undefined
    if (cached !== undefined) return cached
    // Frames of a log that is moved as a whole may be overwritten by another program.
    const moved = header.nBackfill === header.mxFrame
    const frame = moved ? 0 : this.#log.find(page, header.mxFrame, header)
    if (frame > 0) this.#log.readImage(this.#scratch, frame)
    else this.#log.readDatabasePage(this.#scratch, page)
    if (cacheIsOfNow) this.#cache.put(page, this.#scratch)
    return this.#scratch
  }

  /** First frame of the newest transaction that is no touch; those after it are touches. */
  #newestTransaction(header: WalIndexHeader): number | undefined {
    const positionPage = this.#transaction.positionPage()
    let first = header.mxFrame
    for (let last = header.mxFrame; last > 0; last = first - 1) {
      for (first = last; first > 1 && !this.#isCommit(first - 1); first--);
      const isTouch = first === last && this.#log.pageOf(first, header) === positionPage
      if (!isTouch) return first
    }
    return undefined
  }

  #isCommit(frame: number): boolean {
    this.#log.readFrames(this.#frameHeader, frame, this.pageBytes)
    return readWalFrameHeader(this.#frameHeader).commitPages !== 0
  }
}

function checkPage(page: number): void {
  if (!Number.isSafeInteger(page) || page < 1 || page > MAX_PAGE)
    throw invalidArgument(`${page} is no page number: pages count from 1. Nothing was done.`)
}

/** The schema cookie in an image of page 1: every change of the schema changes it. */
function readCookie(image: Uint8Array | undefined): number {
  return image === undefined ? 0 : new DataView(image.buffer, image.byteOffset).getUint32(40)
}

/** The counter has 32 bits, and starts over. */
function commitsBetween(before: WalIndexHeader, after: WalIndexHeader): number {
  return (after.change - before.change) >>> 0
}
