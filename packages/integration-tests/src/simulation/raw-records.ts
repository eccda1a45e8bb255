/**
 * Reads encoded records without the code under test: the layout is that of the log's README, written down a second time
 * on purpose, so that a decoder that stops checking is noticed here.
 */
import { crc32 } from 'node:zlib'

export interface RawRecord {
  readonly lsn: number
  readonly epoch: number
  /** As it stands in the header. */
  readonly crc: number
  /** Of the bytes as they are. */
  readonly computedCrc: number
  readonly previousCrc: number
  readonly format: number
  readonly flags: number
  readonly payload: Uint8Array
}

const HEADER_BYTES = 40

export function rawRecords(bytes: Uint8Array): RawRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: RawRecord[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + HEADER_BYTES + view.getUint32(at + 4, true)
    records.push({
      crc: view.getUint32(at, true),
      computedCrc: crc32(bytes.subarray(at + 4, end)),
      previousCrc: view.getUint32(at + 8, true),
      format: view.getUint16(at + 12, true),
      flags: view.getUint16(at + 14, true),
      lsn: Number(view.getBigUint64(at + 16, true)),
      epoch: Number(view.getBigUint64(at + 24, true)),
      payload: bytes.subarray(at + HEADER_BYTES, end),
    })
    at = end
  }
  return records
}
