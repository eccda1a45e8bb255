/**
 * FNV-1a of the eight bytes of a number, lowest first, as YCSB spreads its keys (`Utils.fnvhash64`; the algorithm of Fowler,
 * Noll and Vo). The absolute value of the signed result. Pure.
 *
 * Two halves of 32 bits: big integers would cost more than a read of the database does.
 */

const OFFSET_HIGH = 0xcbf29ce4
const OFFSET_LOW = 0x84222325
/** The prime is 2^40 + 435. */
const PRIME_LOW = 435
const UINT32 = 2 ** 32

export interface Hash {
  /** Upper and lower 32 bits. */
  readonly high: number
  readonly low: number
}

/** `value`: a whole number from 0, at most 2^53. */
export function fnv64(value: number): Hash {
  let high = OFFSET_HIGH
  let low = OFFSET_LOW
  let rest = value
  for (let octet = 0; octet < 8; octet++) {
    low = (low ^ (rest % 256)) >>> 0
    rest = Math.floor(rest / 256)
    const product = low * PRIME_LOW
    const shifted = Math.imul(low, 256)
    high = (Math.imul(high, PRIME_LOW) + Math.floor(product / UINT32) + shifted) >>> 0
    low = product % UINT32
  }
  return high >= 0x80000000 ? negated(high, low) : { high, low }
}

/** The hash modulo a number of items beneath 94 million, at which the products of the halves would no longer be exact. */
export function fnv64Modulo(value: number, items: number): number {
  const { high, low } = fnv64(value)
  return ((high % items) * (UINT32 % items) + (low % items)) % items
}

/** In decimal digits, as YCSB has it in its keys. */
export function fnv64Text(value: number): string {
  const { high, low } = fnv64(value)
  return String((BigInt(high) << 32n) | BigInt(low))
}

function negated(high: number, low: number): Hash {
  const negatedLow = (UINT32 - low) % UINT32
  return { high: (~high + (negatedLow === 0 ? 1 : 0)) >>> 0, low: negatedLow }
}
