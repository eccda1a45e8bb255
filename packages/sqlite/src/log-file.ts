/**
 * The write-ahead log beneath the writer: where a page's last image is, and how frames of ours are appended.
 *
 * Decides: which bytes are read and written, and in which order. Leaves to others: the write lock, which the writer must
 * hold while `append` runs; what the frames hold.
 *
 * 1. The blocks of the wal-index are kept in memory as of one frame of one life of the log, and read again when somebody
 *    else, SQLite included, has added frames.
 * 2. Frames are written whole before their page numbers, these before the header: whoever dies in between leaves nothing
 *    that counts.
 */
import {
  advanceWalIndexHeader,
  sameSalts,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  WAL_INDEX_BLOCK_BYTES,
  WalIndexBlock,
  walFrameOffset,
  walIndexBlockOf,
  writeWalHeader,
  writeWalIndexHeader,
  type Checksum,
  type Salts,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import type { Descriptors } from './descriptors.ts'

export class LogFile {
  readonly descriptors: Descriptors
  readonly #blocks: WalIndexBlock[] = []
  #salts: Salts = { first: 0, second: 0 }
  /** Frames up to here are in `#blocks`. */
  #known = 0

  constructor(descriptors: Descriptors) {
    this.descriptors = descriptors
  }

  header(): WalIndexHeader {
    return this.descriptors.walIndex()
  }

  /** The last frame at or below `upTo` that holds `page`, in the life of `header`; 0 for none. */
  find(page: number, upTo: number, header: WalIndexHeader): number {
    this.#load(header)
    for (let block = walIndexBlockOf(Math.max(1, upTo)); block >= 0; block--) {
      const frame = this.#blocks[block]?.find(page, upTo) ?? 0
      if (frame > 0) return frame
    }
    return 0
  }

  /** The page that `frame` holds. */
  pageOf(frame: number, header: WalIndexHeader): number {
    this.#load(header)
    return this.#blocks[walIndexBlockOf(frame)]?.page(frame) ?? 0
  }

  /** Frames that SQLite added right after those known, so that they need not be read from the wal-index. */
  learn(firstFrame: number, pages: readonly number[], header: WalIndexHeader): void {
    if (!sameSalts(this.#salts, header.salts)) this.#forget(header.salts)
    if (firstFrame !== this.#known + 1) return
    for (const [index, page] of pages.entries())
      this.#block(firstFrame + index).insert(firstFrame + index, page)
    this.#known += pages.length
  }

  /** Reads the images of `target`'s size from frame `frame` on, headers between them included. */
  readFrames(target: Uint8Array, frame: number, pageBytes: number): number {
    return this.descriptors.readWalSync(target, walFrameOffset(frame, pageBytes))
  }

  readImage(target: Uint8Array, frame: number): void {
    const offset = walFrameOffset(frame, target.length) + WAL_FRAME_HEADER_BYTES
    const got = this.descriptors.readWalSync(target, offset)
    if (got < target.length) target.fill(0, got)
  }

  /** A page of the database file; what is beyond its end is zero, as SQLite reads it. */
  readDatabasePage(target: Uint8Array, page: number): void {
    const got = this.descriptors.readDatabaseSync(target, (page - 1) * target.length)
    if (got < target.length) target.fill(0, got)
  }

  /**
   * `header`, ready for frames after its last one. A log that began anew by a transaction that was then rolled back has
   * none: SQLite would write the file's header with the first one.
   */
  prepared(header: WalIndexHeader): WalIndexHeader {
    if (header.mxFrame > 0) return header
    const bytes = new Uint8Array(WAL_HEADER_BYTES)
    this.descriptors.readWalSync(bytes, 0)
    const checkpointSequence = (new DataView(bytes.buffer).getUint32(12) + 1) >>> 0
    const frameChecksum = writeWalHeader(bytes, { ...header, checkpointSequence })
    this.descriptors.writeWal(bytes, 0)
    // Else a power loss may leave the old header with some of the old frames, which say what pages were long ago.
    this.descriptors.syncWal()
    return { ...header, frameChecksum }
  }

  /** Writes frames, header and image each, so that the first of them is `frame`. They count for nothing yet. */
  writeFrames(frames: Uint8Array, frame: number, pageBytes: number): void {
    this.descriptors.writeWal(frames, walFrameOffset(frame, pageBytes))
  }

  /**
   * Makes the frames after those of `header` visible, whose pages are `pages`; the last one is the commit. Returns the
   * copy of the header that says so.
   */
  publish(
    header: WalIndexHeader,
    pages: ArrayLike<number>,
    commit: { readonly pageCount: number; readonly frameChecksum: Checksum },
  ): Uint8Array {
    this.#load(header)
    const first = header.mxFrame + 1
    const mxFrame = header.mxFrame + pages.length
    for (let frame = first; frame <= mxFrame;) {
      const last = Math.min(mxFrame, this.#block(frame).lastFrame)
      this.#index(frame, last, pages, frame - first)
      frame = last + 1
    }
    const copy = this.descriptors.walIndexCopy()
    advanceWalIndexHeader(copy, { mxFrame, ...commit })
    this.#known = mxFrame
    writeWalIndexHeader((bytes, offset) => this.descriptors.writeWalIndex(bytes, offset), copy)
    return copy
  }

  /** Frames of one block. In one write from their first page number to the end of the slots: a write for each slot costs more. */
  #index(first: number, last: number, pages: ArrayLike<number>, from: number): void {
    const block = this.#block(first)
    let start = WAL_INDEX_BLOCK_BYTES
    for (let frame = first; frame <= last; frame++)
      start = Math.min(start, block.insert(frame, pages[from + frame - first] as number))
    const base = walIndexBlockOf(first) * WAL_INDEX_BLOCK_BYTES
    this.descriptors.writeWalIndex(block.bytes.subarray(start), base + start)
  }

  #block(frame: number): WalIndexBlock {
    const number = walIndexBlockOf(frame)
    return (this.#blocks[number] ??= new WalIndexBlock(number))
  }

  #load(header: WalIndexHeader): void {
    if (!sameSalts(this.#salts, header.salts)) this.#forget(header.salts)
    if (this.#known >= header.mxFrame) return
    const last = walIndexBlockOf(header.mxFrame)
    for (let number = walIndexBlockOf(this.#known + 1); number <= last; number++) {
      const block = (this.#blocks[number] ??= new WalIndexBlock(number))
      const got = this.descriptors.readWalIndexSync(
        block.bytes.subarray(block.start),
        number * WAL_INDEX_BLOCK_BYTES + block.start,
      )
      block.bytes.fill(0, block.start + got)
      block.reloaded()
    }
    this.#known = header.mxFrame
  }

  #forget(salts: Salts): void {
    this.#salts = salts
    this.#known = 0
    this.#blocks.length = 0
  }
}
