/**
 * The pages of committed frames, to be walked once, in the order of their numbers.
 *
 * Decides: which frame holds a page last, how frames are read (in runs that lie together, into one buffer), where the
 * image before comes from. Leaves to others: which frames those are, and whether all of them are there.
 *
 * 1. Memory is 12 bytes for each frame, and one buffer, however large the transaction is.
 * 2. The image before is that of the cache; else that of an older frame of this life of the log; else that of the database
 *    file, unless a checkpoint may have begun to move the new frames there, which is looked at after the read.
 * 3. A page beyond the end of the database before has none.
 */
import type { CommittedPage, CommittedPages } from '@understudy/contracts'
import {
  lockPage,
  readWalFrameHeader,
  sameSalts,
  WAL_FRAME_HEADER_BYTES,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import { storageFailed } from './errors.ts'
import type { LogFile } from './log-file.ts'
import type { PageCache } from './page-cache.ts'

/** Frames are read in pieces of about this size. */
const BUFFER_BYTES = 256 * 1024

/** Memory of the storage's walks: only one goes on at a time. */
export interface CaptureMemory {
  frames: Uint8Array
  readonly previous: Uint8Array
}

/** What was before the frames; `undefined` when images before are not wanted. */
export interface Before {
  readonly cache: PageCache
  /** Last frame before, of the same life of the log; 0 when that life began after it. */
  readonly mxFrame: number
  readonly pageCount: number
}

export class CapturedPages implements CommittedPages {
  readonly pageCount: number
  readonly pages: Iterable<CommittedPage>
  readonly #log: LogFile
  readonly #header: WalIndexHeader
  readonly #first: number
  readonly #before: Before | undefined
  readonly #memory: CaptureMemory
  readonly #frameBytes: number
  /** Called when the last page was walked. */
  readonly #done: (() => void) | undefined
  /** Pages in order, and the frame of each. */
  readonly #pages: Float64Array
  readonly #frames: Float64Array
  #next = 0
  /** Frames that are in the buffer. */
  #bufferedFirst = 0
  #bufferedLast = -1

  constructor(
    log: LogFile,
    header: WalIndexHeader,
    first: number,
    before: Before | undefined,
    memory: CaptureMemory,
    done?: () => void,
  ) {
    this.#log = log
    this.#header = header
    this.#first = first
    this.#before = before
    this.#memory = memory
    this.#done = done
    this.#frameBytes = header.pageBytes + WAL_FRAME_HEADER_BYTES
    this.pageCount = header.pageCount
    const count = header.mxFrame - first + 1
    const bufferFrames = Math.max(1, Math.min(count, Math.floor(BUFFER_BYTES / this.#frameBytes)))
    if (memory.frames.length < bufferFrames * this.#frameBytes)
      memory.frames = new Uint8Array(bufferFrames * this.#frameBytes)
    // A small transaction is in the buffer as a whole: its page numbers come from there, not from the wal-index.
    if (count > 0 && count <= bufferFrames) this.#learn(count)
    const [pages, frames] = this.#lastFrames(count)
    this.#pages = pages
    this.#frames = frames
    this.pages = { [Symbol.iterator]: () => this.#walk() }
  }

  /** Pages that were not walked, for whoever must not believe a cached image of them any more. */
  *rest(): Generator<number> {
    for (; this.#next < this.#pages.length; this.#next++) yield this.#pages[this.#next] as number
  }

  *#walk(): Generator<CommittedPage> {
    while (this.#next < this.#pages.length) {
      const page = this.#pages[this.#next] as number
      const image = this.#image(this.#next)
      yield { page, image, previous: this.#previous(page) }
      this.#before?.cache.put(page, image)
      this.#next++
    }
    this.#done?.()
  }

  #learn(count: number): void {
    this.#read(this.#first, count)
    const pages: number[] = []
    for (let index = 0; index < count; index++)
      pages.push(readWalFrameHeader(this.#memory.frames, index * this.#frameBytes).page)
    this.#log.learn(this.#first, pages, this.#header)
  }

  /** Each page once with its last frame, in order. */
  #lastFrames(count: number): [Float64Array, Float64Array] {
    const lock = lockPage(this.#header.pageBytes)
    const all: Float64Array = new Float64Array(Math.max(0, count))
    // Sorted as one number each, page before frame: exact below 2^53, so for 2^21 frames of 2^32 pages.
    const factor = count <= 2 ** 21 ? 2 ** 21 : 2 ** 23
    for (let index = 0; index < count; index++)
      all[index] = this.#log.pageOf(this.#first + index, this.#header) * factor + index
    all.sort()
    const pages = new Float64Array(all.length)
    const frames = new Float64Array(all.length)
    let kept = 0
    for (const [place, value] of all.entries()) {
      const page = Math.floor(value / factor)
      const isLast = place + 1 === all.length || Math.floor((all[place + 1] as number) / factor) !== page
      if (!isLast || page > this.pageCount || page === lock) continue
      pages[kept] = page
      frames[kept] = this.#first + (value % factor)
      kept++
    }
    return [pages.subarray(0, kept), frames.subarray(0, kept)]
  }

  #image(place: number): Uint8Array {
    const frame = this.#frames[place] as number
    if (frame < this.#bufferedFirst || frame > this.#bufferedLast) this.#read(frame, this.#run(place))
    const offset = (frame - this.#bufferedFirst) * this.#frameBytes
    const header = readWalFrameHeader(this.#memory.frames, offset)
    if (header.page !== this.#pages[place] || !sameSalts(header.salts, this.#header.salts))
      throw storageFailed(
        'A committed frame cannot be read back',
        `frame ${frame} of the write-ahead log holds another page than its index says`,
      )
    const start = offset + WAL_FRAME_HEADER_BYTES
    return this.#memory.frames.subarray(start, start + this.#header.pageBytes)
  }

  /** How many of the next pages lie one after another in the log, as far as the buffer has room. */
  #run(place: number): number {
    const max = Math.floor(this.#memory.frames.length / this.#frameBytes)
    let count = 1
    while (
      count < max &&
      place + count < this.#frames.length &&
      this.#frames[place + count] === (this.#frames[place] as number) + count
    )
      count++
    return count
  }

  #read(frame: number, count: number): void {
    const bytes = this.#memory.frames.subarray(0, count * this.#frameBytes)
    this.#bufferedLast = -1
    if (this.#log.readFrames(bytes, frame, this.#header.pageBytes) < bytes.length)
      throw storageFailed('A committed frame cannot be read back', 'the write-ahead log is cut')
    this.#bufferedFirst = frame
    this.#bufferedLast = frame + count - 1
  }

  #previous(page: number): Uint8Array | undefined {
    const before = this.#before
    if (before === undefined || page > before.pageCount) return undefined
    const cached = before.cache.get(page)
    if (cached !== undefined) return cached
    const image = this.#memory.previous
    const frame = before.mxFrame === 0 ? 0 : this.#log.find(page, before.mxFrame, this.#header)
    if (frame > 0) {
      this.#log.readImage(image, frame)
      return image
    }
    this.#log.readDatabasePage(image, page)
    return this.#log.header().nBackfillAttempted < this.#first ? image : undefined
  }
}
