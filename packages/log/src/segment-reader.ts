/**
 * Reads records back from segment files, verified, in chunks that are ready to be sent.
 *
 * Everything that a file gives is checked (CRC, chain, LSN) before it leaves. A bad item below the end of the log is
 * damage, whatever it is, because the log knows that a record stood there: `LOG_CORRUPT`.
 *
 * Validity: the descriptor of one segment is kept between reads; `release` closes it before its file is removed or
 * replaced.
 */
import type { EncodedRecords, FileHandle, Files, LogPoint, Lsn } from '@understudy/contracts'
import { corrupt } from './failures.ts'
import { RECORD_HEADER_BYTES } from './record.ts'
import { scanItems, type Place } from './scan.ts'
import type { Segment } from './segment.ts'

export class SegmentReader {
  readonly #files: Files
  #open: { readonly segment: Segment; readonly handle: FileHandle } | undefined

  constructor(files: Files) {
    this.#files = files
  }

  /** Records from `from` through at most `upTo`, both in `segment`; one at least, then as many as fit into `bytesMax`. */
  read(segment: Segment, from: Lsn, upTo: Lsn, bytesMax: number): EncodedRecords {
    const place = this.#placeAt(segment, from - 1)
    const pieces: Uint8Array[] = []
    let length = 0
    let last = from - 1
    let reached = place
    for (const { record, bytes, end } of this.#records(segment, place)) {
      if (pieces.length > 0 && length + bytes.length > bytesMax) break
      appendPiece(pieces, bytes)
      length += bytes.length
      last = record.lsn
      reached = { offset: end, before: { epoch: record.epoch, lsn: record.lsn, crc: record.crc } }
      if (last >= upTo || length >= bytesMax) break
    }
    segment.rememberCursor(reached)
    return { bytes: joined(pieces, length), first: from, last }
  }

  /** The record at `lsn` of `segment`, or the point before its first. */
  pointAt(segment: Segment, lsn: Lsn): LogPoint {
    return this.#placeAt(segment, lsn).before
  }

  release(): void {
    this.#open?.handle.close()
    this.#open = undefined
  }

  /** The place behind the record at `lsn`. */
  #placeAt(segment: Segment, lsn: Lsn): Place {
    const start = segment.placeBefore(lsn + 1)
    if (start.before.lsn === lsn) return start
    for (const { record, end } of this.#records(segment, start)) {
      if (record.lsn !== lsn) continue
      return { offset: end, before: { epoch: record.epoch, lsn, crc: record.crc } }
    }
    throw corrupt(segment.path, start.offset, lsn, 'the segment ends')
  }

  *#records(
    segment: Segment,
    start: Place,
  ): Generator<{ readonly record: LogRecordLike; readonly bytes: Uint8Array; readonly end: number }> {
    let lsn = start.before.lsn
    for (const item of scanItems(this.#handleOf(segment), segment.header, start, segment.used)) {
      if (item.kind === 'bad') throw corrupt(segment.path, item.offset, lsn + 1, item.reason)
      if (item.kind === 'mark') continue
      const { record } = item
      lsn = record.lsn
      segment.note({ offset: item.end, before: { epoch: record.epoch, lsn, crc: record.crc } })
      const { payload } = record
      const bytes = new Uint8Array(
        payload.buffer as ArrayBuffer,
        payload.byteOffset - RECORD_HEADER_BYTES,
        payload.length + RECORD_HEADER_BYTES,
      )
      yield { record, bytes, end: item.end }
    }
  }

  #handleOf(segment: Segment): FileHandle {
    if (this.#open?.segment === segment) return this.#open.handle
    this.release()
    const handle = this.#files.open(segment.path)
    this.#open = { segment, handle }
    return handle
  }
}

type LogRecordLike = LogPoint & { readonly payload: Uint8Array }

/** Joins a piece to the one before where they touch in memory, so that a run of records is copied in one go or not at all. */
function appendPiece(pieces: Uint8Array[], bytes: Uint8Array): void {
  const before = pieces.at(-1)
  if (before !== undefined && before.buffer === bytes.buffer) {
    if (before.byteOffset + before.length === bytes.byteOffset) {
      pieces[pieces.length - 1] = new Uint8Array(
        bytes.buffer as ArrayBuffer,
        before.byteOffset,
        before.length + bytes.length,
      )
      return
    }
  }
  pieces.push(bytes)
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const piece of pieces) {
    bytes.set(piece, offset)
    offset += piece.length
  }
  return bytes
}
