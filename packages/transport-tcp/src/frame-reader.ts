/**
 * Cuts a byte stream into frames: each is a u32 length, little-endian, and that many bytes.
 *
 * Decides: where frames begin and end, and when memory is taken for one. Leaves to others: where the bytes come from and
 * what frames mean.
 *
 * 1. A length over the limit is refused when its fourth byte is there, before any memory is taken.
 * 2. A frame that lies whole in one chunk is a view of it. Any other is copied into memory of its own, which is taken as
 *    its bytes come: never more than `FIRST_BYTES`, or `GROWTH` times what came. A length alone reserves nothing.
 * 3. Frames are never written to after they were handed out; chunks must not be either.
 * 4. Bytes come as chunks (`push`), or are read into the memory that `memory` offers (`filled`): what is still to come of
 *    a frame goes straight to its place then, and a frame that its block has room for is a view of the block.
 * 5. `take` hands out one frame at a time, so that its caller can stop between two of the same chunk.
 */
import { UnderstudyError } from '@understudy/contracts'

const PREFIX_BYTES = 4
/** A frame of one read of 64 KiB with its header, or less, gets all of its memory at once. */
const FIRST_BYTES = 68 * 1024
/** So that a frame of 256 KiB, of which one read is there, is not copied a second time. */
const GROWTH = 4
/** Memory for reads is cut from blocks, as much as each read took. They grow to this size with what came. */
const BLOCK_BYTES = 256 * 1024
/** A connection of which nothing is known yet has no more. */
const FIRST_BLOCK_BYTES = 4 * 1024
/** With less than this part of a block left, a new one is begun. */
const READ_PART_MIN = 4
/** After a frame of so many bytes, up to the size of a block, the next block fits another one like it exactly. */
const FITTED_BYTES_MIN = 32 * 1024

export class FrameReader {
  /** What came and was not handed out. Only the last chunk: `take` moves everything before into `#frame`. */
  #chunk: Uint8Array = new Uint8Array(0)
  #offset = 0
  readonly #prefix: Uint8Array = new Uint8Array(PREFIX_BYTES)
  #prefixFilled = 0
  /** Length of the frame under way; -1 when none is. */
  #frameLength = -1
  #frame: Uint8Array | undefined
  #frameFilled = 0
  #block: Uint8Array = new Uint8Array(0)
  #blockUsed = 0
  /** Bytes that were read into blocks; counted until they are as large as they get. */
  #blocksFilled = 0
  /** What `memory` offered last: the rest of the frame under way, or of the block. */
  #offered: Uint8Array = this.#block
  /** Length of the frame that was handed out last. */
  #lastLength = 0

  /** Whether the stream, should it end here, would end between two frames. */
  get isBetweenFrames(): boolean {
    return this.#prefixFilled === 0 && this.#frameLength === -1 && this.#offset === this.#chunk.length
  }

