/**
 * Makes damaged frames of sound ones.
 *
 * Decides: how frames are damaged, as bytes, as numbers of the wire and as messages. Leaves to others: whether a frame is
 * one of a stream (`Mutator.stream` reorders), who gets it.
 *
 * 1. The same random generator and the same corpus give the same frames.
 * 2. A frame that is handed out is never a view of the corpus: its receiver may keep it.
 */
import type { SeededRandom } from '@understudy/testkit'
import { MESSAGE_TYPES } from '@understudy/protocol'
import { remake } from './remake.ts'

export type Frame = Uint8Array

/** Numbers at which code goes wrong: limits of bytes, of signed and unsigned integers, of doubles, of our own limits. */
const INTERESTING: readonly bigint[] = [
  0n,
  1n,
  2n,
  127n,
  128n,
  255n,
  256n,
  4095n,
  4096n,
  4097n,
  65_535n,
  65_536n,
  2n ** 24n - 1n,
  2n ** 24n,
  2n ** 24n + 1n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
]
const TYPE_BYTES: readonly number[] = [...Object.values(MESSAGE_TYPES), 0, 8, 15, 50, 127, 255]
/** Inserts that claim or repeat much: long varints, groups, empty nested messages. */
const INSERTS: readonly Frame[] = [
  Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f),
  Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
  Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80),
  new Uint8Array(64).fill(0x0b),
  new Uint8Array(64).fill(0x12),
  new Uint8Array(33).fill(0x0a),
  Uint8Array.of(0xc3, 0x28, 0xed, 0xa0, 0x80, 0x00),
]
const LONG_FRAME_BYTES = 70_000

export class Mutator {
  readonly #random: SeededRandom
  readonly #corpus: readonly Frame[]
  readonly #remakeChance: number

  /**
   * Of an empty corpus only frames that are given can be damaged. `remakeChance`: how often a message is changed behind the
   * decoder, which keeps more connections open than damaged bytes do.
   */
  constructor(random: SeededRandom, corpus: readonly Frame[], remakeChance: number = 0.3) {
    this.#random = random
    this.#corpus = corpus
    this.#remakeChance = remakeChance
  }

  /** A frame of the corpus, damaged. */
  next(): Frame {
    return this.mutate(this.#random.pick(this.#corpus))
  }

  /** A frame of the corpus as it was: a replay. */
  replay(): Frame {
    return Uint8Array.from(this.#random.pick(this.#corpus))
  }

  mutate(frame: Frame): Frame {
    const random = this.#random
    if (random.chance(this.#remakeChance)) return remake(frame, random) ?? this.#bytes(Uint8Array.from(frame))
    let damaged = this.#bytes(Uint8Array.from(frame))
    while (random.chance(0.3)) damaged = this.#bytes(damaged)
    return damaged
  }

  /** What becomes of one frame of a live conversation: usually itself, else nothing, other frames, itself late or twice. */
  stream(frame: Frame, damageChance: number): readonly Frame[] {
    const random = this.#random
    if (!random.chance(damageChance)) return [frame]
    switch (random.below(8)) {
      case 0:
        return []
      case 1:
        return [frame, Uint8Array.from(frame)]
      case 2:
        return this.#corpus.length === 0 ? [] : [this.replay(), frame]
      case 3:
        return this.#corpus.length === 0 ? [] : [frame, this.next()]
      default:
        return [this.mutate(frame)]
    }
  }

  #bytes(bytes: Frame): Frame {
    const random = this.#random
    if (bytes.length === 0) return random.bytes(random.below(8))
    const at = random.below(bytes.length)
    switch (random.below(14)) {
      case 0:
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
        return bytes
      case 2:
        bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
        return bytes
      case 3:
      case 4:
        return this.#number(bytes, at)
      case 5:
        return bytes.slice(0, at)
      case 6:
        return splice(bytes, at, random.below(4) + 1, new Uint8Array())
      case 7:
        return splice(bytes, at, 0, random.pick(INSERTS))
      case 8:
        return splice(bytes, at, 0, random.bytes(1 + random.below(8)))
      case 9:
        return this.#splice(bytes, at)
      case 10:
        return splice(bytes, at, 0, bytes.subarray(at, at + 1 + random.below(64)))
      case 11:
        bytes[0] = random.pick(TYPE_BYTES)
        return bytes
      case 12:
        return random.chance(0.02) ? this.#lengthen(bytes) : bytes.slice(0, random.below(3))
      default:
        return splice(bytes, 1, bytes.length - 1, random.bytes(random.below(48)))
    }
  }

  /** An interesting number of 1, 2, 4 or 8 bytes, often where fixed layouts have one. */
  #number(bytes: Frame, anywhere: number): Frame {
    const random = this.#random
    const width = random.pick([1, 2, 4, 8, 8])
    if (bytes.length < width) return bytes
    const last = bytes.length - width
    const aligned = 1 + width * random.below(Math.max(1, Math.floor(last / width)))
    const at = Math.min(random.chance(0.6) ? aligned : anywhere, last)
    let value = random.pick(INTERESTING)
    if (random.chance(0.1)) value += BigInt(random.below(3)) - 1n
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (width === 8) view.setBigUint64(at, BigInt.asUintN(64, value), random.chance(0.9))
    else if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true)
    else if (width === 2) view.setUint16(at, Number(BigInt.asUintN(16, value)), true)
    else bytes[at] = Number(BigInt.asUintN(8, value))
    return bytes
  }

  /** The beginning of one frame and the end of another. */
  #splice(bytes: Frame, at: number): Frame {
    if (this.#corpus.length === 0) return bytes
    const other = this.#random.pick(this.#corpus)
    const from = this.#random.below(other.length + 1)
    return splice(bytes, at, bytes.length - at, other.subarray(from))
  }

  /** Around the longest frame of a stranger, or far over it. */
  #lengthen(bytes: Frame): Frame {
    const random = this.#random
    const length = random.pick([4095, 4096, 4097, LONG_FRAME_BYTES])
    const long = new Uint8Array(length).fill(random.pick([0, 0x12, 0xff]))
    long.set(bytes.subarray(0, length))
    return long
  }
}

/** `bytes` with `count` bytes at `at` replaced. */
function splice(bytes: Frame, at: number, count: number, insert: Frame): Frame {
  const end = Math.min(bytes.length, at + count)
  const result = new Uint8Array(at + insert.length + bytes.length - end)
  result.set(bytes.subarray(0, at))
  result.set(insert, at)
  result.set(bytes.subarray(end), at + insert.length)
  return result
}
