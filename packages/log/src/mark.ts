/**
 * Append marks: the local framing of a segment.
 *
 * Every append writes one mark and its records behind it. The mark says up to which LSN the log was synced before
 * this append, so that recovery can tell an unsynced tail from damage. Marks never leave the node.
 *
 * Layout, little-endian: 0 crc u32 over everything after it | 4 0xffffffff (no record has this length) |
 * 8 salt of the segment, 8 bytes | 16 LSN of the next record u64 | 24 synced LSN u64
 *
 * Validity: 1. the CRC matches; 2. the salt is the segment's, so that a mark of a recycled file's former life never
 * counts; 3. synced is below the next LSN.
 */
import { crc32 } from 'node:zlib'
import type { Lsn } from '@understudy/contracts'
import { getUint64, setUint64, viewOf } from './bytes.ts'

export const MARK_BYTES = 32

const MARK_LENGTH = 0xffff_ffff

export interface Mark {
  /** LSN of the record behind the mark. */
  readonly next: Lsn
  /** Everything up to here was durable when the mark was written. */
  readonly synced: Lsn
}

export function encodeMark(target: Uint8Array, view: DataView, salt: Uint8Array, mark: Mark): void {
  view.setUint32(4, MARK_LENGTH, true)
  target.set(salt, 8)
  setUint64(view, 16, mark.next)
  setUint64(view, 24, mark.synced)
  view.setUint32(0, crc32(target.subarray(4, MARK_BYTES)), true)
}

/** Whether a mark, not a record, is claimed to stand at `offset`. */
export function looksLikeMark(view: DataView, offset: number): boolean {
  return view.getUint32(offset + 4, true) === MARK_LENGTH
}

/** The mark at `offset`; `undefined` when the bytes there are no sound mark of this segment. */
export function decodeMark(bytes: Uint8Array, offset: number, salt: Uint8Array): Mark | undefined {
  if (offset < 0 || offset + MARK_BYTES > bytes.length) return undefined
  const view = viewOf(bytes)
  if (!looksLikeMark(view, offset)) return undefined
  if (crc32(bytes.subarray(offset + 4, offset + MARK_BYTES)) !== view.getUint32(offset, true))
    return undefined
  for (let i = 0; i < 8; i++) if (bytes[offset + 8 + i] !== salt[i]) return undefined
  const next = getUint64(view, offset + 16)
  const synced = getUint64(view, offset + 24)
  return Number.isSafeInteger(next) && synced < next ? { next, synced } : undefined
}

/** Offset of the first sound mark at or after `from`, and the mark. Searches bytes of any content. */
export function findMark(
  bytes: Uint8Array,
  from: number,
  salt: Uint8Array,
): { readonly offset: number; readonly mark: Mark } | undefined {
  const haystack = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const needle = Buffer.concat([Buffer.of(0xff, 0xff, 0xff, 0xff), salt])
  for (let at = haystack.indexOf(needle, from); at !== -1; at = haystack.indexOf(needle, at + 1)) {
    const mark = at - 4 < from ? undefined : decodeMark(bytes, at - 4, salt)
    if (mark !== undefined) return { offset: at - 4, mark }
  }
  return undefined
}
