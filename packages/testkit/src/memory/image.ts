/**
 * The byte image of a `MemoryStorage`: what a snapshot carries.
 *
 * Layout: the magic `UNDMEMO1`; length of the body and its CRC-32, 32 bits each, little-endian; the body (epoch, LSN and
 * CRC of the position, number of entries, then key and value of each, by key); zeros up to a multiple of the page.
 * Equal data at equal positions give equal bytes.
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError, type LogPoint } from '@understudy/contracts'
import { ByteReader, ByteWriter } from './bytes.ts'

/** Small, so that a snapshot of a few keys has many pages. */
export const MEMORY_PAGE_BYTES = 512

const MAGIC = Buffer.from('UNDMEMO1')
const HEADER_BYTES = MAGIC.byteLength + 8

export interface MemoryImage {
  readonly point: LogPoint
  readonly entries: readonly (readonly [string, string])[]
}

export function encodeImage({ point, entries }: MemoryImage): Uint8Array {
  const writer = new ByteWriter()
  for (const field of [point.epoch, point.lsn, point.crc, entries.length]) writer.integer(field)
  for (const [key, value] of entries) {
    writer.text(key)
    writer.text(value)
  }
  const body = writer.finish()
  const pages = Math.ceil((HEADER_BYTES + body.byteLength) / MEMORY_PAGE_BYTES)
  const image = Buffer.alloc(pages * MEMORY_PAGE_BYTES)
  MAGIC.copy(image)
  image.writeUInt32LE(body.byteLength, MAGIC.byteLength)
  image.writeUInt32LE(crc32(body), MAGIC.byteLength + 4)
  image.set(body, HEADER_BYTES)
  return new Uint8Array(image.buffer, image.byteOffset, image.byteLength)
}

/** Throws `FILE_MALFORMED` for anything that `encodeImage` did not write. */
export function decodeImage(bytes: Uint8Array): MemoryImage {
  const image = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (image.byteLength < HEADER_BYTES || !image.subarray(0, MAGIC.byteLength).equals(MAGIC))
    throw malformed('it has another magic')
  const length = image.readUInt32LE(MAGIC.byteLength)
  if (length > image.byteLength - HEADER_BYTES) throw malformed('it is cut off')
  const body = image.subarray(HEADER_BYTES, HEADER_BYTES + length)
  if (crc32(body) !== image.readUInt32LE(MAGIC.byteLength + 4)) throw malformed('its checksum is wrong')
  const reader = new ByteReader(body, 'FILE_MALFORMED')
  const point: LogPoint = { epoch: reader.integer(), lsn: reader.integer(), crc: reader.integer() }
  const count = reader.integer()
  const entries: [string, string][] = []
  for (let index = 0; index < count; index++) entries.push([reader.text(), reader.text()])
  return { point, entries }
}

function malformed(why: string): UnderstudyError {
  return new UnderstudyError(
    'FILE_MALFORMED',
    `These bytes are no image of a memory storage: ${why}. Fetch the snapshot again.`,
  )
}
