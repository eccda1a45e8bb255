/**
 * The transactions of a write-ahead log, one after another, and several of them as one.
 *
 * Decides: which frames make a transaction, which image of a page is its last. Leaves to others: where images are
 * written (`apply.ts`). Images are not copied: a page is an offset into the log it came from.
 *
 * 1. A transaction is a run of valid frames that ends with a commit frame; frames after the last one are of none.
 * 2. Of a page that a transaction, or a fold, holds several times the last image counts.
 * 3. A page beyond the page count of the whole is dropped, as a checkpoint drops it.
 */
import { malformed } from './malformed.ts'
import { readWalHeader, WAL_FRAME_HEADER_BYTES, WAL_HEADER_BYTES, walFrames, type ByteSource } from './wal.ts'

/** Where the image of a page is. */
export interface ImagePlace {
  readonly source: ByteSource
  /** Of the image itself, after the frame's header. */
  readonly offset: number
}

/** Pages that make a database of `pageCount` pages out of the one before. */
export interface PageSet {
  readonly pageBytes: number
  /** Pages of the database afterwards. */
  readonly pageCount: number
  /** Page number → where its image is. */
  readonly pages: ReadonlyMap<number, ImagePlace>
}

export interface WalTransaction extends PageSet {
  /** Numbers of its frames, from 1. */
  readonly firstFrame: number
  readonly lastFrame: number
}

/** The committed transactions in order. Nothing for an empty file. Throws `FILE_MALFORMED` when the header is damaged. */
export function* walTransactions(source: ByteSource): Generator<WalTransaction, void, void> {
  const head = new Uint8Array(WAL_HEADER_BYTES)
  if (readAt(source, head, 0) === 0) return
  const { pageBytes } = readWalHeader(head)
  let pages = new Map<number, ImagePlace>()
  let firstFrame = 1
  for (const { number, page, commitPages, offset } of walFrames(source)) {
    pages.set(page, { source, offset: offset + WAL_FRAME_HEADER_BYTES })
    if (commitPages === 0) continue
    dropBeyond(pages, commitPages)
    yield { pageBytes, pageCount: commitPages, pages, firstFrame, lastFrame: number }
    pages = new Map()
    firstFrame = number + 1
  }
}

/** Several transactions, in order and of one database, as one. `undefined` for none. Throws `FILE_MALFORMED` when page sizes differ. */
export function foldTransactions(transactions: Iterable<PageSet>): PageSet | undefined {
  const pages = new Map<number, ImagePlace>()
  let last: PageSet | undefined
  for (const transaction of transactions) {
    if (last !== undefined && transaction.pageBytes !== last.pageBytes)
      throw malformed('WAL', 8, `pages of ${transaction.pageBytes} bytes follow pages of ${last.pageBytes}`)
    for (const [page, place] of transaction.pages) pages.set(page, place)
    last = transaction
  }
  if (last === undefined) return undefined
  dropBeyond(pages, last.pageCount)
  return { pageBytes: last.pageBytes, pageCount: last.pageCount, pages }
}

/** Reads the image at `place` into `target`, which is one page long. Throws `FILE_MALFORMED` when it is cut. */
export function readImage(place: ImagePlace, target: Uint8Array): void {
  if (readAt(place.source, target, place.offset) < target.length)
    throw malformed('WAL', place.offset, 'the image of a page is cut')
}

function readAt(source: ByteSource, target: Uint8Array, offset: number): number {
  if (typeof source === 'function') return source(target, offset)
  const part = source.subarray(offset, offset + target.length)
  target.set(part)
  return part.length
}

function dropBeyond(pages: Map<number, ImagePlace>, pageCount: number): void {
  for (const page of pages.keys()) if (page > pageCount) pages.delete(page)
}