  /** What the frame under way announced; 0 when it has not yet, or there is none. */
  get announced(): number {
    return Math.max(this.#frameLength, 0)
  }

  /** Adds a chunk. The one before must be used up: `take` returned undefined. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#offset = 0
  }

  /** Memory for the next read. */
  memory(): Uint8Array {
    this.#offered = this.#restOfFrame() ?? this.#restOfBlock()
    return this.#offered
  }

  /** Undefined when no frame has memory to fill, or bytes not taken yet belong before those of the next read. */
  #restOfFrame(): Uint8Array | undefined {
    const frame = this.#frame
    if (frame === undefined || this.#frameFilled === frame.length || this.#offset < this.#chunk.length)
      return undefined
    if (frame.buffer === this.#block.buffer) return this.#block.subarray(frame.byteOffset + this.#frameFilled)
    return frame.subarray(this.#frameFilled)
  }

  #restOfBlock(): Uint8Array {
    const last = this.#lastLength
    const fitted = last >= FITTED_BYTES_MIN && last <= BLOCK_BYTES
    const { length } = this.#block
    if (fitted || length - this.#blockUsed <= length / READ_PART_MIN) {
      const bytes = Math.min(BLOCK_BYTES, Math.max(FIRST_BLOCK_BYTES, this.#blocksFilled * GROWTH))
      this.#block = allocate(fitted ? PREFIX_BYTES + last : bytes)
      this.#blockUsed = 0
    }
    return this.#block.subarray(this.#blockUsed)
  }

  /** So many bytes were read into what `memory` offered last. As with `push`, all bytes before are used up. */
  filled(count: number): void {
    const offered = this.#offered
    const frame = this.#frame
    let ofFrame = 0
    if (frame?.buffer === offered.buffer && offered.byteOffset === frame.byteOffset + this.#frameFilled) {
      ofFrame = Math.min(count, frame.length - this.#frameFilled)
      this.#frameFilled += ofFrame
    }
    if (this.#blocksFilled < BLOCK_BYTES) this.#blocksFilled += count
    if (offered.buffer === this.#block.buffer)
      this.#blockUsed = Math.max(this.#blockUsed, offered.byteOffset + count)
    this.push(offered.subarray(ofFrame, count))
  }

  /** The next frame, or undefined when more bytes are needed. Throws `FRAME_TOO_LARGE`. */
  take(frameBytesMax: number): Uint8Array | undefined {
    if (this.#frameLength === -1) {
      const length = this.#takeLength()
      if (length === -1) return undefined
      if (length > frameBytesMax) throw tooLarge(length, frameBytesMax)
      this.#frameLength = length
    }
    return this.#frame === undefined ? this.#takeWhole() : this.#takeRest(this.#frame)
  }

  #takeLength(): number {
    const chunk = this.#chunk
    const at = this.#offset
    if (this.#prefixFilled === 0 && chunk.length - at >= PREFIX_BYTES) {
      this.#offset = at + PREFIX_BYTES
      return lengthAt(chunk, at)
    }
    const count = Math.min(PREFIX_BYTES - this.#prefixFilled, chunk.length - at)
    this.#prefix.set(chunk.subarray(at, at + count), this.#prefixFilled)
    this.#prefixFilled += count
    this.#offset = at + count
    if (this.#prefixFilled < PREFIX_BYTES) return -1
    this.#prefixFilled = 0
    return lengthAt(this.#prefix, 0)
  }

  #takeWhole(): Uint8Array | undefined {
    const length = this.#frameLength
    const chunk = this.#chunk
    const at = this.#offset
    const there = chunk.length - at
    if (there < length) {
      if (this.#blockHasRoom(length - there)) return this.#keepInBlock(length, there)
      this.#frameFilled = 0
      return this.#takeRest(allocate(roomFor(length, there)))
    }
    this.#offset = at + length
    this.#frameLength = -1
    this.#lastLength = length
    return new Uint8Array(chunk.buffer, chunk.byteOffset + at, length)
  }

  #takeRest(memory: Uint8Array): Uint8Array | undefined {
    let frame = memory
    const length = this.#frameLength
    const chunk = this.#chunk
    const at = this.#offset
    const count = Math.min(length - this.#frameFilled, chunk.length - at)
    const filled = this.#frameFilled + count
    if (filled > frame.length) {
      const larger = allocate(roomFor(length, filled))
      larger.set(frame.subarray(0, this.#frameFilled))
      frame = larger
    }
    this.#frame = frame
    frame.set(chunk.subarray(at, at + count), this.#frameFilled)
    this.#frameFilled = filled
    this.#offset = at + count
    if (filled < length) return undefined
    this.#frame = undefined
    this.#frameLength = -1
    this.#lastLength = length
    return frame
  }

  /** Whether the chunk is what was read into the block last, and so much more fits behind it. */
  #blockHasRoom(bytes: number): boolean {
    const { buffer, byteOffset, length } = this.#chunk
    const { buffer: memory, length: blockBytes } = this.#block
    return (
      buffer === memory && byteOffset + length === this.#blockUsed && blockBytes - this.#blockUsed >= bytes
    )
  }

  /** A frame of which the last bytes of the block are the beginning: the rest is read behind them. */
  #keepInBlock(length: number, there: number): undefined {
    const begin = this.#blockUsed - there
    this.#frame = this.#block.subarray(begin, begin + length)
    this.#frameFilled = there
    this.#offset = this.#chunk.length
    this.#blockUsed = begin + length
  }
}

/** How much memory a frame gets of which so many bytes are there. */
function roomFor(length: number, filled: number): number {
  return Math.min(length, Math.max(FIRST_BYTES, filled * GROWTH))
}

/** Memory that is neither zeroed nor shared with others. */
function allocate(bytes: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

function tooLarge(length: number, frameBytesMax: number): UnderstudyError {
  return new UnderstudyError(
    'FRAME_TOO_LARGE',
    `The peer announced a frame of ${length} bytes, over the limit of ${frameBytesMax}. No memory was taken for it and the ` +
      'connection was closed; check that an Understudy node of this cluster is at the other end.',
    { length, frameBytesMax },
  )
}
