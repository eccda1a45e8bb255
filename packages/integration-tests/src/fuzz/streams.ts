/** Streams of frames as bytes, damaged; and a reader of tcp's that is too plain to be wrong. */
import type { ErrorCode } from '@understudy/contracts'
import type { SeededRandom } from '@understudy/testkit'
import { Mutator, type Frame } from './mutator.ts'

export interface Stream {
  readonly bytes: Uint8Array
  /** Frames before the first damage. */
  readonly sound: readonly Frame[]
  readonly soundFrames: number
}

const TCP_LENGTHS = (max: number): number[] => [
  0,
  1,
  max - 1,
  max,
  max,
  max + 1,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
]
const WS_LENGTHS = [0, 125, 126, 127, 65_535, 65_536, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63] as const
const OPCODES = [0, 1, 2, 3, 7, 8, 9, 10, 11, 15] as const

/** `masked`: frames of WebSocket, as a client sends them; otherwise those of tcp. */
export function damagedStream(random: SeededRandom, masked: boolean, frameBytesMax: number): Stream {
  const frames: Uint8Array[] = []
  const sound: Frame[] = []
  const soundFrames = random.below(6)
  for (let n = 0; n < soundFrames; n++) {
    const frame = random.bytes(random.below(Math.min(60, frameBytesMax)))
    sound.push(frame)
    frames.push(masked ? webSocketFrame(frame, random) : tcpFrame(frame, frame.length))
  }
  const mutator = new Mutator(random, [], 0)
  for (let n = 20 + random.below(400); n > 0; n--) {
    const frame = random.bytes(random.chance(0.02) ? random.below(5000) : random.below(40))
    // Most lengths are right: after a wrong one everything is read as something else.
    const isWrong = random.chance(0.008)
    if (!masked) {
      const length = isWrong ? random.pick(TCP_LENGTHS(frameBytesMax)) : frame.length
      frames.push(tcpFrame(frame, length))
    } else frames.push(isWrong ? wrongFrame(frame, random) : webSocketFrame(frame, random, true))
    if (random.chance(0.004)) frames.push(mutator.mutate(frames.pop() as Uint8Array))
  }
  return { bytes: Buffer.concat(frames), sound, soundFrames }
}

function tcpFrame(frame: Frame, length: number): Uint8Array {
  const bytes = new Uint8Array(4 + frame.length)
  new DataView(bytes.buffer).setUint32(0, length >>> 0, true)
  bytes.set(frame, 4)
  return bytes
}

/** RFC 6455, section 5.2. `varied`: fragments and control frames, too. */
function webSocketFrame(frame: Frame, random: SeededRandom, varied: boolean = false): Uint8Array {
  const kind = varied ? random.below(12) : 0
  if (kind === 1) return webSocketBytes(frame.subarray(0, 60), { first: 0x80 | random.pick([9, 10]), random })
  if (kind === 2) {
    const middle = random.below(frame.length + 1)
    return Buffer.concat([
      webSocketBytes(frame.subarray(0, middle), { first: 2, random }),
      webSocketBytes(new Uint8Array(random.below(9)), { first: 0x89, random }),
      webSocketBytes(frame.subarray(middle), { first: 0x80, random }),
    ])
  }
  return webSocketBytes(frame, { first: 0x82, random })
}

/** A header that no peer sends, or a length that is not there. */
function wrongFrame(frame: Frame, random: SeededRandom): Uint8Array {
  const first = random.chance(0.5) ? 0x82 : random.pick([0, 0x80, 0x40, 0x70]) | random.pick(OPCODES)
  const length = random.chance(0.5) ? random.pick(WS_LENGTHS) : frame.length
  const bytes = webSocketBytes(frame, { first, random, length })
  if (random.chance(0.2)) bytes[1] = (bytes[1] ?? 0) & 0x7f
  return bytes
}

function webSocketBytes(
  frame: Frame,
  how: { readonly first: number; readonly random: SeededRandom; readonly length?: number },
): Uint8Array {
  const { first, random, length = frame.length } = how
  const mask = random.bytes(4)
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const bytes = Buffer.alloc(2 + extended + 4 + frame.length)
  bytes[0] = first
  bytes[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127)
  if (extended === 2) bytes.writeUInt16BE(length, 2)
  if (extended === 8) bytes.writeBigUInt64BE(BigInt(length), 2)
  bytes.set(mask, 2 + extended)
  for (let at = 0; at < frame.length; at++) bytes[6 + extended + at] = frame[at]! ^ mask[at & 3]!
  return bytes
}

/** The frames in a stream of tcp, and the code of how it ends; no code: between two frames. */
export function plainFrames(
  bytes: Uint8Array,
  frameBytesMax: number,
): { readonly frames: Frame[]; readonly code: ErrorCode | undefined } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const frames: Frame[] = []
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 4) return { frames, code: 'CONNECTION_LOST' }
    const length = view.getUint32(at, true)
    if (length > frameBytesMax) return { frames, code: 'FRAME_TOO_LARGE' }
    if (bytes.length - at - 4 < length) return { frames, code: 'CONNECTION_LOST' }
    frames.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { frames, code: undefined }
}

/** The request that asks for WebSocket. */
export function headOf(address: string): string {
  const lines = [
    'GET / HTTP/1.1',
    `Host: ${new URL(address).host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${Buffer.alloc(16, 7).toString('base64')}`,
    'Sec-WebSocket-Protocol: understudy.1',
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}
