/**
 * Writes changesets byte by byte into a buffer that grows and is reused.
 *
 * 1. The caller writes one header, then changes whose values follow in column order: old ones first, new ones after.
 *    Nothing is checked here; `encodeChangeset` is the checked way.
 * 2. `bytes()` is a view: it holds until the next `reset`.
 */
import {
  TABLE_CHANGESET,
  TABLE_PATCHSET,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_NULL,
  TYPE_REAL,
  TYPE_TEXT,
} from './format.ts'

/** Copies up to this long go byte by byte: cheaper than a call into the runtime. */
const SHORT_COPY_BYTES = 24

/** Appends to a changeset. */
export class ChangesetWriter {
  #buffer: Buffer
  #length = 0

  constructor(bytes: number = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes)
  }

  get length(): number {
    return this.#length
  }

  /** What was written since the last `reset`: a view. */
  bytes(): Uint8Array {
    // Not a Buffer, whose slice() would not copy.
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length)
  }

  /** Begins anew. A buffer over `keepBytes` is given back to the runtime. */
  reset(keepBytes: number = 1 << 22): void {
    this.#length = 0
    if (this.#buffer.length > keepBytes) this.#buffer = Buffer.allocUnsafeSlow(4096)
  }

  /** A table header. `name` is UTF-8 without NUL; `key` as `ChangesetCursor.key`. */
  table(name: Uint8Array, key: Uint8Array, patchset = false): void {
    this.#reserve(name.length + key.length + 16)
    this.#buffer[this.#length++] = patchset ? TABLE_PATCHSET : TABLE_CHANGESET
    this.#varint(key.length)
    this.#buffer.set(key, this.#length)
    this.#length += key.length
    this.#buffer.set(name, this.#length)
    this.#length += name.length
    this.#buffer[this.#length++] = 0
  }

  change(operation: number, indirect = false): void {
    this.#reserve(2)
    const buffer = this.#buffer
    buffer[this.#length++] = operation
    buffer[this.#length++] = indirect ? 1 : 0
  }

  absent(): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = TYPE_ABSENT
  }

  null(): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = TYPE_NULL
  }

  /** A 64-bit integer by its two halves, each taken modulo 2^32. */
  integer(high: number, low: number): void {
    this.#eight(TYPE_INTEGER, high, low)
  }

  /** A double by the two halves of its bits. */
  real(high: number, low: number): void {
    this.#eight(TYPE_REAL, high, low)
  }

  text(source: Uint8Array, start: number, length: number): void {
    this.#string(TYPE_TEXT, source, start, length)
  }

  blob(source: Uint8Array, start: number, length: number): void {
    this.#string(TYPE_BLOB, source, start, length)
  }

  #eight(type: number, high: number, low: number): void {
    this.#reserve(9)
    const buffer = this.#buffer
    const at = this.#length
    buffer[at] = type
    buffer[at + 1] = high >>> 24
    buffer[at + 2] = high >>> 16
    buffer[at + 3] = high >>> 8
    buffer[at + 4] = high
    buffer[at + 5] = low >>> 24
    buffer[at + 6] = low >>> 16
    buffer[at + 7] = low >>> 8
    buffer[at + 8] = low
    this.#length = at + 9
  }

  #string(type: number, source: Uint8Array, start: number, length: number): void {
    this.#reserve(length + 6)
    this.#buffer[this.#length++] = type
    this.#varint(length)
    const buffer = this.#buffer
    const at = this.#length
    if (length <= SHORT_COPY_BYTES) {
      for (let index = 0; index < length; index += 1) buffer[at + index] = source[start + index] as number
    } else {
      buffer.set(source.subarray(start, start + length), at)
    }
    this.#length = at + length
  }

  #varint(value: number): void {
    const buffer = this.#buffer
    if (value < 0x80) {
      buffer[this.#length++] = value
      return
    }
    let shift = value < 1 << 14 ? 7 : value < 1 << 21 ? 14 : value < 1 << 28 ? 21 : 28
    for (; shift > 0; shift -= 7) buffer[this.#length++] = 0x80 | ((value >>> shift) & 0x7f)
    buffer[this.#length++] = value & 0x7f
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }
}
