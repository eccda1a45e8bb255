/**
 * Turns a piece of a segment into records back to back: verifies each and takes the marks out, in place.
 *
 * The hot path of catching a follower up, so it makes no object per record. It checks what `scanItems` checks, apart
 * from the checksums of marks, which no record depends on: every record has its own CRC and its place in the chain.
 *
 * Validity: the chunk belongs to the caller and nobody else has seen it yet.
 */
import { crc32 } from 'node:zlib'
import type { LogPoint, Lsn } from '@understudy/contracts'
import { getUint64, viewOf } from './bytes.ts'
import { looksLikeMark, MARK_BYTES } from './mark.ts'
import { decodeTrusted, misfit, RECORD_HEADER_BYTES, recordBytesAt, recordLsnAt } from './record.ts'

export interface Run {
  /** Bytes of records at the start of the chunk. */
  readonly length: number
  /** The last record of the run; `before` when there is none. */
  readonly end: LogPoint
  /** Bytes of the chunk up to there. */
  readonly consumed: number
  /** Where in the chunk the next item stands, or the bad one. */
  readonly stoppedAt: number
  /**
   * Why it ended: enough was read; the chunk ends before the next item, which needs `needed` bytes of it; or the item
   * that follows is bad.
   */
  readonly stop:
    | { readonly kind: 'enough' }
    | { readonly kind: 'short'; readonly needed: number }
    | { readonly kind: 'bad'; readonly reason: string }
}

/** Compacts records of `chunk`, which begins behind the record `before`, through at most `upTo` and `bytesMax`, but at least one. */
export function compactRecords(chunk: Uint8Array, before: LogPoint, upTo: Lsn, bytesMax: number): Run {
  const view = viewOf(chunk)
  let end = before
  let { lsn, crc } = before
  let at = 0
  let consumed = 0
  let length = 0
  let stop: Run['stop'] = { kind: 'enough' }
  while (lsn < upTo) {
    if (
      at + RECORD_HEADER_BYTES > chunk.length &&
      !(at + MARK_BYTES <= chunk.length && looksLikeMark(view, at))
    ) {
      stop = { kind: 'short', needed: at + RECORD_HEADER_BYTES }
      break
    }
    if (looksLikeMark(view, at)) {
      at += MARK_BYTES
      continue
    }
    const bytes = recordBytesAt(view, at)
    if (bytes === undefined || at + bytes > chunk.length) {
      stop =
        bytes === undefined
          ? { kind: 'bad', reason: 'a length is out of range' }
          : { kind: 'short', needed: at + bytes }
      break
    }
    if (length > 0 && length + bytes > bytesMax) break
    const wrong = judge(chunk, view, at, bytes, end, lsn, crc)
    if (wrong !== undefined) {
      stop = { kind: 'bad', reason: wrong }
      break
    }
    crc = view.getUint32(at, true)
    lsn++
    if (length !== at) chunk.copyWithin(length, at, at + bytes)
    const epoch = getUint64(view, length + 24)
    if (epoch !== end.epoch) end = { epoch, lsn, crc }
    length += bytes
    at += bytes
    consumed = at
  }
  return { length, end: { epoch: end.epoch, lsn, crc }, consumed, stoppedAt: at, stop }
}

/** What is wrong with the record at `at`, which should follow `lsn` and `crc`. `end` has the epoch before it. */
function judge(
  chunk: Uint8Array,
  view: DataView,
  at: number,
  bytes: number,
  end: LogPoint,
  lsn: Lsn,
  crc: number,
): string | undefined {
  if (crc32(chunk.subarray(at + 4, at + bytes)) !== view.getUint32(at, true))
    return 'a record fails its checksum'
  const follows = recordLsnAt(view, at) === lsn + 1 && view.getUint32(at + 8, true) === crc
  const ordinary = view.getUint16(at + 12, true) !== 0 && getUint64(view, at + 24) === end.epoch
  if (follows && ordinary) return undefined
  return misfit({ epoch: end.epoch, lsn, crc }, decodeTrusted(chunk, view, at))?.reason
}
