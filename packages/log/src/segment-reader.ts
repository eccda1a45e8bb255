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
import { compactRecords } from './run.ts'
import { scanItems, type Place } from './scan.ts'
import type { Segment } from './segment.ts'

/** Room for a head and a mark, so that any chunk shows how much more is needed. */
const CHUNK_BYTES_MIN = 4096

export class SegmentReader {
  readonly #files: Files
  #open: { readonly segment: Segment; readonly handle: FileHandle } | undefined

  constructor(files: Files) {
    this.#files = files
  }

  /** Records from `from` through at most `upTo`, both in `segment`; one at least, then as many as fit into `bytesMax`. */
  read(segment: Segment, from: Lsn, upTo: Lsn, bytesMax: number): EncodedRecords {
    const place = this.#placeAt(segment, from - 1)
    let chunk = this.#chunk(segment, place.offset, Math.max(bytesMax, CHUNK_BYTES_MIN))
    let run = compactRecords(chunk, place.before, upTo, bytesMax)
    // The first record may be larger than the chunk: its header says how large, and whether that can be true.
    while (run.length === 0 && run.stop.kind === 'short' && place.offset + run.stop.needed <= segment.used) {
      chunk = this.#chunk(segment, place.offset, run.stop.needed)
      run = compactRecords(chunk, place.before, upTo, bytesMax)
    }
    if (run.length === 0) {
      const reason = run.stop.kind === 'bad' ? run.stop.reason : 'the records end'
      throw corrupt(segment.path, place.offset + run.stoppedAt, from, reason)
    }
    const reached = { offset: place.offset + run.consumed, before: run.end }
    segment.note(reached)
    segment.rememberCursor(reached)
    return { bytes: chunk.subarray(0, run.length), first: from, last: run.end.lsn }
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
    let before = start.before
    if (before.lsn === lsn) return start
    for (const item of scanItems(this.#handleOf(segment), segment.header, start, segment.used)) {
      if (item.kind === 'bad') throw corrupt(segment.path, item.offset, before.lsn + 1, item.reason)
      if (item.kind === 'mark') continue
      before = { epoch: item.record.epoch, lsn: item.record.lsn, crc: item.record.crc }
      const place = { offset: item.end, before }
      segment.note(place)
      if (before.lsn === lsn) return place
    }
    throw corrupt(segment.path, start.offset, lsn, 'the segment ends')
  }

  #chunk(segment: Segment, offset: number, bytes: number): Uint8Array {
    const chunk = new Uint8Array(Math.min(bytes, segment.used - offset))
    return chunk.subarray(0, this.#handleOf(segment).read(chunk, offset))
  }

  #handleOf(segment: Segment): FileHandle {
    if (this.#open?.segment === segment) return this.#open.handle
    this.release()
    const handle = this.#files.open(segment.path)
    this.#open = { segment, handle }
    return handle
  }
}
