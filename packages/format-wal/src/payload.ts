/**
 * The frame of a payload: version, kind, page size, compression and checksum around the body. Offset table: README.
 *
 * Decides: which bytes are a payload at all, before anything is decompressed or read any further. Leaves to others: the
 * body (`page-encoder.ts`, `page-decoder.ts`), when to compress (`compression.ts`).
 *
 * 1. The checksum covers the bytes as they travel, the header included, and is compared first.
 * 2. A body never decompresses to more than `PLAIN_BYTES_FLOOR` + `EXPANSION_MAX` × its compressed length, whatever it says.
 */
import { UnderstudyError } from '@understudy/contracts'
import { isPageSize } from '@understudy/sqlite-files'
import { crc32 } from 'node:zlib'
import { compress, decompress } from './compression.ts'
import { corrupt } from './errors.ts'
import { VarintReader, varintBytes, writeVarint } from './varint.ts'

/** Version of the payload, its first byte. */
export const PAYLOAD_VERSION = 1
/** Version and flags. */
export const HEAD_BYTES = 2
/** The checksum. */
export const TAIL_BYTES = 4

const FLAG_BASE = 1
const FLAG_COMPRESSED = 2
const FLAGS_UNUSED = 12
const PAGE_SIZE_SHIFT = 4
/** log2 of the smallest page size. */
const SMALLEST = 9

/** A frame, opened. */
export interface OpenedPayload {
  readonly base: boolean
  readonly compressed: boolean
  readonly pageBytes: number
  /** Decompressed. A view of the payload when it was not compressed. */
  readonly body: Uint8Array
}

/**
 * Closes a frame around `buffer[HEAD_BYTES, end)`, the body, in place; `buffer` has room for the tail. The bytes that
 * are returned are the caller's own.
 */
export function sealPayload(
  buffer: Uint8Array,
  end: number,
  frame: { readonly base: boolean; readonly pageBytes: number; readonly compress: boolean },
): Uint8Array<ArrayBuffer> {
  const size = Math.log2(frame.pageBytes) - SMALLEST
  const flags = (frame.base ? FLAG_BASE : 0) | (size << PAGE_SIZE_SHIFT)
  const packed = frame.compress ? compress(buffer.subarray(HEAD_BYTES, end)) : undefined
  if (packed === undefined) {
    const payload = new Uint8Array(end + TAIL_BYTES)
    payload.set(buffer.subarray(0, end))
    return seal(payload, flags)
  }
  const plainBytes = end - HEAD_BYTES
  const packedAt = HEAD_BYTES + varintBytes(plainBytes)
  const payload = new Uint8Array(packedAt + packed.length + TAIL_BYTES)
  writeVarint(payload, HEAD_BYTES, plainBytes)
  payload.set(packed, packedAt)
  return seal(payload, flags | FLAG_COMPRESSED)
}

/** Checks the frame. Throws `RECORD_CORRUPT`, or `FORMAT_VERSION` for an intact payload of a newer version. */
export function openPayload(payload: Uint8Array): OpenedPayload {
  const end = payload.length - TAIL_BYTES
  if (end <= HEAD_BYTES) throw corrupt(`it has ${payload.length} bytes only`)
  const tail = new DataView(payload.buffer, payload.byteOffset + end, TAIL_BYTES)
  if (crc32(payload.subarray(0, end)) !== tail.getUint32(0, true)) throw corrupt('its checksum is wrong')
  const version = payload[0] as number
  const flags = payload[1] as number
  if (version > PAYLOAD_VERSION) throw newerVersion(version)
  const pageBytes = 2 ** ((flags >> PAGE_SIZE_SHIFT) + SMALLEST)
  if (version === 0 || (flags & FLAGS_UNUSED) !== 0 || !isPageSize(pageBytes))
    throw corrupt(`version ${version} with flags ${flags} does not exist`)
  const compressed = (flags & FLAG_COMPRESSED) !== 0
  return {
    base: (flags & FLAG_BASE) !== 0,
    compressed,
    pageBytes,
    body: compressed ? unpack(payload, end) : payload.subarray(HEAD_BYTES, end),
  }
}

function unpack(payload: Uint8Array, end: number): Uint8Array {
  const reader = new VarintReader(payload, HEAD_BYTES, end)
  const plainBytes = reader.varint()
  return decompress(payload.subarray(reader.at, end), plainBytes)
}

function seal(payload: Uint8Array<ArrayBuffer>, flags: number): Uint8Array<ArrayBuffer> {
  const end = payload.length - TAIL_BYTES
  payload[0] = PAYLOAD_VERSION
  payload[1] = flags
  const sum = crc32(payload.subarray(0, end))
  new DataView(payload.buffer, payload.byteOffset + end, TAIL_BYTES).setUint32(0, sum, true)
  return payload
}

function newerVersion(version: number): UnderstudyError {
  return new UnderstudyError(
    'FORMAT_VERSION',
    `A payload of pages has version ${version}, and this node reads up to ${PAYLOAD_VERSION}. Nothing of it was applied. ` +
      `Upgrade this node.`,
    { version, versionMax: PAYLOAD_VERSION },
  )
}
