/**
 * The two checksums of a chunk and the digest of an image, and which SnapshotStart is credible.
 *
 * 1. A chunk is known by the CRC-32 of its bytes (zlib's polynomial), which travels with it and catches damage.
 * 2. A held chunk is known by the first 16 bytes of its SHA-256: two chunks that differ are never taken for equal,
 *    also when someone chose them to be.
 * 3. The digest of an image is SHA-256 over the CRCs of all chunks in order, four bytes each, little-endian: it catches
 *    a chunk that stands in the wrong place, of another snapshot, or that went bad on the disk after it was received.
 */
import { createHash, hash } from 'node:crypto'
import { epochAt, UnderstudyError } from '@understudy/contracts'
import { LIMITS, type SnapshotStart } from '@understudy/protocol'

/** Bytes of a chunk hash. */
export const HASH_BYTES: number = LIMITS.hashBytes

/** Chunks are no larger: a frame with its header fits the limit, and a window holds at least one. */
export const CHUNK_BYTES_MAX: number = LIMITS.frameBytesMax / 2

/** SQLite's own limits of the page size. */
const PAGE_BYTES_MIN = 512
const PAGE_BYTES_MAX = 65_536
const PAGES_MAX = 0xffff_fffe

export function chunkHash(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer').subarray(0, HASH_BYTES)
}

/** Digest of an image from the CRCs of its chunks, in order. */
export function digestOf(crcs: Uint32Array): Uint8Array {
  const hasher = createHash('sha256')
  const block = Buffer.allocUnsafe(4 * Math.min(crcs.length, 16_384))
  let filled = 0
  for (const crc of crcs) {
    block.writeUInt32LE(crc, filled)
    filled += 4
    if (filled < block.length) continue
    hasher.update(block)
    filled = 0
  }
  return hasher.update(block.subarray(0, filled)).digest()
}

/** Geometry of an image in chunks. */
export function chunksOf(totalBytes: number, chunkBytes: number): number {
  return Math.ceil(totalBytes / chunkBytes)
}

/** Throws `PROTOCOL_VIOLATION` for a SnapshotStart that cannot describe the image of a SQLite database. */
export function assertCredible(start: SnapshotStart): void {
  const { pageBytes, totalBytes, chunkBytes, windowBytes, offset, point } = start
  const wrong =
    (!/^[!-~]{1,64}$/.test(start.id) && 'its id is not 1 to 64 printable ASCII characters') ||
    ((pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX || (pageBytes & (pageBytes - 1)) !== 0) &&
      `its page size is ${pageBytes}`) ||
    ((!Number.isSafeInteger(totalBytes) ||
      totalBytes < pageBytes ||
      totalBytes % pageBytes !== 0 ||
      totalBytes / pageBytes > PAGES_MAX) &&
      `its size is ${totalBytes}`) ||
    ((chunkBytes < pageBytes || chunkBytes > CHUNK_BYTES_MAX || chunkBytes % pageBytes !== 0) &&
      `its chunk size is ${chunkBytes}`) ||
    (windowBytes < chunkBytes && `its window of ${windowBytes} bytes holds no chunk`) ||
    ((offset > totalBytes || (offset !== totalBytes && offset % chunkBytes !== 0)) &&
      `it begins at ${offset}`) ||
    (point.lsn > 0 &&
      epochAt(start.history, point.lsn)?.number !== point.epoch &&
      'its history lacks its epoch')
  if (wrong === false) return
  throw new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The peer announced a snapshot that cannot be: ${wrong}. Nothing of it was used; check that both ends are Understudy nodes of matching versions.`,
  )
}
