/**
 * Frames that are compressed on their own, by zstd (RFC 8878), between ends that authenticated and both asked for it.
 *
 *     type byte 8 | u32 bytes of the frame inside | the frame inside, compressed
 *
 * Decides: which frames are worth it, and that no peer makes more bytes of few than it may. Leaves to others: who may
 * compress at all (`Connection.trust`).
 *
 * 1. Memory is taken for the length that is announced only after it was found within the limit of frames, and zstd may
 *    not write beyond it.
 * 2. A frame inside a frame is not compressed again.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { UnderstudyError } from '@understudy/contracts'
import { plainView, violation } from './wire.ts'

/** The type byte of a compressed frame; it stands for no message of its own. */
export const COMPRESSED = 8

const HEADER = 5
/** Shorter frames do not get shorter by enough. */
const BYTES_MIN = 256
/** A frame that does not lose an eighth travels as it is, and as many after it are not tried. */
const SKIP = 15
/** The cheapest level that still finds repetitions: the network waits for it. */
const LEVEL = 1

/** What both directions of one connection remember. */
export class Compressor {
  #skip = 0

  /** The parts of a frame, shorter if that is worth it. */
  compress(parts: readonly Uint8Array[]): readonly Uint8Array[] {
    let length = 0
    for (const part of parts) length += part.length
    if (length < BYTES_MIN) return parts
    if (this.#skip > 0) {
      this.#skip -= 1
      return parts
    }
    const whole = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, length)
    const packed = zstdCompressSync(whole, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })
    if (packed.length + HEADER > length - length / 8) {
      this.#skip = SKIP
      return parts
    }
    const header = Buffer.alloc(HEADER)
    header[0] = COMPRESSED
    header.writeUInt32LE(length, 1)
    return [header, packed]
  }

  /** The frame inside, at most `bytesMax` long. Throws `FRAME_TOO_LARGE` or `PROTOCOL_VIOLATION`. */
  expand(frame: Uint8Array, bytesMax: number): Uint8Array {
    if (frame.length <= HEADER) throw violation('a compressed frame is cut')
    const length = new DataView(frame.buffer, frame.byteOffset).getUint32(1, true)
    if (length > bytesMax)
      throw new UnderstudyError(
        'FRAME_TOO_LARGE',
        `The peer announced ${length} bytes inside a compressed frame, where ${bytesMax} are accepted. No memory was taken for it; the connection was ended.`,
        { length, frameBytesMax: bytesMax },
      )
    if (length === 0) throw violation('a compressed frame is empty inside')
    let inside: Uint8Array
    try {
      inside = plainView(zstdDecompressSync(frame.subarray(HEADER), { maxOutputLength: length }))
    } catch (error) {
      throw violation('a compressed frame does not decompress to what it announced', error)
    }
    if (inside.length !== length)
      throw violation(`a compressed frame holds ${inside.length} bytes where ${length} were announced`)
    if (inside[0] === COMPRESSED) throw violation('a compressed frame holds another one')
    return inside
  }
}
