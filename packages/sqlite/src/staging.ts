/**
 * Page images of one transaction that is not committed: in memory up to a limit, beyond it in the log file.
 *
 * Decides: what the frames of the transaction are. Leaves to others: the write lock, and what the pages were before.
 *
 * 1. Of a page staged again in memory the last image counts; one that was spilled is staged anew, as a later frame.
 * 2. Spilled frames are no commit: after a rollback or a crash the next transaction overwrites them.
 * 3. The last frame alone says how many pages the database has.
 */
import {
  WAL_FRAME_HEADER_BYTES,
  writeWalFrameHeader,
  type Checksum,
  type WalIndexHeader,
} from '@understudy/sqlite-files'
import type { LogFile } from './log-file.ts'

/** Memory that is kept from one transaction to the next. */
export interface StagingMemory {
  frames: Uint8Array
}

const FIRST_BYTES = 64 * 1024

export class Staging {
  /** The log as it is without this transaction. */
  readonly header: WalIndexHeader
  pageCount: number
  /** Page → number of its frame in memory. */
  readonly #slots = new Map<number, number>()
  /** Page → frame in the log file. */
  readonly #spilled = new Map<number, number>()
  readonly #log: LogFile
  readonly #memory: StagingMemory
  readonly #bytesMax: number
  readonly #frameBytes: number
  readonly #sum: Checksum
  /** Page of each frame that is in the log file already. */
  readonly #written: number[] = []

  constructor(log: LogFile, header: WalIndexHeader, memory: StagingMemory, bytesMax: number) {
    this.#log = log
    this.header = header
    this.#memory = memory
    this.#bytesMax = bytesMax
    this.#frameBytes = header.pageBytes + WAL_FRAME_HEADER_BYTES
    this.#sum = { ...header.frameChecksum }
    this.pageCount = header.pageCount
  }

  /** Whether the transaction does anything. */
  get isEmpty(): boolean {
    return this.#slots.size + this.#spilled.size === 0 && this.pageCount === this.header.pageCount
  }

  has(page: number): boolean {
    return this.#slots.has(page) || this.#spilled.has(page)
  }

  /** The image staged for `page`: a view of memory, or `target` filled from the log file. */
  read(page: number, target: Uint8Array): Uint8Array | undefined {
    const slot = this.#slots.get(page)
    if (slot !== undefined) return this.#image(slot)
    const frame = this.#spilled.get(page)
    if (frame === undefined) return undefined
    this.#log.readImage(target, frame)
    return target
  }

  stage(page: number, image: Uint8Array): void {
    let slot = this.#slots.get(page)
    if (slot === undefined) {
      if (this.#slots.size > 0 && (this.#slots.size + 1) * this.#frameBytes > this.#bytesMax) this.#spill()
      slot = this.#slots.size
      this.#reserve((slot + 1) * this.#frameBytes)
      this.#slots.set(page, slot)
    }
    this.#image(slot).set(image)
    if (page > this.pageCount) this.pageCount = page
  }

  /** The first page between the old and the new end that was not staged, the one at 1 GiB aside. */
  missing(lockPage: number): number | undefined {
    for (let page = this.header.pageCount + 1; page <= this.pageCount; page++)
      if (page !== lockPage && !this.has(page)) return page
    return undefined
  }

  /** Whether something in memory can be the last frame: else a page must be staged for it. */
  get hasCarrier(): boolean {
    for (const page of this.#slots.keys()) if (page <= this.pageCount) return true
    return false
  }

  /** With a carrier: writes what is in memory as the last frames, and makes all visible. Returns the copy of the header that says so. */
  publish(): Uint8Array {
    for (const page of this.#slots.keys()) if (page > this.pageCount) return this.#publishShrunk()
    const { pageCount } = this
    this.#flush(pageCount)
    return this.#log.publish(this.header, this.#written, { pageCount, frameChecksum: this.#sum })
  }

  /** Calls `take` with the images in memory, `drop` with the pages of the others. */
  forEach(take: (page: number, image: Uint8Array) => void, drop: (page: number) => void): void {
    for (const page of this.#spilled.keys()) drop(page)
    for (const [page, slot] of this.#slots) if (page <= this.pageCount) take(page, this.#image(slot))
  }

  /** As `publish`, when pages in memory are beyond the new end: the others are staged anew, close together. */
  #publishShrunk(): Uint8Array {
    const kept = [...this.#slots].filter(([page]) => page <= this.pageCount)
    this.#slots.clear()
    for (const [index, [page, slot]] of kept.entries()) {
      this.#image(index).set(this.#image(slot))
      this.#slots.set(page, index)
    }
    return this.publish()
  }

  #spill(): void {
    this.#flush(0)
    for (const [page, slot] of this.#slots)
      this.#spilled.set(page, this.header.mxFrame + this.#written.length - this.#slots.size + slot + 1)
    this.#slots.clear()
  }

  /** Writes the frames in memory; the last one is a commit unless `commitPages` is 0. */
  #flush(commitPages: number): void {
    const { salts, pageBytes, mxFrame, littleEndianChecksums } = this.header
    const { frames } = this.#memory
    const first = mxFrame + this.#written.length + 1
    const last = this.#slots.size - 1
    for (const [page, slot] of this.#slots) {
      const frame = { page, commitPages: slot === last ? commitPages : 0, salts }
      writeWalFrameHeader(frames, slot * this.#frameBytes, pageBytes, frame, this.#sum, littleEndianChecksums)
      this.#written.push(page)
    }
    this.#log.writeFrames(frames.subarray(0, this.#slots.size * this.#frameBytes), first, pageBytes)
  }

  #image(slot: number): Uint8Array {
    const start = slot * this.#frameBytes + WAL_FRAME_HEADER_BYTES
    return this.#memory.frames.subarray(start, start + this.header.pageBytes)
  }

  #reserve(bytes: number): void {
    const { frames } = this.#memory
    if (frames.length >= bytes) return
    const grown = new Uint8Array(Math.max(bytes, FIRST_BYTES, frames.length * 2))
    grown.set(frames)
    this.#memory.frames = grown
  }
}
