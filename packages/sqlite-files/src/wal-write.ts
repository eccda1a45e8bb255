/**
 * Writes the write-ahead log: its header, the header of each frame.
 *
 * Decides: the bytes. Leaves to others: where frames go, the locks, what makes a commit visible (`wal-index-write.ts`).
 *
 * 1. A frame's checksum continues that of the frame before it, the first one's that of the file header.
 * 2. Only the last frame of a transaction has `commitPages`. Until that frame is whole, its transaction does not exist.
 * 3. Checksums add up words in the byte order that the file header names, whichever machine writes.
 * Source: https://sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { addToChecksum, type Checksum } from './checksum.ts'
import { WAL_FRAME_HEADER_BYTES, WAL_HEADER_BYTES, type Salts } from './wal.ts'

/** What the header of a new log says. */
export interface NewWalHeader {
  readonly pageBytes: number
  /** The order of this machine is the fast one. */
  readonly littleEndianChecksums: boolean
  readonly checkpointSequence: number
  readonly salts: Salts
}

/** Writes the file header into the first 32 bytes of `target`. Returns its checksum, which the first frame continues. */
export function writeWalHeader(target: Uint8Array, header: NewWalHeader): Checksum {
  const view = new DataView(target.buffer, target.byteOffset, WAL_HEADER_BYTES)
  view.setUint32(0, header.littleEndianChecksums ? 0x377f_0682 : 0x377f_0683)
  view.setUint32(4, 3_007_000)
  view.setUint32(8, header.pageBytes)
  view.setUint32(12, header.checkpointSequence)
  view.setUint32(16, header.salts.first)
  view.setUint32(20, header.salts.second)
  const sum = { first: 0, second: 0 }
  addToChecksum(sum, target, 0, WAL_HEADER_BYTES - 8, header.littleEndianChecksums)
  view.setUint32(24, sum.first)
  view.setUint32(28, sum.second)
  return sum
}

/** What the header of a frame says, apart from its checksum. */
export interface NewWalFrame {
  /** From 1. */
  readonly page: number
  /** Pages of the database after the commit that this frame ends; 0 when it ends none. */
  readonly commitPages: number
  readonly salts: Salts
}

/**
 * Writes the 24 bytes at `offset` of `bytes`; the page image must follow them already, `pageBytes` long. `sum` is the
 * checksum of the frame before, and this frame's afterwards.
 */
export function writeWalFrameHeader(
  bytes: Uint8Array,
  offset: number,
  pageBytes: number,
  frame: NewWalFrame,
  sum: Checksum,
  littleEndianChecksums: boolean,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, WAL_FRAME_HEADER_BYTES)
  view.setUint32(0, frame.page)
  view.setUint32(4, frame.commitPages)
  view.setUint32(8, frame.salts.first)
  view.setUint32(12, frame.salts.second)
  const image = offset + WAL_FRAME_HEADER_BYTES
  addToChecksum(sum, bytes, offset, offset + 8, littleEndianChecksums)
  addToChecksum(sum, bytes, image, image + pageBytes, littleEndianChecksums)
  view.setUint32(16, sum.first)
  view.setUint32(20, sum.second)
}
