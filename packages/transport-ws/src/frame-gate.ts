/**
 * Decides how much of the bytes of a connection `ws` gets to see, and when: one whole WebSocket frame at a time.
 *
 * `ws` reads everything that a chunk holds at once, keeps partial frames in as many pieces as they came in, has one limit
 * for the whole life of a connection, no deadlines, and takes masks off byte by byte. Behind this gate none of that
 * matters. Leaves to `ws`: joining fragments, control frames and the closing handshake. Source of the format: RFC 6455,
 * section 5.2.
 *
 * 1. A header that no peer of ours may send, or a message over the limit, is refused when the header is there, before
 *    memory is taken for what it announces. Of a message in fragments the sum counts.
 * 2. A frame that lies whole in one chunk is a view of it. Any other is copied once into memory of its own; above
 *    `WHOLE_BYTES_MAX` that memory grows as bytes come, so that a length alone reserves little, however it is cut.
 * 3. Frames are never written to after they were handed out; chunks must not be either. Masks are taken off in place
 *    before that, and a mask of zeros says so.
 * 4. `take` hands out one frame at a time, so that its caller can stop between two of the same chunk.
 * 5. After `skipData` only control frames come, and nothing is refused: data is read over without memory.
 */
import type { UnderstudyError } from '@understudy/contracts'
import { frameTooLarge, violation } from './errors.ts'
import { unmask } from './unmask.ts'

/** The longest header: two bytes, a length of eight, a mask of four. */
const HEADER_BYTES_MAX = 14
const MASK_BYTES = 4
/** Up to here memory for a frame is taken at once: room for a batch or chunk of 256 KiB with its header. */
const WHOLE_BYTES_MAX = 512 * 1024
/** The longest payload of a control frame. */
const CONTROL_BYTES_MAX = 125

const BINARY = 2
const TEXT = 1
const CONTINUATION = 0
const CLOSE = 8
const PONG = 10

export class FrameGate {
  /** Frames of clients are masked, those of servers are not. */
  readonly #masked: boolean
  /** What came and was not handed out. */
  #chunk: Buffer = Buffer.alloc(0)
  #offset = 0
  readonly #header: Buffer = Buffer.alloc(HEADER_BYTES_MAX)
  #headerFilled = 0
  /** Of the frame under way, header included; -1 when none is. */
  #frameLength = -1
  #frameHeaderBytes = 0
  #frame: Buffer | undefined
  #frameFilled = 0
  #opcode = CONTINUATION
  #isFinal = true
  /** A message in fragments is under way. */
  #inMessage = false
  #messageBytes = 0
  #messages = 0
  #skipping = false
  /** Bytes of data still to be read over. */
  #skipBytes = 0

  constructor(masked: boolean) {
    this.#masked = masked
  }

  /** Whether the stream, should it end here, would end between two messages. */
  get isBetweenMessages(): boolean {
    return this.isBetweenFrames && !this.#inMessage
  }

  get isBetweenFrames(): boolean {
    return this.#headerFilled === 0 && this.#frameLength === -1 && this.#offset === this.#chunk.length
  }

  /** How many messages, and control frames outside of one, came to their end. */
  get completed(): number {
    return this.#messages
  }

  /** Bytes that the peer announced of the message under way. */
  get announcedBytes(): number {
    return this.#messageBytes
  }

  /** Whether the frame handed out last ends the peer's sending. */
  get isClose(): boolean {
    return this.#opcode === CLOSE
  }

  /** Adds a chunk. The one before must be used up: `take` returned undefined. */
  push(chunk: Buffer): void {
    this.#chunk = chunk
    this.#offset = 0
  }

