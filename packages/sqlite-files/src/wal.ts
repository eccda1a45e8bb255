/**
 * The write-ahead log of a SQLite database: the `-wal` file.
 *
 * Decides: which frames of the file are valid, which are committed, which of them holds a page last.
 * Leaves to others: how far a reader may look (`mxFrame` of the wal-index), and all writing.
 *
 * A frame is valid when 1. its salts are those of the header, 2. its page number is not 0, 3. its checksum continues
 * that of the frame before it. The first frame that is not ends the log: what follows is left over from before a restart.
 * Source: https://sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { addToChecksum, type Checksum } from './checksum.ts'
import { isPageSize } from './database-header.ts'
import { malformed } from './malformed.ts'

/** Bytes of the file header. */
export const WAL_HEADER_BYTES = 32
/** Bytes before the page image in each frame. */
export const WAL_FRAME_HEADER_BYTES = 24

const MAGIC_LITTLE_ENDIAN = 0x377f_0682
const MAGIC_BIG_ENDIAN = 0x377f_0683
const FORMAT_VERSION = 3_007_000

/** Two random-looking numbers that each restart of the log changes; frames of another life carry others. */
export interface Salts {
  readonly first: number
  readonly second: number
}

export interface WalHeader {
  readonly pageBytes: number
  /** Byte order of the words that the checksums add up. Everything else in the file is big-endian. */
  readonly littleEndianChecksums: boolean
  readonly checkpointSequence: number
  readonly salts: Salts
  readonly checksum: Readonly<Checksum>
}

export interface WalFrame {
  /** From 1. */
  readonly number: number
  /** The page that the frame holds, from 1. */
  readonly page: number
  /** Pages of the database after the commit that this frame ends; 0 when it ends none. */
  readonly commitPages: number
  /** Offset in the file of the frame's header; the page image follows 24 bytes later. */
  readonly offset: number
  /** The running checksum, this frame included. */
  readonly checksum: Readonly<Checksum>
}

/** Where bytes come from: all of them, or a positioned reader such as `(target, offset) => fs.readSync(fd, target, 0, target.length, offset)`. */
export type ByteSource = Uint8Array | ((target: Uint8Array, offset: number) => number)

/** Whether both are of one life of the log. */
export function sameSalts(a: Salts, b: Salts): boolean {
  return a.first === b.first && a.second === b.second
}

/** Offset of frame `number` (from 1). */
export function walFrameOffset(number: number, pageBytes: number): number {
  return WAL_HEADER_BYTES + (number - 1) * (WAL_FRAME_HEADER_BYTES + pageBytes)
}

