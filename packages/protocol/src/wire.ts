/**
 * Protobuf fields with their checks: what protobufjs' Writer and Reader leave open.
 *
 * Decides: which field values are legal on the wire (safe integers, UTF-8, lengths), and that a nested message cannot
 * read past its own end. Leaves to others: which fields a message has.
 *
 * 1. A writer throws `INVALID_ARGUMENT` for a value that the receiver would refuse.
 * 2. A reader throws `PROTOCOL_VIOLATION`, or an error of protobufjs that `decodeMessage` turns into one.
 * 3. A reader's `bytes` are views of the frame.
 * 4. Nothing is allocated from a count or length that the bytes only claim.
 */
import protobuf from 'protobufjs/minimal.js'
import { UnderstudyError } from '@understudy/contracts'

const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const FIXED32 = 5

/** The bytes "USDY", by which the first message of a dialler begins. */
export const MAGIC = 0x59445355

/** The error for bytes that are no message. */
export function violation(reason: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `The peer sent bytes that are no message: ${reason}. Nothing of the message was used; check that both ends are Understudy nodes.`,
    cause === undefined ? {} : { cause },
  )
}

/** The error for a message that must not be sent. */
export function unsendable(reason: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `The message cannot be sent: ${reason}. Nothing was sent.`)
}

export interface WriteOptions {
  /** Write the field also at its default value: members of a oneof, elements of a repeated field. */
  readonly always?: boolean
}

/** The bytes from `offset` on as a view, a plain Uint8Array also when `bytes` is a Buffer. */
export function plainView(bytes: Uint8Array, offset = 0): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + offset, bytes.byteLength - offset)
}

/** Writes the fields of one message. A field at its default value is left out, as proto3 does. */
export class FieldWriter {
  readonly #writer: protobuf.Writer = protobuf.Writer.create()

  /** `typeByte` begins the frame; without one, the message is to be nested. */
  constructor(typeByte?: number) {
    if (typeByte !== undefined) this.#writer.uint32(typeByte)
  }

  /** The message so far, in bytes. */
  get length(): number {
    return this.#writer.pos
  }

  /** protobufjs' writer, for the loops over values. */
  get raw(): protobuf.Writer {
    return this.#writer
  }

  finish(): Uint8Array {
    return this.#writer.finish(true)
  }

  u64(field: number, value: number, options?: WriteOptions): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw unsendable(`field ${field} is ${value}, not an integer in 0..2^53-1`)
    if (value !== 0 || options?.always === true) this.#writer.uint32((field << 3) | VARINT).uint64(value)
  }

  u32(field: number, value: number, max = 0xffffffff): void {
    if (!Number.isInteger(value) || value < 0 || value > max)
      throw unsendable(`field ${field} is ${value}, not an integer in 0..${max}`)
    if (value !== 0) this.#writer.uint32((field << 3) | VARINT).uint32(value)
  }

  fixed32(field: number, value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
      throw unsendable(`field ${field} is ${value}, not an unsigned 32-bit integer`)
    if (value !== 0) this.#writer.uint32((field << 3) | FIXED32).fixed32(value)
  }

  double(field: number, value: number): void {
    if (!Number.isFinite(value)) throw unsendable(`field ${field} is ${value}`)
    if (!Object.is(value, 0)) this.#writer.uint32((field << 3) | FIXED64).double(value)
  }

  /** 16 lower-case hexadecimal digits as a fixed64. */
  runId(field: number, value: string): void {
    if (!/^[0-9a-f]{16}$/.test(value)) throw unsendable('a run id is not 16 lower-case hexadecimal digits')
    const high = Number.parseInt(value.slice(0, 8), 16)
    const low = Number.parseInt(value.slice(8), 16)
    if (high !== 0 || low !== 0)
      this.#writer
        .uint32((field << 3) | FIXED64)
        .fixed32(low)
        .fixed32(high)
  }

  /** UTF-8 text of at most `bytesMax` bytes; lone surrogates become U+FFFD. */
  text(field: number, value: string, bytesMax: number, options?: WriteOptions): void {
    if (typeof value !== 'string') throw unsendable(`field ${field} is not a string`)
    // A string of n UTF-16 units has at most 3n bytes, so most need no count.
    if (value.length * 3 > bytesMax && Buffer.byteLength(value) > bytesMax)
      throw unsendable(`the text of field ${field} is longer than ${bytesMax} bytes`)
    if (value !== '' || options?.always === true)
      this.#writer.uint32((field << 3) | DELIMITED).string(value.toWellFormed())
  }

  /** Bytes of exactly that length, or none. */
  fixedBytes(field: number, value: Uint8Array, length: number): void {
    if (value.length !== 0 && value.length !== length)
      throw unsendable(`field ${field} has ${value.length} bytes, not ${length}`)
    if (value.length > 0) this.#writer.uint32((field << 3) | DELIMITED).bytes(value)
  }

  /** A nested message. */
  message(field: number, write: (nested: this) => void): void {
    this.#writer.uint32((field << 3) | DELIMITED).fork()
    write(this)
    this.#writer.ldelim()
  }

  /** A nested message that another writer finished. */
  nested(field: number, bytes: Uint8Array): void {
    this.#writer.uint32((field << 3) | DELIMITED).bytes(bytes)
  }

  /** Each item as a nested message of the repeated field. */
  list<T>(field: number, items: readonly T[], countMax: number, write: (item: T) => void): void {
    if (items.length > countMax) throw unsendable(`field ${field} has more than ${countMax} elements`)
    for (const item of items) this.message(field, () => write(item))
  }
}