  /** From now on data is read over. */
  skipData(): void {
    this.#skipping = true
    if (this.#frameLength === -1 || this.#opcode >= CLOSE) return
    this.#skipBytes = this.#frameLength - this.#frameFilled
    this.#frameLength = -1
    this.#frame = undefined
  }

  /** The next whole frame with its header, or undefined when more bytes are needed. Throws `FRAME_TOO_LARGE` or `PROTOCOL_VIOLATION`. */
  take(messageBytesMax: number): Buffer | undefined {
    for (;;) {
      if (this.#skipBytes > 0 && !this.#skip()) return undefined
      if (this.#frameLength !== -1) return this.#takeRest()
      const header = this.#takeHeader()
      if (header === undefined) return undefined
      this.#begin(header, messageBytesMax)
      if (this.#skipBytes === 0 && this.#frameLength !== -1) return this.#takeWhole(header)
    }
  }

  /** False: all of the chunk was read over. */
  #skip(): boolean {
    const count = Math.min(this.#skipBytes, this.#chunk.length - this.#offset)
    this.#offset += count
    this.#skipBytes -= count
    return this.#skipBytes === 0
  }

  /** A whole header, which is passed over; mostly a view of the chunk. */
  #takeHeader(): Buffer | undefined {
    const chunk = this.#chunk
    const at = this.#offset
    if (this.#headerFilled === 0 && chunk.length - at >= 2) {
      const end = at + this.#headerBytes(chunk[at + 1]!)
      if (end <= chunk.length) {
        this.#offset = end
        return chunk.subarray(at, end)
      }
    }
    const header = this.#header
    while (this.#offset < chunk.length) {
      header[this.#headerFilled++] = chunk[this.#offset++]!
      if (this.#headerFilled < 2 || this.#headerFilled < this.#headerBytes(header[1]!)) continue
      const whole = header.subarray(0, this.#headerFilled)
      this.#headerFilled = 0
      return whole
    }
    return undefined
  }

  #headerBytes(second: number): number {
    const length = second & 0x7f
    return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (second & 0x80 ? MASK_BYTES : 0)
  }

  /** A frame begins with this header. */
  #begin(header: Buffer, messageBytesMax: number): void {
    const first = header[0]!
    const length = payloadBytes(header)
    this.#opcode = first & 0x0f
    this.#frameHeaderBytes = header.length
    this.#isFinal = (first & 0x80) !== 0
    const isControl = this.#opcode >= CLOSE
    if (this.#skipping) {
      if (!isControl || length > CONTROL_BYTES_MAX) this.#skipBytes = length
      else this.#frameLength = header.length + length
      return
    }
    const refused = this.#refusal(header, length)
    if (refused !== undefined) throw refused
    if (!isControl) {
      if (!this.#inMessage) this.#messageBytes = 0
      this.#messageBytes += length
      if (this.#messageBytes > messageBytesMax) throw frameTooLarge(this.#messageBytes, messageBytesMax)
    }
    this.#frameLength = header.length + length
  }

  #refusal(header: Buffer, length: number): UnderstudyError | undefined {
    if ((header[0]! & 0x70) !== 0)
      return violation('a frame uses reserved bits, though no extension was agreed on')
    if (this.#opcode === TEXT) return violation('it sent a text message, where all are binary')
    if ((this.#opcode > BINARY && this.#opcode < CLOSE) || this.#opcode > PONG)
      return violation('a frame is of an unknown kind')
    if (((header[1]! & 0x80) !== 0) !== this.#masked)
      return violation(this.#masked ? 'a frame of a client is not masked' : 'a frame of a server is masked')
    if (this.#opcode >= CLOSE) {
      if (!this.#isFinal || length > CONTROL_BYTES_MAX)
        return violation('a control frame is too long or in fragments')
    } else if ((this.#opcode === CONTINUATION) !== this.#inMessage)
      return violation('a message begins inside another, or goes on without a beginning')
    return undefined
  }

  /** The header was taken; the frame may be whole in the chunk. */
  #takeWhole(header: Buffer): Buffer | undefined {
    const length = this.#frameLength
    const start = this.#offset - header.length
    if (header.buffer === this.#chunk.buffer && this.#chunk.length - start >= length) {
      this.#offset = start + length
      return this.#completed(this.#chunk.subarray(start, this.#offset))
    }
    this.#frame = Buffer.allocUnsafeSlow(Math.min(length, WHOLE_BYTES_MAX))
    this.#frame.set(header)
    this.#frameFilled = header.length
    return this.#takeRest()
  }

  #takeRest(): Buffer | undefined {
    let frame = this.#frame!
    const length = this.#frameLength
    const at = this.#offset
    const count = Math.min(length - this.#frameFilled, this.#chunk.length - at)
    const filled = this.#frameFilled + count
    if (filled > frame.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(length, Math.max(filled, frame.length * 2)))
      larger.set(frame.subarray(0, this.#frameFilled))
      this.#frame = frame = larger
    }
    frame.set(this.#chunk.subarray(at, at + count), this.#frameFilled)
    this.#frameFilled = filled
    this.#offset = at + count
    return filled < length ? undefined : this.#completed(frame)
  }

  /** The frame as it is handed out. */
  #completed(frame: Buffer): Buffer {
    if (this.#masked) {
      const mask = frame.subarray(this.#frameHeaderBytes - MASK_BYTES, this.#frameHeaderBytes)
      unmask(frame.subarray(this.#frameHeaderBytes), mask)
      mask.fill(0)
    }
    this.#frame = undefined
    this.#frameLength = -1
    if (this.#opcode < CLOSE) this.#inMessage = !this.#isFinal
    if (!this.#inMessage) {
      this.#messageBytes = 0
      this.#messages++
    }
    return frame
  }
}

function payloadBytes(header: Buffer): number {
  const length = header[1]! & 0x7f
  if (length === 126) return header.readUInt16BE(2)
  return length === 127 ? Number(header.readBigUInt64BE(2)) : length
}
