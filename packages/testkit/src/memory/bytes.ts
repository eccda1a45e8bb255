/** Reading and writing the integers and texts of the in-memory formats; every read checks its bounds. */
import { UnderstudyError, type ErrorCode } from '@understudy/contracts'

export class ByteWriter {
  #bytes: Buffer = Buffer.allocUnsafe(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** An unsigned integer below 2^53, seven bits a byte, least significant first (LEB128). */
  integer(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
  }

  /** Length in bytes, then UTF-8. */
  text(value: string): void {
    const length = Buffer.byteLength(value)
    this.integer(length)
    this.#reserve(length)
    this.#bytes.write(value, this.#length)
    this.#length += length
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, 0, this.#length)
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.byteLength) return
    const grown = Buffer.allocUnsafe(Math.max(this.#length + count, this.#bytes.byteLength * 2))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}

export class ByteReader {
  readonly #bytes: Buffer
  readonly #code: ErrorCode
  #at = 0

  /** `code`: of the error that malformed bytes raise. */
  constructor(bytes: Uint8Array, code: ErrorCode) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#code = code
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at
  }

  integer(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 8; count++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (Number.isSafeInteger(value)) return value
        break
      }
      scale *= 0x80
    }
    return this.fail('an integer is cut off or too large')
  }

  text(): string {
    const length = this.integer()
    if (length > this.left) this.fail('a text is cut off')
    this.#at += length
    return this.#bytes.toString('utf8', this.#at - length, this.#at)
  }

  fail(what: string): never {
    throw new UnderstudyError(this.#code, `Malformed bytes at offset ${this.#at}: ${what}.`)
  }
}
