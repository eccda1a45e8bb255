/**
 * Protobuf's wire format, as far as row.proto needs it: writing into a buffer that grows, reading without objects.
 *
 * Source: "Encoding" in the protobuf documentation. Wire types used: 0 varint, 1 eight bytes, 2 length and bytes.
 *
 * 1. A writer never checks what it is given; a reader checks that everything lies within its limits before it reads.
 * 2. 64-bit integers travel as two 32-bit halves: a BigInt for each would cost more than all the rest.
 */
import { UnderstudyError } from '@understudy/contracts'

export const VARINT = 0
export const FIXED64 = 1
export const BYTES = 2

/** Copies up to this long go byte by byte: cheaper than a call into the runtime. */
const SHORT_COPY_BYTES = 24

/** The error for a payload that does not keep to row.proto. */
export function corrupt(what: string, offset: number): UnderstudyError {
  return new UnderstudyError(
    'RECORD_CORRUPT',
    `The payload of a row record is damaged: ${what} at byte ${offset}. Nothing of it was applied. ` +
      'Fetch the record again from a node that has it intact, or bootstrap this node anew.',
    { offset },
  )
}

/** Bytes that `value` (0 ≤ value < 2^53) takes as a varint. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  if (value < 0x1000_0000) return 4
  let size = 4
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 128)) size += 1
  return size
}

/** Bytes that a 64-bit integer takes as a zigzag varint. */
export function zigzagSize(high: number, low: number): number {
  const sign = high >> 31
  const zigzagLow = ((low << 1) ^ sign) >>> 0
  const zigzagHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0
  if (zigzagHigh === 0) {
    if (zigzagLow < 0x80) return 1
    if (zigzagLow < 0x4000) return 2
    if (zigzagLow < 0x20_0000) return 3
    return zigzagLow < 0x1000_0000 ? 4 : 5
  }
  // 32 low bits and 3 more fill five groups.
  if (zigzagHigh < 0x8) return 5
  if (zigzagHigh < 0x400) return 6
  if (zigzagHigh < 0x2_0000) return 7
  if (zigzagHigh < 0x100_0000) return 8
  return zigzagHigh < 0x8000_0000 ? 9 : 10
}

/** Appends protobuf fields. */
export class ProtoWriter {
  #buffer: Buffer
  #length = 0

  constructor(bytes: number = 4096) {
    // From the runtime's pool when small: payloads of small groups are many.
    this.#buffer = Buffer.allocUnsafe(bytes)
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

  /** Makes room for `count` more bytes: the methods below do not, except `append`. */
  reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }

  byte(value: number): void {
    this.#buffer[this.#length++] = value
  }

  varint(value: number): void {
    const buffer = this.#buffer
    let rest = value
    while (rest >= 0x8000_0000) {
      buffer[this.#length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    while (rest >= 0x80) {
      buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    buffer[this.#length++] = rest
  }

  /** A 64-bit integer by its halves, zigzag. */
  zigzag(high: number, low: number): void {
    const sign = high >> 31
    let restLow = ((low << 1) ^ sign) >>> 0
    let restHigh = (((high << 1) | (low >>> 31)) ^ sign) >>> 0
    const buffer = this.#buffer
    while (restHigh !== 0 || restLow >= 0x80) {
      buffer[this.#length++] = (restLow & 0x7f) | 0x80
      restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0
      restHigh >>>= 7
    }
    buffer[this.#length++] = restLow
  }

  /** The 8 bytes at `start`, in reverse: big-endian there, little-endian here. */
  reversed8(source: Uint8Array, start: number): void {
    const buffer = this.#buffer
    for (let index = 7; index >= 0; index -= 1) buffer[this.#length++] = source[start + index] as number
  }

  copy(source: Uint8Array, start: number, length: number): void {
    const buffer = this.#buffer
    const at = this.#length
    if (length <= SHORT_COPY_BYTES) {
      for (let index = 0; index < length; index += 1) buffer[at + index] = source[start + index] as number
    } else {
      buffer.set(source.subarray(start, start + length), at)
    }
    this.#length = at + length
  }

  /** A field of bytes: tag, length, content. Makes room for itself. */
  append(tag: number, content: Uint8Array): void {
    this.reserve(content.length + 12)
    this.byte(tag)
    this.varint(content.length)
    this.copy(content, 0, content.length)
  }
}

/** Reads protobuf fields between limits. */
export class ProtoReader {
  readonly bytes: Uint8Array
  offset = 0
  /** Halves of the last 64-bit integer or double read. */
  high = 0
  low = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  /** A length prefix; returns the end of what it spans, within `limit`. */
  span(limit: number): number {
    const length = this.varint(limit)
    const end = this.offset + length
    if (end > limit) throw corrupt('a length beyond its message', this.offset)
    return end
  }

  /** A varint below 2^53. */
  varint(limit: number): number {
    const { bytes } = this
    const begin = this.offset
    let at = begin
    if (at < limit) {
      const first = bytes[at] as number
      if (first < 0x80) {
        this.offset = at + 1
        return first
      }
    }
    let value = 0
    let scale = 1
    for (let count = 0; count < 8 && at < limit; count += 1) {
      const byte = bytes[at++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        this.offset = at
        return value
      }
      scale *= 128
    }
    throw corrupt('a number that is cut off or too large', begin)
  }

  /** A zigzag 64-bit integer into `high` and `low`. */
  zigzag(limit: number): void {
    const { bytes } = this
    const begin = this.offset
    let low = 0
    let high = 0
    for (let count = 0; count < 10; count += 1) {
      if (begin + count >= limit) break
      const byte = bytes[begin + count] as number
      const bits = byte & 0x7f
      if (count < 4) low |= bits << (7 * count)
      else if (count === 4) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (7 * count - 32)
      if (byte >= 0x80) continue
      if (count === 9 && byte > 1) break
      this.offset = begin + count + 1
      const sign = -(low & 1)
      this.low = ((low >>> 1) | (high << 31)) ^ sign
      this.high = (high >>> 1) ^ sign
      return
    }
    throw corrupt('an integer that is cut off or too large', begin)
  }

  /** Eight bytes, little-endian, into `high` and `low`. */
  eight(limit: number): void {
    const { bytes } = this
    const at = this.offset
    if (at + 8 > limit) throw corrupt('a number cut off', at)
    this.low = word(bytes, at)
    this.high = word(bytes, at + 4)
    this.offset = at + 8
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}
