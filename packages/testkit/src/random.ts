/**
 * Seeded randomness for simulations: the same seed gives the same draws on every machine.
 *
 * Decides: the generator (sfc32 of PractRand, 128 bits of state, passes its 32 TiB test) and how seeds become states.
 * Leaves to others: what is drawn, and for which concern.
 *
 * 1. A fork depends on the seed and the label alone, not on draws made before: one more draw for the network does not
 *    shift the draws of the disk. Give each concern its fork.
 * 2. Not for secrets.
 */
import { UnderstudyError, type Random } from '@understudy/contracts'

export class SeededRandom implements Random {
  /** What a test prints, so that a failure can be replayed. */
  readonly seed: string
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number | string) {
    this.seed = String(seed)
    const state = hashSeed(this.seed)
    this.#a = state[0]
    this.#b = state[1]
    this.#c = state[2]
    for (let round = 0; round < 12; round++) this.uint32()
  }

  /** An independent generator for one concern. */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.seed}/${label}`)
  }

  /** A uniform integer in [0, 2^32). */
  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0
    return result >>> 0
  }

  /** Uniform in [0, 1), 53 bits. */
  fraction(): number {
    return ((this.uint32() >>> 5) * 0x4000000 + (this.uint32() >>> 6)) / 0x20000000000000
  }

  /** A uniform integer in [0, limit); `limit` from 1 to 2^53. */
  below(limit: number): number {
    if (!(limit >= 1))
      throw new UnderstudyError('INVALID_ARGUMENT', `below(${limit}): the limit must be at least 1.`)
    return Math.floor(this.fraction() * limit)
  }

  /** A uniform integer from `min` through `max`. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** True with this probability; always draws once. */
  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  /** One of the items; throws `INVALID_ARGUMENT` when there are none. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.below(last + 1)
      const kept = items[last] as T
      items[last] = items[other] as T
      items[other] = kept
    }
    return items
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += 4) {
      const word = this.uint32()
      bytes[at] = word
      if (at + 1 < length) bytes[at + 1] = word >>> 8
      if (at + 2 < length) bytes[at + 2] = word >>> 16
      if (at + 3 < length) bytes[at + 3] = word >>> 24
    }
    return bytes
  }
}

/** A span of milliseconds to draw from, or a fixed number of them. */
export type Span = number | { readonly min: number; readonly max: number }

/** A draw from the span, with a fraction; a fixed number draws nothing. */
export function drawSpan(random: SeededRandom, span: Span): number {
  return typeof span === 'number' ? span : span.min + random.fraction() * (span.max - span.min)
}

/** Three words from a text: FNV-1a with three bases, each finished by the mixer of MurmurHash3. */
function hashSeed(text: string): [number, number, number] {
  let a = 0x811c9dc5
  let b = 0x9e3779b9
  let c = 0x85ebca6b
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b ^ code, 0x01000193) + 0x7f4a7c15
    c = Math.imul(c ^ (code + at), 0x5bd1e995)
  }
  return [mix(a), mix(b), mix(c)]
}

function mix(word: number): number {
  let mixed = word ^ (word >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