/** Reads the fields of one message: `while (reader.next()) switch (reader.field) …`, where `default` calls `skip`. */
export class FieldReader {
  /** Number of the field that `next` found. */
  field = 0
  readonly #reader: protobuf.Reader
  #wireType = 0

  /** Reads `frame` from `offset` on. */
  constructor(frame: Uint8Array, offset: number) {
    // A Buffer gives protobufjs' faster reader, whose `bytes` are views.
    this.#reader = protobuf.Reader.create(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength))
    this.#reader.pos = offset
  }

  /** protobufjs' reader, for the loops over values. */
  get raw(): protobuf.Reader {
    return this.#reader
  }

  next(): boolean {
    const reader = this.#reader
    if (reader.pos >= reader.len) return false
    const tag = reader.tag()
    this.field = tag >>> 3
    this.#wireType = tag & 7
    if (this.field === 0) throw violation('a field has number 0')
    return true
  }

  /** Ignores a field that a newer version added. */
  skip(): void {
    // Groups are the only fields that nest without a length; no version of this protocol has them.
    if (this.#wireType === 3 || this.#wireType === 4) throw violation('a field is a group')
    this.#reader.skipType(this.#wireType)
  }

  u64(): number {
    this.#expect(VARINT)
    const value: number | { readonly low: number; readonly high: number } = this.#reader.uint64()
    const number = typeof value === 'number' ? value : (value.high >>> 0) * 0x1_0000_0000 + (value.low >>> 0)
    if (!Number.isSafeInteger(number)) throw violation(`field ${this.field} is beyond 2^53-1`)
    return number
  }

  u32(max = 0xffffffff): number {
    const value = this.u64()
    if (value > max) throw violation(`field ${this.field} is ${value}, beyond ${max}`)
    return value
  }

  fixed32(): number {
    this.#expect(FIXED32)
    return this.#reader.fixed32()
  }

  double(): number {
    this.#expect(FIXED64)
    const value = this.#reader.double()
    if (!Number.isFinite(value)) throw violation(`field ${this.field} is not a finite number`)
    return value
  }

  runId(): string {
    this.#expect(FIXED64)
    const low = this.#reader.fixed32()
    const high = this.#reader.fixed32()
    return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
  }

  text(bytesMax: number): string {
    this.#expect(DELIMITED)
    const reader = this.#reader
    const start = reader.pos
    const length = reader.size()
    if (length > bytesMax) throw violation(`the text of field ${this.field} is longer than ${bytesMax} bytes`)
    reader.pos = start
    return reader.stringVerify()
  }

  /** Bytes of exactly that length, or none; a view of the frame. */
  fixedBytes(length: number): Uint8Array {
    this.#expect(DELIMITED)
    const bytes = this.#reader.bytes()
    if (bytes.length !== 0 && bytes.length !== length)
      throw violation(`field ${this.field} has ${bytes.length} bytes, not ${length}`)
    return plainView(bytes)
  }

  /** A nested message: `read` sees only its bytes. */
  message<T>(read: (nested: this) => T): T {
    this.#expect(DELIMITED)
    const reader = this.#reader
    const length = reader.size()
    const end = reader.pos + length
    const outerEnd = reader.len
    if (end > outerEnd) throw violation(`field ${this.field} ends beyond its message`)
    reader.len = end
    const value = read(this)
    reader.len = outerEnd
    return value
  }

  /** One more element of a repeated field of nested messages. */
  element<T>(list: T[], countMax: number, read: (nested: this) => T): void {
    if (list.length >= countMax) throw violation(`field ${this.field} has more than ${countMax} elements`)
    list.push(this.message(read))
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType)
      throw violation(`field ${this.field} has wire type ${this.#wireType}, not ${wireType}`)
  }
}
