/**
 * Compressed frames of all kinds: right, with another length than is inside, cut, damaged, one in another, and bombs.
 *
 * Most are put together by hand from blocks of RFC 8878, section 3.1.1: zstd itself would be most of the fuzzer's time, and
 * would not make a block that repeats one byte 128 KiB long in four bytes.
 */
import { constants, zstdCompressSync } from 'node:zlib'
import type { SeededRandom } from '@understudy/testkit'
import type { Frame, Mutator } from './mutator.ts'

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const
const RAW = 0
const RLE = 1
const BLOCK_BYTES_MAX = 128 * 1024

export function pack(frame: Frame, mutator: Mutator, random: SeededRandom): Frame {
  const kind = random.below(40)
  if (kind === 0) return bomb(random)
  if (kind < 4) return announce(frame.length + 9, zstd(announce(frame.length, zstd(frame))))
  const whole = announce(frame.length, random.chance(0.15) ? compress(frame) : zstd(frame))
  if (kind < 24) return whole
  const lengths = [0, 1, frame.length + 1, 2 ** 24, 2 ** 24 + 1, 2 ** 31, 2 ** 32 - 1]
  if (kind < 29) return announce(random.pick(lengths), zstd(frame))
  if (kind < 33) return whole.slice(0, random.below(whole.length))
  return mutator.mutate(whole)
}

/** Megabytes out of some bytes, announced as what they are or as less. */
function bomb(random: SeededRandom): Frame {
  const blocks = random.pick([1, 4, 160])
  const announced = random.pick([1, 1000, blocks * BLOCK_BYTES_MAX, 2 ** 24])
  const body = Buffer.alloc(blocks * 4)
  for (let at = 0; at < blocks; at++) {
    body.writeUIntLE((BLOCK_BYTES_MAX * 8) | (RLE << 1) | (at === blocks - 1 ? 1 : 0), at * 4, 3)
    body[at * 4 + 3] = random.pick([0, 8, 18])
  }
  const header = Buffer.from([...MAGIC, 0x00, 0x70])
  return announce(announced, Buffer.concat([header, body]))
}

/** One stored block, or as many as it takes. */
function zstd(bytes: Frame): Frame {
  const blocks = Math.max(1, Math.ceil(bytes.length / BLOCK_BYTES_MAX))
  const packed = Buffer.alloc(6 + blocks * 3 + bytes.length)
  packed.set([...MAGIC, 0x00, 0x70])
  let at = 6
  for (let n = 0; n < blocks; n++) {
    const part = bytes.subarray(n * BLOCK_BYTES_MAX, (n + 1) * BLOCK_BYTES_MAX)
    packed.writeUIntLE((part.length * 8) | (RAW << 1) | (n === blocks - 1 ? 1 : 0), at, 3)
    packed.set(part, at + 3)
    at += 3 + part.length
  }
  return packed
}

function compress(bytes: Frame): Frame {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
}

function announce(length: number, packed: Frame): Frame {
  const frame = new Uint8Array(5 + packed.length)
  frame[0] = 8
  new DataView(frame.buffer).setUint32(1, length, true)
  frame.set(packed, 5)
  return frame
}
