/**
 * The bytes of a lost-tail file: the records that a node gave up, as they stood in its log.
 *
 * ```
 * text     "understudy-lost-tail 1\n"
 * entry    u32 length of the body, u32 CRC-32 of the body, body                      (little-endian)
 * body 0   first: u8 0, the header as JSON in UTF-8
 * body 1   a record: u8 1, f64 epoch, f64 lsn, u16 format, u16 flags, f64 committedAtMs, u32 crc, u32 previousCrc, payload
 * body 2   last: u8 2, u32 number of records, u32 CRC-32 over the CRCs of all entries before
 * ```
 *
 * Decides: what is a whole file. Leaves to others: what its records mean.
 *
 * 1. A file without its last entry was not finished: a crash came before anything was undone.
 * 2. Records follow each other without a gap, and each names the CRC of the one before.
 */
import { crc32 } from 'node:zlib'
import { UnderstudyError, type LogPoint, type LogRecord } from '@understudy/contracts'

export const MAGIC = 'understudy-lost-tail'
export const VERSION = 1
export const ENTRY_HEAD_BYTES = 8
const RECORD_HEAD_BYTES = 37
/** Longest body that is read: no record is longer. */
const BODY_BYTES_MAX = 0x7fff_ffff

export interface LostTailHeader {
  readonly cluster: string
  /** The node that gave the records up. */
  readonly node: string
  /** The last record that both histories have. */
  readonly common: LogPoint
  /** The last record before those in the file, where the log no longer held all after `common`; missing where it did. */
  readonly after?: LogPoint
  /** The last record that is lost. */
  readonly end: LogPoint
  /** Last position that is known to have satisfied the ack rule; missing when it is not known beyond what the records say. */
  readonly highWatermark?: number
  /** Wall clock of the node, in milliseconds since the Unix epoch. */
  readonly exportedAtMs: number
}

export function encodeMagic(): Uint8Array {
  return Buffer.from(`${MAGIC} ${VERSION}\n`)
}

export function encodeHeader(header: LostTailHeader): Uint8Array {
  return Buffer.concat([Uint8Array.of(0), Buffer.from(JSON.stringify(header))])
}

/** The body of a record, in two parts so that the payload is not copied. */
export function recordParts(record: LogRecord): readonly [Uint8Array, Uint8Array] {
  const head = Buffer.alloc(RECORD_HEAD_BYTES)
  head.writeUInt8(1, 0)
  head.writeDoubleLE(record.epoch, 1)
  head.writeDoubleLE(record.lsn, 9)
  head.writeUInt16LE(record.format, 17)
  head.writeUInt16LE(record.flags, 19)
  head.writeDoubleLE(record.committedAtMs, 21)
  head.writeUInt32LE(record.crc, 29)
  head.writeUInt32LE(record.previousCrc, 33)
  return [head, record.payload]
}

export function encodeEnd(records: number, chain: number): Uint8Array {
  const body = Buffer.alloc(9)
  body.writeUInt8(2, 0)
  body.writeUInt32LE(records, 1)
  body.writeUInt32LE(chain, 5)
  return body
}

/** Length and CRC before a body. */
export function entryHead(body: readonly Uint8Array[]): { readonly head: Uint8Array; readonly crc: number } {
  let crc = 0
  let length = 0
  for (const part of body) {
    crc = crc32(part, crc)
    length += part.length
  }
  const head = Buffer.alloc(ENTRY_HEAD_BYTES)
  head.writeUInt32LE(length, 0)
  head.writeUInt32LE(crc, 4)
  return { head, crc }
}

/** The CRC over the CRCs of entries, with one more. */
export function chained(chain: number, crc: number): number {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(crc)
  return crc32(bytes, chain)
}

export type Entry =
  | { readonly kind: 'header'; readonly header: LostTailHeader }
  | { readonly kind: 'record'; readonly record: LogRecord }
  | { readonly kind: 'end'; readonly records: number; readonly chain: number }

/** Throws `STATE_CORRUPT` or `FORMAT_VERSION`. */
export function checkMagic(line: string, path: string): void {
  const match = /^understudy-lost-tail (\d+)$/.exec(line)
  if (match === null) throw damaged(path, 'it does not begin as one')
  if (Number(match[1]) === VERSION) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `${path} is a lost tail of version ${match[1]}; this node reads version ${VERSION}. Nothing was changed; use the version that wrote it.`,
    { path },
  )
}

export function decodeEntryHead(head: Uint8Array, path: string): { length: number; crc: number } {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const length = view.getUint32(0, true)
  if (length === 0 || length > BODY_BYTES_MAX) throw damaged(path, 'an entry has no length that can be')
  return { length, crc: view.getUint32(4, true) }
}

export function decodeBody(body: Uint8Array, crc: number, path: string): Entry {
  if (crc32(body) !== crc) throw damaged(path, 'an entry fails its checksum')
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (bytes[0] === 0) return { kind: 'header', header: parseHeader(bytes.toString('utf8', 1), path) }
  if (bytes[0] === 1 && bytes.length >= RECORD_HEAD_BYTES)
    return { kind: 'record', record: decodeRecord(bytes) }
  if (bytes[0] === 2 && bytes.length === 9)
    return { kind: 'end', records: bytes.readUInt32LE(1), chain: bytes.readUInt32LE(5) }
  throw damaged(path, 'an entry is of no known kind')
}

function decodeRecord(bytes: Buffer): LogRecord {
  return {
    epoch: bytes.readDoubleLE(1),
    lsn: bytes.readDoubleLE(9),
    format: bytes.readUInt16LE(17),
    flags: bytes.readUInt16LE(19),
    committedAtMs: bytes.readDoubleLE(21),
    crc: bytes.readUInt32LE(29),
    previousCrc: bytes.readUInt32LE(33),
    payload: bytes.subarray(RECORD_HEAD_BYTES),
  }
}

function parseHeader(text: string, path: string): LostTailHeader {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch {
    throw damaged(path, 'its header is no JSON')
  }
  if (isHeader(header)) return header
  throw damaged(path, 'its header lacks a field')
}

function isHeader(value: unknown): value is LostTailHeader {
  if (typeof value !== 'object' || value === null) return false
  const { cluster, node, common, after, end, exportedAtMs, highWatermark } = value as Record<string, unknown>
  return (
    typeof cluster === 'string' &&
    typeof node === 'string' &&
    isPoint(common) &&
    (after === undefined || isPoint(after)) &&
    isPoint(end) &&
    typeof exportedAtMs === 'number' &&
    (highWatermark === undefined || Number.isSafeInteger(highWatermark))
  )
}

function isPoint(value: unknown): value is LogPoint {
  if (typeof value !== 'object' || value === null) return false
  const { epoch, lsn, crc } = value as Record<string, unknown>
  return [epoch, lsn, crc].every((field) => Number.isSafeInteger(field) && (field as number) >= 0)
}

/** `STATE_CORRUPT`, for a file that cannot be trusted. */
export function damaged(path: string, what: string): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    `The lost tail ${path} is damaged: ${what}. It was kept as it is, and nothing of it was used.`,
    { path },
  )
}
