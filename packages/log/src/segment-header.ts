/**
 * The head of a segment file, and its name.
 *
 * Written and synced before the file gets its `.segment` name and never again, so a bad one is always damage. It takes
 * whole pages of 4,096 bytes, so that no later write shares a sector with it.
 *
 * Layout, little-endian: 0 seal (magic UNDSTLOG, version 1, length of the head, CRC) | 20 number of epochs u32 |
 * 24 salt 8 bytes | 32 first LSN u64 | 40 first LSN of the preceding segment u64, 0 for none | 48 epoch before u64 |
 * 56 CRC before u32 | 60 zero u32 | 64 epoch history before the first LSN | zeros
 */
import {
  UnderstudyError,
  type EpochHistory,
  type FileHandle,
  type LogPoint,
  type Lsn,
} from '@understudy/contracts'
import { getUint64, seal, SEAL_BYTES, sealedLength, sealKind, setUint64, unseal, viewOf } from './bytes.ts'
import { corrupt } from './failures.ts'
import { decodeHistory, encodeHistory } from './history-codec.ts'

export const SEGMENT_VERSION = 1
export const SEGMENT_MAGIC = 'UNDSTLOG'
export const HEAD_UNIT = 4096

const FIXED_BYTES = 64
/** A head holds about 40 bytes per epoch; this is room for over a million. */
const HEAD_BYTES_MAX = 64 * 1024 * 1024
const SUFFIX = '.segment'

export interface SegmentHeader {
  readonly firstLsn: Lsn
  /** The record before `firstLsn`. */
  readonly before: LogPoint
  /** First LSN of the preceding segment; 0 when there was none. Shows a missing file without reading records. */
  readonly previousFirstLsn: Lsn
  /** Random, new at each use of the file. */
  readonly salt: Uint8Array
  /** Epochs that began before `firstLsn`. */
  readonly history: EpochHistory
  /** Where the first item stands. */
  readonly bytes: number
}

/** `00000000000000001042.segment` */
export function segmentName(firstLsn: Lsn): string {
  return `${String(firstLsn).padStart(20, '0')}${SUFFIX}`
}

/** First LSN by the file's name; `undefined` for other files. */
export function parseSegmentName(name: string): Lsn | undefined {
  const match = /^(\d{20})\.segment$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

export function encodeSegmentHeader(header: Omit<SegmentHeader, 'bytes' | 'firstLsn'>): Uint8Array {
  const history = encodeHistory(header.history)
  const bytes = new Uint8Array(Math.ceil((FIXED_BYTES + history.length) / HEAD_UNIT) * HEAD_UNIT)
  const view = viewOf(bytes)
  view.setUint32(20, header.history.length, true)
  bytes.set(header.salt, 24)
  setUint64(view, 32, header.before.lsn + 1)
  setUint64(view, 40, header.previousFirstLsn)
  setUint64(view, 48, header.before.epoch)
  view.setUint32(56, header.before.crc, true)
  bytes.set(history, FIXED_BYTES)
  seal(bytes, SEGMENT_MAGIC, SEGMENT_VERSION)
  return bytes
}

/** Reads and verifies the head. Throws `FORMAT_VERSION` or `LOG_CORRUPT`. */
export function readSegmentHeader(handle: FileHandle, expected: Lsn): SegmentHeader {
  const start = new Uint8Array(SEAL_BYTES)
  const got = handle.read(start, 0)
  const kind = sealKind(start.subarray(0, got), SEGMENT_MAGIC, SEGMENT_VERSION)
  if (kind === 'newer') {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `Segment ${handle.path} was written in format version ${viewOf(start).getUint16(8, true)}, this release reads up to ` +
        `${SEGMENT_VERSION}. The file was kept as it is. Use the newer release.`,
      { segment: handle.path, version: viewOf(start).getUint16(8, true), versionMax: SEGMENT_VERSION },
    )
  }
  const damaged = (what: string): UnderstudyError => corrupt(handle.path, 0, expected, what)
  const length = sealedLength(start)
  if (
    kind !== 'sound' ||
    length % HEAD_UNIT !== 0 ||
    length === 0 ||
    length > Math.min(handle.size(), HEAD_BYTES_MAX)
  ) {
    throw damaged('the head is no segment head')
  }
  const bytes = new Uint8Array(length)
  if (handle.read(bytes, 0) !== length || unseal(bytes, SEGMENT_MAGIC, SEGMENT_VERSION) !== 'sound') {
    throw damaged('the head fails its checksum')
  }
  const header = decodeHeader(bytes)
  if (header === undefined) throw damaged('the head is malformed')
  if (header.firstLsn !== expected) throw damaged(`the head names ${header.firstLsn} as the first record`)
  return header
}

function decodeHeader(bytes: Uint8Array): SegmentHeader | undefined {
  const view = viewOf(bytes)
  const firstLsn = getUint64(view, 32)
  const decoded = decodeHistory(bytes.subarray(FIXED_BYTES), view.getUint32(20, true))
  if (decoded === undefined || !Number.isSafeInteger(firstLsn) || firstLsn < 1) return undefined
  return {
    firstLsn,
    before: { epoch: getUint64(view, 48), lsn: firstLsn - 1, crc: view.getUint32(56, true) },
    previousFirstLsn: getUint64(view, 40),
    salt: bytes.slice(24, 32),
    history: decoded.history,
    bytes: bytes.length,
  }
}
