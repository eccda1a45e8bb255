/**
 * Committed pages to the body of a payload, in one buffer that is reused.
 *
 * Decides: which pages travel whole, which as runs against their previous image, which not at all. Leaves to others:
 * where pages come from (`SqlitePages`), the frame (`payload.ts`).
 *
 * 1. A page that the file did not have before travels whole, whatever stands in its place in some file.
 * 2. A page that is equal to its previous image does not travel.
 * 3. The checksums let a reader tell every wrong base: bytes that runs replace have one of their own, and all others
 *    are in the checksum of the result, which covers all that the payload does: page count, page numbers, images.
 */
import { crc32 } from 'node:zlib'
import type { CommittedPages } from '@understudy/contracts'
import { lockPage } from '@understudy/sqlite-files'
import { HEAD_BYTES, sealPayload, TAIL_BYTES } from './payload.ts'
import { RunningCrc } from './running-crc.ts'
import { newPageImage, runsBytesMax, writeRuns, type PageImage } from './runs.ts'
import { VARINT_BYTES_MAX, writeVarint } from './varint.ts'

/** Page numbers and the flag beside them take two varints at most. */
const ENTRY_BYTES_MAX = 2 * VARINT_BYTES_MAX + 2
const BUFFER_BYTES = 65_536
/** A larger buffer is given back after use. */
const BUFFER_BYTES_KEPT = 4 * 1024 * 1024

export interface EncoderOptions {
  /** Runs that take more than this part of a page are compared with the whole page, and the shorter is taken. */
  readonly wholePageAbove: number
  /** Bytes of the largest body. */
  readonly payloadBytesMax: number
  /** Bodies from this size on are compressed. */
  readonly compressFromBytes: number
}

export class PageEncoder {
  readonly #options: EncoderOptions
  readonly #pageBytes: number
  readonly #image: PageImage
  readonly #base: PageImage
  readonly #zeros: PageImage
  readonly #replaced: RunningCrc
  readonly #results: RunningCrc = new RunningCrc(4)
  #buffer = new Uint8Array(BUFFER_BYTES)
  #at = 0

  constructor(pageBytes: number, options: EncoderOptions) {
    this.#options = options
    this.#pageBytes = pageBytes
    this.#image = newPageImage(pageBytes)
    this.#base = newPageImage(pageBytes)
    this.#zeros = newPageImage(pageBytes)
    this.#replaced = new RunningCrc(pageBytes)
  }

  /**
   * The payload of a transaction before which the file had `pagesBefore` pages; `undefined` when it is too large, or
   * lacks pages. With 0, every page travels whole and any may lack.
   */
  encode(committed: CommittedPages, pagesBefore: number): Uint8Array<ArrayBuffer> | undefined {
    const { payloadBytesMax } = this.#options
    this.#replaced.reset()
    this.#results.reset()
    this.#results.addUint32(committed.pageCount)
    this.#at = writeVarint(this.#buffer, HEAD_BYTES, committed.pageCount)
    const sumsAt = this.#at
    this.#at += 8
    let last = 0
    let added = 0
    for (const { page, image, previous } of committed.pages) {
      if (page > pagesBefore) added += 1
      if (this.#add(page, last, image, page > pagesBefore ? undefined : previous)) last = page
      if (this.#at > payloadBytesMax) {
        this.#release()
        return undefined
      }
    }
    if (pagesBefore > 0 && added < this.#pagesAdded(pagesBefore, committed.pageCount)) return undefined
    this.#reserve(1 + TAIL_BYTES)
    this.#buffer[this.#at] = 0
    const view = new DataView(this.#buffer.buffer)
    view.setUint32(sumsAt, this.#replaced.sum, true)
    view.setUint32(sumsAt + 4, this.#results.sum, true)
    return this.#seal(this.#at + 1, false)
  }

  /** The payload of a base. */
  encodeBase(pageCount: number): Uint8Array<ArrayBuffer> {
    return this.#seal(writeVarint(this.#buffer, HEAD_BYTES, pageCount), true)
  }

  /** Returns false for a page that is what it was before. */
  #add(page: number, last: number, image: Uint8Array, previous: Uint8Array | undefined): boolean {
    const whole = previous === undefined
    this.#reserve(2 * (runsBytesMax(this.#pageBytes) + ENTRY_BYTES_MAX))
    this.#image.bytes.set(image)
    if (!whole) this.#base.bytes.set(previous)
    const start = this.#at
    const head = writeVarint(this.#buffer, start, (page - last) * 2 + (whole ? 1 : 0))
    this.#replaced.reserve()
    const gathered = this.#replaced.length
    const end = writeRuns(
      this.#buffer,
      head + 1,
      this.#image,
      whole ? this.#zeros : this.#base,
      whole ? undefined : this.#replaced,
    )
    if (!whole && end === head + 2) return false
    const sum = crc32(this.#image.bytes)
    this.#results.addUint32(page)
    this.#results.addUint32(sum)
    this.#buffer[head] = sum
    this.#at = end
    if (!whole && end - start > this.#options.wholePageAbove * this.#pageBytes)
      this.#preferWhole(start, page - last, sum, gathered)
    return true
  }

  /** Puts the whole page in the place of the runs that begin at `start`, when it is shorter. */
  #preferWhole(start: number, step: number, sum: number, gathered: number): void {
    const buffer = this.#buffer
    const head = writeVarint(buffer, this.#at, step * 2 + 1)
    buffer[head] = sum
    const end = writeRuns(buffer, head + 1, this.#image, this.#zeros, undefined)
    if (end - this.#at >= this.#at - start) return
    buffer.copyWithin(start, this.#at, end)
    this.#at = start + end - this.#at
    this.#replaced.length = gathered
  }

  #seal(end: number, base: boolean): Uint8Array<ArrayBuffer> {
    const payload = sealPayload(this.#buffer, end, {
      base,
      pageBytes: this.#pageBytes,
      compress: end - HEAD_BYTES >= this.#options.compressFromBytes,
    })
    this.#release()
    return payload
  }

  #pagesAdded(before: number, after: number): number {
    const lock = lockPage(this.#pageBytes)
    return after - before - (before < lock && lock <= after ? 1 : 0)
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#buffer.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length))
    larger.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = larger
  }

  #release(): void {
    if (this.#buffer.length > BUFFER_BYTES_KEPT) this.#buffer = new Uint8Array(BUFFER_BYTES)
  }
}
