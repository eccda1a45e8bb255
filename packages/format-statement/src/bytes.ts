/**
 * Bytes of payloads: a writer that grows, a reader that never leaves its bytes, and the five types of SQLite's values.
 *
 * Numbers of JavaScript and bigints stay apart, because `node:sqlite` binds the first as REAL and the second as INTEGER.
 *
 * 1. The writer's bytes are a view until its next call.
 * 2. Every length that the reader meets is compared with what is left before anything is taken for it.
 */
import { UnderstudyError } from '@understudy/contracts'

/** A value as it is bound, or as a function returns it. */
export type PlainValue = null | number | bigint | string | Uint8Array

const NULL = 0
/** A whole number that fits a JavaScript number: varint of its magnitude. */
const WHOLE = 1
const WHOLE_NEGATIVE = 2
const REAL = 3
const BIG = 4
const BIG_SMALL = 5
const BIG_SMALL_NEGATIVE = 6
const TEXT = 7
const BLOB = 8
/** 0x40 to 0x7f: a text of 0 to 63 bytes. */
const SHORT_TEXT = 0x40
/** 0x80 to 0xff: the numbers 0 to 127. */
const SMALL = 0x80

const VARINT_BYTES_MAX = 8
const SHORT_STRING = 24

export class ByteWriter {
  #buffer: Buffer
  #length = 0

  constructor(size: number = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(size)
  }

  get length(): number {
    return this.#length
  }

  /** Drops everything above `length`. */
  reset(length: number = 0): void {
    this.#length = length
    // One huge group must not hold its memory for ever.
    if (length === 0 && this.#buffer.length > 1 << 22) this.#buffer = Buffer.allocUnsafeSlow(4096)
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#length = this.#buffer.writeUInt32LE(value >>> 0, this.#length)
  }

  /** A whole number from 0 to 2^53 - 1. */
  varint(value: number): void {
    this.#reserve(VARINT_BYTES_MAX)
    let rest = value
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest = rest > 0x7fff_ffff ? Math.floor(rest / 0x80) : rest >>> 7
    }
    this.#buffer[this.#length++] = rest
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Length and content. */
  text(text: string): void {
    const length = Buffer.byteLength(text)
    this.varint(length)
    this.#string(text, length)
  }

  value(value: PlainValue): void {
    if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'bigint') this.#bigint(value)
    else if (value === null) this.byte(NULL)
    else {
      this.byte(BLOB)
      this.varint(value.length)
      this.append(value)
    }
  }

  #text(text: string): void {
    const { length } = text
    if (length < SHORT_STRING) {
      this.#reserve(length + 1)
      const start = this.#length
      let at = start + 1
      let index = 0
      for (; index < length; index += 1) {
        const code = text.charCodeAt(index)
        if (code >= 0x80) break
        this.#buffer[at++] = code
      }
      if (index === length) {
        this.#buffer[start] = SHORT_TEXT | length
        this.#length = at
        return
      }
    }
    const bytes = Buffer.byteLength(text)
    if (bytes < 64) this.byte(SHORT_TEXT | bytes)
    else {
      this.byte(TEXT)
      this.varint(bytes)
    }
    this.#string(text, bytes)
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.byte(REAL)
      this.#reserve(8)
      this.#length = this.#buffer.writeDoubleLE(value, this.#length)
    } else if (value < 0) {
      this.byte(WHOLE_NEGATIVE)
      this.varint(-value)
    } else if (value < 0x80) {
      this.byte(SMALL | value)
    } else {
      this.byte(WHOLE)
      this.varint(value)
    }
  }

  #bigint(value: bigint): void {
    const small = Number(value)
    if (!Number.isSafeInteger(small)) {
      this.byte(BIG)
      this.#reserve(8)
      this.#length = this.#buffer.writeBigInt64LE(BigInt.asIntN(64, value), this.#length)
      return
    }
    this.byte(small < 0 ? BIG_SMALL_NEGATIVE : BIG_SMALL)
    this.varint(Math.abs(small))
  }

  #string(text: string, bytes: number): void {
    this.#reserve(bytes)
    this.#length += this.#buffer.write(text, this.#length, bytes, 'utf8')
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }
}

/** Reads what `ByteWriter` wrote. Throws `RECORD_CORRUPT`. */
export class ByteReader {
  readonly #buffer: Buffer
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, start: number = 0, end: number = bytes.length) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = start
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  byte(): number {
    this.#need(1)
    return this.#buffer[this.#at++] as number
  }

  u32(): number {
    this.#need(4)
    this.#at += 4
    return this.#buffer.readUInt32LE(this.#at - 4)
  }

  varint(): number {
    let value = 0
    let factor = 1
    for (let index = 0; index < VARINT_BYTES_MAX; index += 1) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) {
        // One number has one spelling, so that a payload has one too.
        if ((byte === 0 && index > 0) || !Number.isSafeInteger(value)) break
        return value
      }
      factor *= 0x80
    }
    throw corrupt('a number is not in its shortest form or beyond 2^53')
  }

  /** A count of things that take at least one byte each. */
  count(): number {
    const count = this.varint()
    if (count > this.left) throw corrupt('a count is larger than what follows')
    return count
  }

  /** A view. */
  take(length: number): Uint8Array {
    this.#need(length)
    this.#at += length
    return this.#buffer.subarray(this.#at - length, this.#at)
  }

  text(): string {
    return this.#string(this.varint())
  }

  /** Blobs are views. */
  value(): PlainValue {
    const tag = this.byte()
    if (tag >= SMALL) return tag & 0x7f
    if (tag >= SHORT_TEXT) return this.#string(tag & 0x3f)
    switch (tag) {
      case NULL:
        return null
      case WHOLE:
        return this.varint()
      case WHOLE_NEGATIVE:
        return -this.varint()
      case REAL:
        this.#need(8)
        this.#at += 8
        return this.#buffer.readDoubleLE(this.#at - 8)
      case BIG:
        this.#need(8)
        this.#at += 8
        return this.#buffer.readBigInt64LE(this.#at - 8)
      case BIG_SMALL:
        return BigInt(this.varint())
      case BIG_SMALL_NEGATIVE:
        return -BigInt(this.varint())
      case TEXT:
        return this.#string(this.varint())
      case BLOB:
        return this.take(this.varint())
      default:
        throw corrupt(`a value of unknown type ${tag}`)
    }
  }

  #string(length: number): string {
    this.#need(length)
    const start = this.#at
    this.#at += length
    if (length < SHORT_STRING) {
      let text = ''
      let index = start
      for (; index < this.#at; index += 1) {
        const byte = this.#buffer[index] as number
        if (byte >= 0x80) break
        text += String.fromCharCode(byte)
      }
      if (index === this.#at) return text
    }
    return this.#buffer.toString('utf8', start, this.#at)
  }

  #need(bytes: number): void {
    if (bytes > this.left) throw corrupt('it ends too early')
  }
}

/** `RECORD_CORRUPT`: `what` is wrong with a payload. */
export function corrupt(what: string): UnderstudyError {
  return new UnderstudyError(
    'RECORD_CORRUPT',
    `A statement record cannot be read: ${what}. Nothing of it was applied. The bytes were damaged between the leader's ` +
      'log and here, or are no statement record: check the disk and the memory, then let the node fetch the record anew.',
  )
}
