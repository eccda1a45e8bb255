/**
 * One segment file as the log knows it: head, size, and a sparse index of places in it.
 *
 * The index has a place about every 64 KiB, so that reading from any LSN skips little; it is built by appending and by
 * reading, and lives in memory alone. A cursor remembers where the last read ended, so that reading on skips nothing.
 */
import type { Lsn } from '@understudy/contracts'
import type { Place } from './scan.ts'
import type { SegmentHeader } from './segment-header.ts'

const INDEX_BYTES = 64 * 1024

export class Segment {
  readonly path: string
  readonly header: SegmentHeader
  /** Size of the file. */
  readonly size: number
  /** Where the next item goes; the size of the file in a segment that is complete and was not read yet. */
  used: number
  readonly #places: Place[]
  #cursor: Place

  constructor(path: string, header: SegmentHeader, size: number) {
    this.path = path
    this.header = header
    this.size = size
    this.used = size
    this.#cursor = { offset: header.bytes, before: header.before }
    this.#places = [this.#cursor]
  }

  get firstLsn(): Lsn {
    return this.header.firstLsn
  }

  /** A known place at or before the record at `lsn`, the nearest there is. */
  placeBefore(lsn: Lsn): Place {
    let low = 0
    let high = this.#places.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#places[middle]!.before.lsn < lsn) low = middle
      else high = middle - 1
    }
    const place = this.#places[low]!
    const cursor = this.#cursor
    return cursor.before.lsn < lsn && cursor.offset > place.offset ? cursor : place
  }

  /** Adds a place to the index when it lies far enough behind the last one. */
  note(place: Place): void {
    if (place.offset - this.#places.at(-1)!.offset >= INDEX_BYTES) this.#places.push(place)
  }

  /** The place where a reader will go on. */
  rememberCursor(place: Place): void {
    this.#cursor = place
  }

  /** Bytes from the record after `lsn` to the end of what is used; an upper bound, at most 64 KiB or one append too much. */
  bytesAfter(lsn: Lsn): number {
    return this.used - this.placeBefore(lsn + 1).offset
  }
}
