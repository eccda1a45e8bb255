/**
 * The wal-index: the `-shm` file, shared memory of all connections to a database in WAL mode.
 *
 * Decides: what its header says, which page each frame holds. Leaves to others: the locks, and the hash tables, which
 * only speed up what the page numbers say.
 *
 * Valid when 1. both copies of the header are equal (a writer was not in between), 2. the copy's checksum is right,
 * 3. it is initialised. Numbers are in the byte order of the machine, salts as in the WAL file: the file never leaves it.
 * Source: https://sqlite.org/walformat.html#the_wal_index_file_format
 */
import { addToChecksum, isLittleEndianMachine, type Checksum } from './checksum.ts'
import { isPageSize } from './database-header.ts'
import { malformed } from './malformed.ts'
import type { Salts } from './wal.ts'

/** Bytes of the two header copies with the checkpoint information after them. */
export const WAL_INDEX_HEADER_BYTES = 136
/** Bytes of one block of page numbers and hash table; the first block begins with the header. */
export const WAL_INDEX_BLOCK_BYTES = 32_768

const VERSION = 3_007_000
const COPY_BYTES = 48
const CHECKED_BYTES = 40
const BLOCK_FRAMES = 4096
const FIRST_BLOCK_FRAMES = BLOCK_FRAMES - WAL_INDEX_HEADER_BYTES / 4

export interface WalIndexHeader {
  readonly pageBytes: number
  /** Incremented by each transaction that changed something. */
  readonly change: number
  /** The last committed frame; 0 when the log is empty. */
  readonly mxFrame: number
  /** Pages of the database as of that frame. */
  readonly pageCount: number
  readonly littleEndianChecksums: boolean
  /** Running checksum of the last committed frame. */
  readonly frameChecksum: Readonly<Checksum>
  readonly salts: Salts
  /** Frames up to this one are in the database file. A reader that begins when it equals `mxFrame` does not pin the log. */
  readonly nBackfill: number
  /** How far a checkpoint has tried to come. */
  readonly nBackfillAttempted: number
  /** Five marks; 0xffffffff stands for unused. */
  readonly readMarks: readonly number[]
}

/**
 * Reads the header from the first 136 bytes. `undefined` when a writer was in between (copies differ): read again.
 * Throws `FILE_MALFORMED` when it is not initialised or its checksum is wrong.
 */
export function readWalIndexHeader(bytes: Uint8Array): WalIndexHeader | undefined {
  if (bytes.length < WAL_INDEX_HEADER_BYTES)
    throw malformed('wal-index', 0, `it has ${bytes.length} bytes, a header has ${WAL_INDEX_HEADER_BYTES}`)
  for (let index = 0; index < COPY_BYTES; index++)
    if (bytes[index] !== bytes[index + COPY_BYTES]) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = isLittleEndianMachine()
  if (view.getUint8(12) === 0) throw malformed('wal-index', 12, 'it is not initialised')
  if (view.getUint32(0, little) !== VERSION) throw malformed('wal-index', 0, 'the version is unknown')
  const sum = { first: 0, second: 0 }
  addToChecksum(sum, bytes, 0, CHECKED_BYTES, little)
  if (sum.first !== view.getUint32(40, little) || sum.second !== view.getUint32(44, little))
    throw malformed('wal-index', 40, 'the checksum of the header is wrong')
  const stored = view.getUint16(14, little)
  const pageBytes = (stored & 0xfe00) + ((stored & 1) << 16)
  if (!isPageSize(pageBytes)) throw malformed('wal-index', 14, `${stored} is no page size`)
  return {
    pageBytes,
    change: view.getUint32(8, little),
    mxFrame: view.getUint32(16, little),
    pageCount: view.getUint32(20, little),
    littleEndianChecksums: view.getUint8(13) === 0,
    frameChecksum: { first: view.getUint32(24, little), second: view.getUint32(28, little) },
    salts: { first: view.getUint32(32), second: view.getUint32(36) },
    nBackfill: view.getUint32(96, little),
    nBackfillAttempted: view.getUint32(128, little),
    readMarks: [0, 1, 2, 3, 4].map((slot) => view.getUint32(100 + 4 * slot, little)),
  }
}

/** Offset in the file and count of the page numbers that block `block` (from 0) holds. */
export function walIndexBlock(block: number): {
  readonly offset: number
  readonly firstFrame: number
  readonly frames: number
} {
  if (block === 0) return { offset: WAL_INDEX_HEADER_BYTES, firstFrame: 1, frames: FIRST_BLOCK_FRAMES }
  return {
    offset: block * WAL_INDEX_BLOCK_BYTES,
    firstFrame: 1 + FIRST_BLOCK_FRAMES + (block - 1) * BLOCK_FRAMES,
    frames: BLOCK_FRAMES,
  }
}

/**
 * Page number of each frame from 1 to `mxFrame`: element 0 is frame 1. `read` reads the `-shm` file.
 * Throws `FILE_MALFORMED` when the file is shorter than that, or a page number is 0.
 */
export function readWalIndexPages(
  read: (target: Uint8Array, offset: number) => number,
  mxFrame: number,
): Uint32Array {
  const pages = new Uint32Array(mxFrame)
  for (let block = 0; ; block++) {
    const { offset, firstFrame, frames } = walIndexBlock(block)
    if (firstFrame > mxFrame) break
    const part = pages.subarray(firstFrame - 1, Math.min(firstFrame - 1 + frames, mxFrame))
    const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
    if (read(bytes, offset) < bytes.length) throw malformed('wal-index', offset, 'the page numbers are cut')
  }
  if (pages.includes(0)) throw malformed('wal-index', WAL_INDEX_HEADER_BYTES, 'a frame has page number 0')
  return pages
}
