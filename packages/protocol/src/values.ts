/**
 * SQL values as protobuf: null, 64-bit integer, double, text or blob.
 *
 * A JS number that is a safe integer travels as an integer, every other number (-0, fractions, beyond 2^53, infinities)
 * as a double. A bigint that is safe as a number travels as an `exact` integer, so that it comes back as a bigint, any other as an
 * integer. So every value arrives as it is, and what is bound to a statement there is what would be bound here: SQLite takes a
 * number for a REAL and a bigint for an INTEGER. A NaN is what SQLite makes of it: NULL.
 */
import { plainView, violation, unsendable, type FieldReader, type FieldWriter } from './wire.ts'
import type { Value } from './messages.ts'

// Tags of the members of Value: field number << 3 | wire type.
const NULL = 0x08
const INTEGER = 0x11
const REAL = 0x19
const TEXT = 0x22
const BLOB = 0x2a
const EXACT = 0x31

const SAFE = BigInt(Number.MAX_SAFE_INTEGER)

/** Writes one element of a `repeated Value` field. */
export function writeValue(writer: FieldWriter, field: number, value: Value): void {
  // The lengths of the fixed members are known, so they need no fork: this is the inner loop of a result.
  const raw = writer.raw.uint32((field << 3) | 2)
  if (value === null) {
    raw.uint32(2).uint32(NULL).bool(true)
  } else if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && !Object.is(value, -0))
      raw
        .uint32(9)
        .uint32(INTEGER)
        .fixed32(value >>> 0)
        .sfixed32(Math.floor(value / 0x1_0000_0000))
    else if (Number.isNaN(value)) raw.uint32(2).uint32(NULL).bool(true)
    else raw.uint32(9).uint32(REAL).double(value)
  } else if (typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) !== value) throw unsendable('an integer is beyond 64 bits')
    raw
      .uint32(9)
      .uint32(value >= -SAFE && value <= SAFE ? EXACT : INTEGER)
      .fixed32(Number(value & 0xffff_ffffn))
      .sfixed32(Number(value >> 32n))
  } else if (typeof value === 'string') {
    raw.fork().uint32(TEXT).string(value.toWellFormed()).ldelim()
  } else if (value instanceof Uint8Array) {
    raw.fork().uint32(BLOB).bytes(value).ldelim()
  } else {
    throw unsendable(`a ${typeof value} is no SQL value`)
  }
}

/** Reads the fields of one Value. Blobs are views of the frame. */
export function readValue(reader: FieldReader): Value {
  const raw = reader.raw
  let value: Value | undefined
  while (raw.pos < raw.len) {
    const tag = raw.tag()
    switch (tag) {
      case NULL:
        if (!raw.bool()) throw violation('a null value is not marked so')
        value = null
        break
      case INTEGER:
        value = readInteger(raw.fixed32(), raw.sfixed32())
        break
      case REAL:
        value = readReal(raw.double())
        break
      case TEXT:
        value = raw.stringVerify()
        break
      case BLOB:
        value = plainView(raw.bytes())
        break
      case EXACT:
        value = readExact(raw.fixed32(), raw.sfixed32())
        break
      default:
        throw violation('a value is of a kind that this version does not know')
    }
  }
  if (value === undefined) throw violation('a value is of no kind')
  return value
}

function readInteger(low: number, high: number): number | bigint {
  const value = high * 0x1_0000_0000 + low
  return Number.isSafeInteger(value) ? value : readExact(low, high)
}

function readExact(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}

/** A NaN of a sender in another language is what SQLite makes of it, as on the way out. */
function readReal(value: number): number | null {
  return Number.isNaN(value) ? null : value
}
