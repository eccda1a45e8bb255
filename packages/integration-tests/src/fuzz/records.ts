/** Records as bytes: found by their own lengths, and given right checksums again. Layout: README of `log`. */
import { crc32 } from 'node:zlib'
import type { Log } from '@understudy/contracts'
import { RECORD_HEADER_BYTES } from '@understudy/log'
import { MESSAGE_TYPES } from '@understudy/protocol'
import type { SeededRandom } from '@understudy/testkit'
import type { Frame, Mutator } from './mutator.ts'

/** Type byte and high watermark of a Records frame. */
const FRAME_HEADER_BYTES = 9

export function isRecords(frame: Frame): boolean {
  return frame[0] === MESSAGE_TYPES.records && frame.length > FRAME_HEADER_BYTES + RECORD_HEADER_BYTES
}

/** Whole records, as latin-1 texts that can be compared. */
export function recordsIn(frame: Frame, from: number = FRAME_HEADER_BYTES): { readonly text: string }[] {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  const records: { readonly text: string }[] = []
  for (let at = from; at + RECORD_HEADER_BYTES <= bytes.length;) {
    const end = at + RECORD_HEADER_BYTES + bytes.readUInt32LE(at + 4)
    if (end > bytes.length) break
    records.push({ text: bytes.toString('latin1', at, end) })
    at = end
  }
  return records
}

/**
 * A copy in which one record says something else, in its payload or its header, and everything around it is right: the kind
 * of change that only what stands behind the checksum can notice.
 */
export function forge(frame: Frame, mutator: Mutator, random: SeededRandom, log: Log): Frame {
  const ends: number[] = [FRAME_HEADER_BYTES]
  for (const { text } of recordsIn(frame)) ends.push((ends.at(-1) ?? 0) + text.length)
  if (ends.length < 2) return reseal(frame, random, log)
  const index = random.below(ends.length - 1)
  const record = Buffer.from(frame.subarray(ends[index], ends[index + 1]))
  const header = record.subarray(0, RECORD_HEADER_BYTES)
  let payload: Uint8Array = record.subarray(RECORD_HEADER_BYTES)
  if (random.chance(0.7)) payload = mutator.mutate(payload)
  else changeHeader(header, random)
  header.writeUInt32LE(payload.length, 4)
  const parts = [frame.subarray(0, ends[index]), header, payload, frame.subarray(ends[index + 1])]
  return reseal(new Uint8Array(Buffer.concat(parts)), random, log)
}

/** Flags, format, LSN, epoch or time. */
function changeHeader(header: Buffer, random: SeededRandom): void {
  const value = random.pick([
    0n,
    1n,
    2n,
    3n,
    255n,
    65_535n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 63n,
    2n ** 64n - 1n,
  ])
  const at = random.pick([12, 14, 16, 24, 24, 32])
  if (at < 16) header.writeUInt16LE(Number(value & 0xffffn), at)
  else if (at === 24 && random.chance(0.5)) header.writeBigUInt64LE(header.readBigUInt64LE(24) + 1n, 24)
  else header.writeBigUInt64LE(value, at)
}

/**
 * A copy whose records have right lengths, a right chain among them, and right checksums. The first one mostly gets the
 * predecessor that the leader's log has there, so that it can follow.
 */
export function reseal(frame: Frame, random: SeededRandom, log: Log): Frame {
  const bytes = Buffer.from(frame)
  let previous: number | undefined
  for (let at = FRAME_HEADER_BYTES; at + RECORD_HEADER_BYTES <= bytes.length;) {
    const room = bytes.length - at - RECORD_HEADER_BYTES
    if (bytes.readUInt32LE(at + 4) > room) bytes.writeUInt32LE(room, at + 4)
    const end = at + RECORD_HEADER_BYTES + bytes.readUInt32LE(at + 4)
    const lsn = Number(bytes.readBigUInt64LE(at + 16))
    if (previous === undefined && Number.isSafeInteger(lsn) && lsn > 0 && random.chance(0.8))
      previous = log.crcAt(lsn - 1)
    if (previous !== undefined) bytes.writeUInt32LE(previous, at + 8)
    previous = crc32(bytes.subarray(at + 4, end))
    bytes.writeUInt32LE(previous, at)
    at = end
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}
