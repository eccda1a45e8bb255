/**
 * Reads a segment item by item, verifying everything: the one place that decides what the bytes of a segment mean.
 *
 * An item is a mark or a record. Every record must pass its CRC and follow the one before (LSN, predecessor's CRC,
 * epoch). Leaves to others what a bad item means: recovery, reading and the tool each judge it differently.
 *
 * Validity: 1. the start point names a place between two items with the LSN, epoch and CRC before it; 2. memory for a
 * record is taken only after its length was found to fit into the file.
 */
import type { FileHandle, LogPoint, LogRecord } from '@understudy/contracts'
import { viewOf } from './bytes.ts'
import { decodeMark, looksLikeMark, MARK_BYTES, type Mark } from './mark.ts'
import { decodeRecord, misfit, RECORD_HEADER_BYTES, recordBytesAt } from './record.ts'
import type { SegmentHeader } from './segment-header.ts'

const WINDOW_BYTES = 256 * 1024

/** A place between two items: `offset` in the file, `before` the record in front of it. */
export interface Place {
  readonly offset: number
  readonly before: LogPoint
}

export type Item =
  | { readonly kind: 'record'; readonly offset: number; readonly end: number; readonly record: LogRecord }
  | { readonly kind: 'mark'; readonly offset: number; readonly end: number; readonly mark: Mark }
  /** Neither: the end of what was written, a torn write, or damage. Nothing comes after it. */
  | { readonly kind: 'bad'; readonly offset: number; readonly reason: string }

/** Bytes of a file, read ahead in windows that are never written to again, so views of them may be kept. */
class Window {
  readonly #handle: FileHandle
  readonly #size: number
  #bytes: Uint8Array = new Uint8Array(0)
  #start = 0
  view: DataView = viewOf(this.#bytes)

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle
    this.#size = size
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Index of `offset` in `bytes`, with at least `length` bytes there; `undefined` beyond the end of the file. */
  at(offset: number, length: number): number | undefined {
    if (offset + length > this.#size) return undefined
    if (offset < this.#start || offset + length > this.#start + this.#bytes.length) {
      const wanted = new Uint8Array(Math.min(Math.max(length, WINDOW_BYTES), this.#size - offset))
      this.#bytes = wanted.subarray(0, this.#handle.read(wanted, offset))
      this.#start = offset
      this.view = viewOf(this.#bytes)
      if (this.#bytes.length < length) return undefined
    }
    return offset - this.#start
  }
}

/** Yields items from `from` to the first bad one, which is the last item yielded, up to `size` bytes of the file. */
export function* scanItems(
  handle: FileHandle,
  header: SegmentHeader,
  from: Place,
  size: number,
): Generator<Item> {
  const window = new Window(handle, size)
  let { offset, before } = from
  for (;;) {
    const item = itemAt(window, header, offset, before)
    yield item
    if (item.kind === 'bad') return
    if (item.kind === 'record') before = item.record
    offset = item.end
  }
}

function itemAt(window: Window, header: SegmentHeader, offset: number, before: LogPoint): Item {
  const bad = (reason: string): Item => ({ kind: 'bad', offset, reason })
  const head = window.at(offset, 8)
  if (head === undefined) return bad('the file ends')
  if (looksLikeMark(window.view, head)) {
    const at = window.at(offset, MARK_BYTES)
    const mark = at === undefined ? undefined : decodeMark(window.bytes, at, header.salt)
    if (mark === undefined) return bad('a mark fails its checksum')
    if (mark.next !== before.lsn + 1) return bad(`a mark names ${mark.next} as the next record`)
    return { kind: 'mark', offset, end: offset + MARK_BYTES, mark }
  }
  const length = recordBytesAt(window.view, head) ?? Infinity
  const at = window.at(offset, length)
  if (at === undefined) return bad('a record is longer than the file')
  const record = decodeRecord(window.bytes, window.view, at)
  if (record === undefined) return bad('a record fails its checksum')
  const wrong = misfit(before, record)
  if (wrong !== undefined) return bad(wrong.reason)
  return { kind: 'record', offset, end: offset + RECORD_HEADER_BYTES + record.payload.length, record }
}
