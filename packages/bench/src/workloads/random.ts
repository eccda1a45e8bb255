/** Numbers from a `Random`: seeded, uniform, text. Pure. */
import type { Random } from '@understudy/contracts'

const UINT32 = 2 ** 32

/** SplitMix32 (Steele, Lea, Flood 2014, with the 32-bit finalizer of MurmurHash3): the same numbers for the same seed. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return {
    uint32: () => {
      state = (state + 0x9e3779b9) >>> 0
      let mixed = state ^ (state >>> 16)
      mixed = Math.imul(mixed, 0x85ebca6b)
      mixed ^= mixed >>> 13
      mixed = Math.imul(mixed, 0xc2b2ae35)
      return (mixed ^ (mixed >>> 16)) >>> 0
    },
  }
}

/** In [0, 1), with 53 bits. */
export function unit(random: Random): number {
  return ((random.uint32() >>> 5) * 2 ** 26 + (random.uint32() >>> 6)) / 2 ** 53
}

/** A whole number in [0, below). The bias for a limit beneath 2³² is smaller than one in two million for a million. */
export function below(random: Random, limit: number): number {
  return Math.floor(unit(random) * limit)
}

/** A whole number from `least` to `most`, both included. */
export function between(random: Random, least: number, most: number): number {
  return least + below(random, most - least + 1)
}

/** Characters that a compressor makes little of: base 36. */
export function text(random: Random, length: number): string {
  let made = ''
  while (made.length < length) made += (random.uint32() / UINT32).toString(36).slice(2, 8)
  return made.slice(0, length)
}

export function bytes(random: Random, length: number): Uint8Array {
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => random.uint32())
  return new Uint8Array(words.buffer, 0, length)
}
