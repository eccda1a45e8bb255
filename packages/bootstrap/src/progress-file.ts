/**
 * How far a target file is: what lets a restarted process go on. Two records of one layout, written in turn.
 *
 * ```
 * offset  bytes
 *      0      8  magic "USDYBOOT"
 *      8      4  format version, 1
 *     12      4  CRC-32 of bytes 16..159
 *     16      8  sequence: the valid record with the higher one counts
 *     24      8  bytes of the image, from the start, that are on the disk
 *     32      8  size of the image
 *     40      4  bytes of a chunk
 *     44      4  bytes of a page
 *     48      8  position: epoch
 *     56      8  position: LSN
 *     64      4  position: CRC of the record
 *     68      4  bytes of the id
 *     72     88  id of the snapshot, UTF-8, zeros after it
 * ```
 * Little-endian. Record n (0 or 1) stands at 4096 × n, so that a torn write damages one of them only.
 *
 * 1. A record is written only after what it claims was synced. The record itself need not be: an older one claims less.
 * 2. A record that begins another snapshot is in both places and synced before the first chunk of the new image
 *    overwrites one that an older record claims.
 * 3. No valid record: the target's bytes are a held image that hashes must prove.
 */
import { crc32 } from 'node:zlib'
import type { FileHandle, LogPoint } from '@understudy/contracts'

/** What one record says. */
export interface Progress {
  readonly id: string
  readonly point: LogPoint
  readonly pageBytes: number
  readonly chunkBytes: number
  readonly totalBytes: number
  /** Bytes from the start that are on the disk. */
  readonly offset: number
}

export const PROGRESS_RECORD_BYTES = 160
const SLOT_BYTES = 4096
const MAGIC = Buffer.from('USDYBOOT')
const VERSION = 1
const ID_BYTES_MAX = 88

/** One record. The id has at most 88 bytes. */
export function encodeProgress(progress: Progress, sequence: number): Uint8Array {
  const id = Buffer.from(progress.id)
  const record = Buffer.alloc(PROGRESS_RECORD_BYTES)
  MAGIC.copy(record, 0)
  record.writeUInt32LE(VERSION, 8)
  record.writeBigUInt64LE(BigInt(sequence), 16)
  record.writeBigUInt64LE(BigInt(progress.offset), 24)
  record.writeBigUInt64LE(BigInt(progress.totalBytes), 32)
  record.writeUInt32LE(progress.chunkBytes, 40)
  record.writeUInt32LE(progress.pageBytes, 44)
  record.writeBigUInt64LE(BigInt(progress.point.epoch), 48)
  record.writeBigUInt64LE(BigInt(progress.point.lsn), 56)
  record.writeUInt32LE(progress.point.crc, 64)
  record.writeUInt32LE(id.length, 68)
  id.copy(record, 72)
  record.writeUInt32LE(crc32(record.subarray(16)), 12)
  return record
}

/** Reads one record; `undefined` for anything that is not a whole one of this version. */
export function decodeProgress(bytes: Uint8Array): { progress: Progress; sequence: number } | undefined {
  const record = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (record.length !== PROGRESS_RECORD_BYTES || MAGIC.compare(record, 0, 8) !== 0) return undefined
  if (record.readUInt32LE(8) !== VERSION || record.readUInt32LE(12) !== crc32(record.subarray(16)))
    return undefined
  const idBytes = record.readUInt32LE(68)
  if (idBytes > ID_BYTES_MAX) return undefined
  const progress: Progress = {
    id: record.toString('utf8', 72, 72 + idBytes),
    offset: Number(record.readBigUInt64LE(24)),
    totalBytes: Number(record.readBigUInt64LE(32)),
    chunkBytes: record.readUInt32LE(40),
    pageBytes: record.readUInt32LE(44),
    point: {
      epoch: Number(record.readBigUInt64LE(48)),
      lsn: Number(record.readBigUInt64LE(56)),
      crc: record.readUInt32LE(64),
    },
  }
  const { offset, totalBytes, chunkBytes } = progress
  const sane = chunkBytes > 0 && offset <= totalBytes && (offset === totalBytes || offset % chunkBytes === 0)
  return sane ? { progress, sequence: Number(record.readBigUInt64LE(16)) } : undefined
}

/** The file of the two records. */
export class ProgressFile {
  readonly #handle: FileHandle
  #sequence = 0

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** The newer valid record. */
  read(): Progress | undefined {
    let newest: Progress | undefined
    for (const slot of [0, 1]) {
      const bytes = new Uint8Array(PROGRESS_RECORD_BYTES)
      if (this.#handle.read(bytes, slot * SLOT_BYTES) < bytes.length) continue
      const found = decodeProgress(bytes)
      if (found === undefined || found.sequence < this.#sequence) continue
      this.#sequence = found.sequence
      newest = found.progress
    }
    return newest
  }

  /** Begins another snapshot: when it returns, no record on the disk speaks of the old one. */
  begin(progress: Progress): void {
    this.advance(progress)
    this.advance(progress)
    this.#handle.dataSyncNow()
  }

  /** Claims more of the same snapshot. */
  advance(progress: Progress): void {
    this.#sequence += 1
    this.#handle.write([encodeProgress(progress, this.#sequence)], (this.#sequence % 2) * SLOT_BYTES)
  }

  close(): void {
    this.#handle.close()
  }
}