/** Reads the file header from the first 32 bytes, checksum verified. Throws `FILE_MALFORMED`. */
export function readWalHeader(bytes: Uint8Array): WalHeader {
  if (bytes.length < WAL_HEADER_BYTES)
    throw malformed('WAL', 0, `it has ${bytes.length} bytes, a header has ${WAL_HEADER_BYTES}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = view.getUint32(0)
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN)
    throw malformed('WAL', 0, 'the magic is missing')
  if (view.getUint32(4) !== FORMAT_VERSION)
    throw malformed('WAL', 4, `${view.getUint32(4)} is no version it can have`)
  const pageBytes = view.getUint32(8)
  if (!isPageSize(pageBytes)) throw malformed('WAL', 8, `${pageBytes} is no page size`)
  const littleEndianChecksums = magic === MAGIC_LITTLE_ENDIAN
  const checksum = { first: 0, second: 0 }
  addToChecksum(checksum, bytes, 0, 24, littleEndianChecksums)
  if (checksum.first !== view.getUint32(24) || checksum.second !== view.getUint32(28))
    throw malformed('WAL', 24, 'the checksum of the header is wrong')
  return {
    pageBytes,
    littleEndianChecksums,
    checkpointSequence: view.getUint32(12),
    salts: { first: view.getUint32(16), second: view.getUint32(20) },
    checksum,
  }
}

/** What a frame's 24 bytes say, unchecked. */
export interface WalFrameHeader {
  readonly page: number
  readonly commitPages: number
  readonly salts: Salts
  readonly checksum: Readonly<Checksum>
}

/** Reads the header of one frame at `offset` of `bytes`. Throws `FILE_MALFORMED` when it is cut. */
export function readWalFrameHeader(bytes: Uint8Array, offset = 0): WalFrameHeader {
  if (bytes.length < offset + WAL_FRAME_HEADER_BYTES)
    throw malformed('WAL', offset, 'the frame header is cut')
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, WAL_FRAME_HEADER_BYTES)
  return {
    page: view.getUint32(0),
    commitPages: view.getUint32(4),
    salts: { first: view.getUint32(8), second: view.getUint32(12) },
    checksum: { first: view.getUint32(16), second: view.getUint32(20) },
  }
}

/**
 * The valid frames in order, committed or not: those after the last commit frame belong to no transaction yet.
 * Nothing for an empty file. Throws `FILE_MALFORMED` when the header is damaged.
 */
export function* walFrames(source: ByteSource): Generator<WalFrame, void, void> {
  const read = typeof source === 'function' ? source : bytesReader(source)
  const head = new Uint8Array(WAL_HEADER_BYTES)
  if (read(head, 0) === 0) return
  const { pageBytes, littleEndianChecksums, salts, checksum } = readWalHeader(head)
  const frameBytes = WAL_FRAME_HEADER_BYTES + pageBytes
  const bytes = new Uint8Array(frameBytes)
  const running = { ...checksum }
  for (let number = 1; ; number++) {
    const offset = walFrameOffset(number, pageBytes)
    if (read(bytes, offset) < frameBytes) return
    const header = readWalFrameHeader(bytes)
    if (header.page === 0 || !sameSalts(header.salts, salts)) return
    addToChecksum(running, bytes, 0, 8, littleEndianChecksums)
    addToChecksum(running, bytes, WAL_FRAME_HEADER_BYTES, frameBytes, littleEndianChecksums)
    if (running.first !== header.checksum.first || running.second !== header.checksum.second) return
    yield { number, page: header.page, commitPages: header.commitPages, offset, checksum: { ...running } }
  }
}

/** What the log lays over the database file, as of one commit. */
export interface WalOverlay {
  /** Frame number of the last commit taken; 0 for none. */
  readonly mark: number
  /** Pages of the database as of that commit; 0 for none: the file itself counts. */
  readonly pageCount: number
  /** Page number → offset in the WAL file of its last image (the image itself, after the frame's header). */
  readonly pages: ReadonlyMap<number, number>
}

/**
 * The last committed image of each page, looking at frames up to `upTo` (`mxFrame` of the wal-index; without it, all
 * that are valid). Not to be used when everything was backfilled before the reader began: see the README.
 */
export function walOverlay(source: ByteSource, upTo: number = Number.MAX_SAFE_INTEGER): WalOverlay {
  const pages = new Map<number, number>()
  const open: WalFrame[] = []
  let mark = 0
  let pageCount = 0
  for (const frame of walFrames(source)) {
    if (frame.number > upTo) break
    open.push(frame)
    if (frame.commitPages === 0) continue
    for (const { page, offset } of open) pages.set(page, offset + WAL_FRAME_HEADER_BYTES)
    open.length = 0
    mark = frame.number
    pageCount = frame.commitPages
  }
  // A transaction that shrank the database leaves images of pages that no longer exist.
  for (const page of pages.keys()) if (page > pageCount) pages.delete(page)
  return { mark, pageCount, pages }
}

function bytesReader(bytes: Uint8Array): (target: Uint8Array, offset: number) => number {
  return (target, offset) => {
    const part = bytes.subarray(offset, offset + target.length)
    target.set(part)
    return part.length
  }
}
