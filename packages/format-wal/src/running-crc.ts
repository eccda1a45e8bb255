/**
 * CRC-32 over bytes that come in many small pieces: gathered in a buffer, so that the checksum is one call for many.
 *
 * Valid when a piece is never longer than `pieceBytesMax`.
 */
import { crc32 } from 'node:zlib'

const GATHERED_BYTES = 65_536

export class RunningCrc {
  /** Where the caller puts bytes, from `length` on, after `reserve`. */
  readonly gathered: Uint8Array
  /** Bytes gathered; the caller moves it on, or back to where it was at the last `reserve`. */
  length = 0
  readonly #pieceBytesMax: number
  #sum = 0

  constructor(pieceBytesMax: number) {
    this.#pieceBytesMax = pieceBytesMax
    this.gathered = new Uint8Array(GATHERED_BYTES + pieceBytesMax)
  }

  reset(): void {
    this.#sum = 0
    this.length = 0
  }

  /** Makes room for one piece. */
  reserve(): void {
    if (this.length + this.#pieceBytesMax > this.gathered.length) this.#fold()
  }

  addUint32(value: number): void {
    this.reserve()
    const { gathered, length } = this
    gathered[length] = value
    gathered[length + 1] = value >>> 8
    gathered[length + 2] = value >>> 16
    gathered[length + 3] = value >>> 24
    this.length = length + 4
  }

  /** The checksum of all that was gathered since `reset`. */
  get sum(): number {
    this.#fold()
    return this.#sum
  }

  #fold(): void {
    if (this.length > 0) this.#sum = crc32(this.gathered.subarray(0, this.length), this.#sum)
    this.length = 0
  }
}
