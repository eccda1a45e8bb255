/**
 * Unsigned integers of variable length: seven bits a byte, low ones first, the high bit says that more follow.
 *
 * Decides: at most five bytes, so values below 2^35. Leaves to others: what a value may be.
 */
import { corrupt } from './errors.ts'

/** Bytes of the longest. */
export const VARINT_BYTES_MAX = 5

/** Writes `value` at `at`; returns where it ends. The caller has made room. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value
  while (rest >= 0x80) {
    target[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[at] = rest
  return at + 1
}

export function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1
  return bytes
}

/** Reads `bytes[at, end)`. What would go beyond throws `RECORD_CORRUPT`. */
export class VarintReader {
  readonly #bytes: Uint8Array
  readonly #end: number
  at: number

  constructor(bytes: Uint8Array, at: number, end: number = bytes.length) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  get atEnd(): boolean {
    return this.at === this.#end
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < VARINT_BYTES_MAX; count += 1) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    throw corrupt(`the number at offset ${this.at - VARINT_BYTES_MAX} of its body has no end`)
  }

  byte(): number {
    if (this.at >= this.#end) throw corrupt('its body is cut')
    return this.#bytes[this.at++] as number
  }

  uint32(): number {
    const low = this.byte() | (this.byte() << 8) | (this.byte() << 16)
    return low + this.byte() * 0x100_0000
  }

  skip(bytes: number): void {
    if (bytes > this.#end - this.at) throw corrupt('its body is cut')
    this.at += bytes
  }
}
