/**
 * The file beside a database that says how far back its files go: `<path>-rewind`.
 *
 * ```
 * offset  bytes  (little-endian)
 *      0      8  "USREWIND"
 *      8      4  version, 1
 *     12      4  bytes of a page
 *     16      4  pages of the database as of the point
 *     20     12  the mark: salts (2 × 4) and frame of the write-ahead log
 *     32      4  number of images
 *     36     24  the point: epoch (f64), LSN (f64), CRC (u32), 0 (u32)
 *     60     24  what the position row said at the point, and 1 when ahead of it
 *     84     24  what the position row said at the mark, likewise
 *    108    4×n  page numbers
 *         p × n  their images as of the point
 *             4  CRC-32 of all that stands before
 * ```
 *
 * Decides: what is a whole file, that a new one takes the place of the old one in one step. Leaves to others: what it means (`rewind.ts`).
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { LogPoint } from '@understudy/contracts'
import type { Salts } from '@understudy/sqlite-files'
import type { StoredPosition } from './position.ts'

const MAGIC = 'USREWIND'
const VERSION = 1
const HEAD_BYTES = 108
const POINT_BYTES = 24

/** Where the files of a database are, and which older point they still lead to. */
export interface RewindState {
  /** The point, as whoever has the log knows it. */
  readonly point: LogPoint
  /** What the position row said there: of a physical storage the record before. */
  readonly stored: StoredPosition
  /** Pages of the database as of the point. */
  readonly pageCount: number
  /** The mark: no frame above it is in the database file. `images` has each page that changed between the point and the mark. */
  readonly salts: Salts
  readonly frame: number
  /** What the position row said at the mark. */
  readonly marked: StoredPosition
  readonly images: ReadonlyMap<number, Uint8Array>
}

export function rewindPath(path: string): string {
  return `${path}-rewind`
}

/** `undefined` when there is no whole file for pages of this size. */
export function readRewindFile(path: string, pageBytes: number): RewindState | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(rewindPath(path))
  } catch {
    return undefined
  }
  if (bytes.length < HEAD_BYTES + 4 || bytes.toString('latin1', 0, 8) !== MAGIC) return undefined
  const end = bytes.length - 4
  const count = bytes.readUInt32LE(32)
  if (bytes.readUInt32LE(8) !== VERSION || bytes.readUInt32LE(12) !== pageBytes) return undefined
  if (
    end !== HEAD_BYTES + count * (4 + pageBytes) ||
    bytes.readUInt32LE(end) !== crc32(bytes.subarray(0, end))
  )
    return undefined
  const images = new Map<number, Uint8Array>()
  const first = HEAD_BYTES + 4 * count
  for (let index = 0; index < count; index++) {
    const at = first + index * pageBytes
    images.set(bytes.readUInt32LE(HEAD_BYTES + 4 * index), bytes.subarray(at, at + pageBytes))
  }
  return {
    pageCount: bytes.readUInt32LE(16),
    salts: { first: bytes.readUInt32LE(20), second: bytes.readUInt32LE(24) },
    frame: bytes.readUInt32LE(28),
    point: readPoint(bytes, 36).point,
    stored: readPoint(bytes, 60),
    marked: readPoint(bytes, 84),
    images,
  }
}

/** Puts the state in the place of the one before, durably. On this thread. */
export function writeRewindFile(path: string, pageBytes: number, state: RewindState): void {
  const aside = `${rewindPath(path)}.new`
  const descriptor = openSync(aside, 'w', 0o600)
  try {
    for (const part of encoded(pageBytes, state)) writeAll(descriptor, part)
    fdatasyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(aside, rewindPath(path))
  syncDirectory(dirname(path))
}

/** As `writeRewindFile`, off this thread. */
export async function writeRewindFileAside(
  path: string,
  pageBytes: number,
  state: RewindState,
): Promise<void> {
  const aside = `${rewindPath(path)}.new`
  const file = await open(aside, 'w', 0o600)
  try {
    await file.writev(encoded(pageBytes, state))
    await file.datasync()
  } finally {
    await file.close()
  }
  await rename(aside, rewindPath(path))
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The files lead back to nothing any more; durable when it returns, because an old state would be a wrong one. */
export function removeRewindFile(path: string): void {
  if (!existsSync(rewindPath(path))) return
  rmSync(rewindPath(path), { force: true })
  syncDirectory(dirname(path))
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function encoded(pageBytes: number, state: RewindState): Uint8Array[] {
  const { images } = state
  const head = Buffer.alloc(HEAD_BYTES + 4 * images.size)
  head.write(MAGIC, 'latin1')
  head.writeUInt32LE(VERSION, 8)
  head.writeUInt32LE(pageBytes, 12)
  head.writeUInt32LE(state.pageCount, 16)
  head.writeUInt32LE(state.salts.first, 20)
  head.writeUInt32LE(state.salts.second, 24)
  head.writeUInt32LE(state.frame, 28)
  head.writeUInt32LE(images.size, 32)
  const point = { point: state.point, ahead: false }
  for (const [index, stored] of [point, state.stored, state.marked].entries())
    writePoint(head, 36 + index * POINT_BYTES, stored)
  let at = HEAD_BYTES
  for (const page of images.keys()) at = head.writeUInt32LE(page, at)
  let sum = crc32(head)
  for (const image of images.values()) sum = crc32(image, sum)
  const tail = Buffer.alloc(4)
  tail.writeUInt32LE(sum)
  return [head, ...images.values(), tail]
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(descriptor, bytes, done)
}

function readPoint(bytes: Buffer, at: number): StoredPosition {
  const point = {
    epoch: bytes.readDoubleLE(at),
    lsn: bytes.readDoubleLE(at + 8),
    crc: bytes.readUInt32LE(at + 16),
  }
  return { point, ahead: bytes.readUInt32LE(at + 20) === 1 }
}

function writePoint(bytes: Buffer, at: number, { point: { epoch, lsn, crc }, ahead }: StoredPosition): void {
  bytes.writeDoubleLE(epoch, at)
  bytes.writeDoubleLE(lsn, at + 8)
  bytes.writeUInt32LE(crc, at + 16)
  bytes.writeUInt32LE(ahead ? 1 : 0, at + 20)
}
