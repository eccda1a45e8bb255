/**
 * Writes the wal-index: page numbers and hash tables of frames, then the header that makes them count.
 *
 * Decides: the bytes, and the order in which the two copies of the header are written. Leaves to others: the write lock of
 * SQLite, which whoever writes must hold; the file itself, which must be long enough before the header says so.
 *
 * 1. A page number is written before, or with, the slot of the hash table that leads to it, both before the header.
 * 2. The second copy of the header is written before the first: readers read them the other way round, and take a header
 *    only when both are equal.
 * 3. Slots are filled exactly as SQLite fills them, so that it can go on from them: hash 383 · page modulo 8192, linear
 *    probing, a block is zeroed by its first frame, what an abandoned transaction left is cleared by the next one.
 * Source: https://sqlite.org/walformat.html#the_wal_index_file_format
 */
import { addToChecksum, isLittleEndianMachine, type Checksum } from './checksum.ts'
import { WAL_INDEX_BLOCK_BYTES, WAL_INDEX_HEADER_BYTES, walIndexBlock } from './wal-index.ts'

/** Bytes of one copy of the header. */
export const WAL_INDEX_COPY_BYTES = 48

const CHECKED_BYTES = 40
const SLOTS = 8192
const SLOTS_OFFSET = WAL_INDEX_BLOCK_BYTES - 2 * SLOTS
const HEADER_WORDS = WAL_INDEX_HEADER_BYTES / 4

/** Which block (from 0) holds frame `frame` (from 1). */
export function walIndexBlockOf(frame: number): number {
  return Math.floor((frame - 1 + HEADER_WORDS) / 4096)
}

/** One block of the `-shm` file, in memory. */
export class WalIndexBlock {
  /** The whole block: of the first one, the bytes of the header are only a place. */
  readonly bytes: Uint8Array
  /** Offset in the block where page numbers begin. */
  readonly start: number
  readonly firstFrame: number
  readonly lastFrame: number
  readonly #pages: Uint32Array
  readonly #slots: Uint16Array
  /** Page → slot of its last frame. Pages that every transaction changes fill long chains; this skips them. */
  readonly #lastSlots = new Map<number, number>()

  constructor(number: number) {
    const { firstFrame, frames } = walIndexBlock(number)
    const buffer = new ArrayBuffer(WAL_INDEX_BLOCK_BYTES)
    this.bytes = new Uint8Array(buffer)
    this.start = number === 0 ? WAL_INDEX_HEADER_BYTES : 0
    this.firstFrame = firstFrame
    this.lastFrame = firstFrame + frames - 1
    this.#pages = new Uint32Array(buffer, this.start, frames)
    this.#slots = new Uint16Array(buffer, SLOTS_OFFSET, SLOTS)
  }

  /** The page of `frame`; 0 when there is none. */
  page(frame: number): number {
    return this.#pages[frame - this.firstFrame] as number
  }

  /** The last frame of this block, at or below `upTo`, that holds `page`; 0 for none. */
  find(page: number, upTo: number): number {
    const last = upTo - this.firstFrame + 1
    const known = this.#slots[this.#lastSlots.get(page) ?? -1]
    if (known !== undefined && known <= last) return known + this.firstFrame - 1
    let found = 0
    for (let slot = hash(page); ; slot = (slot + 1) % SLOTS) {
      const index = this.#slots[slot] as number
      if (index === 0) break
      if (index <= last && index > found && this.#pages[index - 1] === page) found = index
    }
    return found === 0 ? 0 : found + this.firstFrame - 1
  }

  /**
   * Adds `frame`, which must be of this block and the next one of the log. Returns the offset in the block from which on
   * its bytes, up to the end, must be written.
   */
  insert(frame: number, page: number): number {
    const index = frame - this.firstFrame + 1
    const changedFrom = this.start + 4 * (index - 1)
    if (index === 1) {
      this.#pages.fill(0)
      this.#slots.fill(0)
      this.#lastSlots.clear()
    } else if (this.#pages[index - 1] !== 0) {
      this.clearAfter(frame - 1)
    }
    // Every slot from the page's own to that of its last frame is taken.
    let slot = this.#lastSlots.get(page) ?? hash(page)
    while (this.#slots[slot] !== 0) slot = (slot + 1) % SLOTS
    this.#pages[index - 1] = page
    this.#slots[slot] = index
    this.#lastSlots.set(page, slot)
    return changedFrom
  }

  /** Forgets every frame above `frame`, as SQLite does with what a rollback or a crash left. */
  clearAfter(frame: number): void {
    const last = Math.max(0, frame - this.firstFrame + 1)
    for (let slot = 0; slot < SLOTS; slot++) if ((this.#slots[slot] as number) > last) this.#slots[slot] = 0
    this.#pages.fill(0, last)
    this.#lastSlots.clear()
  }

  /** To be called when `bytes` were changed from outside, as by reading the block from its file. */
  reloaded(): void {
    this.#lastSlots.clear()
  }
}

function hash(page: number): number {
  return (page * 383) % SLOTS
}

/**
 * Turns one copy of the header (48 bytes, as it stands) into that of the next commit: the change counter grows by one,
 * salts and page size stay, the checksum is made anew.
 */
export function advanceWalIndexHeader(
  copy: Uint8Array,
  commit: {
    readonly mxFrame: number
    readonly pageCount: number
    readonly frameChecksum: Readonly<Checksum>
  },
): void {
  const view = new DataView(copy.buffer, copy.byteOffset, WAL_INDEX_COPY_BYTES)
  const little = isLittleEndianMachine()
  view.setUint32(8, view.getUint32(8, little) + 1, little)
  view.setUint32(16, commit.mxFrame, little)
  view.setUint32(20, commit.pageCount, little)
  view.setUint32(24, commit.frameChecksum.first, little)
  view.setUint32(28, commit.frameChecksum.second, little)
  const sum = { first: 0, second: 0 }
  addToChecksum(sum, copy, 0, CHECKED_BYTES, little)
  view.setUint32(40, sum.first, little)
  view.setUint32(44, sum.second, little)
}

/** Makes `copy` the header: the second copy first. From the end of this call on, readers see the commit. */
export function writeWalIndexHeader(
  write: (bytes: Uint8Array, offset: number) => void,
  copy: Uint8Array,
): void {
  const bytes = copy.subarray(0, WAL_INDEX_COPY_BYTES)
  write(bytes, WAL_INDEX_COPY_BYTES)
  write(bytes, 0)
}
