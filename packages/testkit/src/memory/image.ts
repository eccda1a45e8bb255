/**
 * The byte image of a `MemoryStorage`: what a snapshot carries.
 *
 * Layout: the magic `UNDMEMO2`; length of the body and its CRC-32, 32 bits each, little-endian; the body (epoch, LSN and
 * CRC of the stored position, 1 when it is that before a physical transaction and else 0, name of
 * the format that an applier prepared it for or an empty text, number of entries, then key and
 * value of each, by key); zeros up to a multiple of the page. Equal data at equal positions give equal bytes.
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError } from '@understudy/contracts'
import { ByteReader, ByteWriter } from './bytes.ts'
import type { MemoryNote } from './connection.ts'

/** Small, so that a snapshot of a few keys has many pages. */
export const MEMORY_PAGE_BYTES = 512

const MAGIC = Buffer.from('UNDMEMO2')
const HEADER_BYTES = MAGIC.byteLength + 8

export interface MemoryImage {
  readonly note: MemoryNote
  readonly preparedFor?: string | undefined
  readonly entries: readonly (readonly [string, string])[]
}

export function encodeImage({ note, preparedFor, entries }: MemoryImage): Uint8Array {
  const writer = new ByteWriter()
  writeNote(writer, note)
  writer.text(preparedFor ?? '')
  writer.integer(entries.length)
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
  const note = readNote(reader)
  const preparedFor = reader.text()
  const count = reader.integer()
  const entries: [string, string][] = []
  for (let index = 0; index < count; index++) entries.push([reader.text(), reader.text()])
  return { note, preparedFor: preparedFor === '' ? undefined : preparedFor, entries }
}

export function writeNote(writer: ByteWriter, { point, physical }: MemoryNote): void {
  for (const field of [point.epoch, point.lsn, point.crc, physical ? 1 : 0]) writer.integer(field)
}

export function readNote(reader: ByteReader): MemoryNote {
  const point = { epoch: reader.integer(), lsn: reader.integer(), crc: reader.integer() }
  const flag = reader.integer()
  if (flag > 1) reader.fail('a flag is neither 0 nor 1')
  return { point, physical: flag === 1 }
}

function malformed(why: string): UnderstudyError {
  return new UnderstudyError(
    'FILE_MALFORMED',
    `These bytes are no image of a memory storage: ${why}. Fetch the snapshot again.`,
  )
}
