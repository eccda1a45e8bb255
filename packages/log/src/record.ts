/**
 * The record: the unit that is identical, byte for byte, on every node.
 *
 * Decides the layout of a record and of the payload that begins an epoch. Leaves to others where a record stands
 * (segments) and whether it continues the log (the chain check in `follows`).
 *
 * Layout, little-endian:
 * 0 crc u32 over everything after it | 4 payload length u32 | 8 previous crc u32 | 12 format u16 | 14 flags u16 |
 * 16 lsn u64 | 24 epoch u64 | 32 committedAtMs f64 | 40 payload
 *
 * Validity: 1. the CRC matches; 2. the length is at most `PAYLOAD_BYTES_MAX`; 3. lsn and epoch are from 1 and below 2^53.
 */
import { crc32 } from 'node:zlib'
import {
  CONTROL_EPOCH,
  FORMAT_CONTROL,
  UnderstudyError,
  type EpochEntry,
  type LogPoint,
  type LogRecord,
  type RecordDraft,
} from '@understudy/contracts'
import { getUint64, setUint64, viewOf } from './bytes.ts'

export const RECORD_HEADER_BYTES = 40

/** The longest payload of one record: 1 GiB. A longer transaction travels in several records. */
export const PAYLOAD_BYTES_MAX: number = 2 ** 30

const RUN_ID_BYTES = 8
const RUN_ID = /^[0-9a-f]{16}$/
/** Longest name of a leader in UTF-8 bytes. */
export const LEADER_BYTES_MAX = 255

/** Throws `INVALID_ARGUMENT` for a draft that no record can carry. */
export function checkDraft(draft: RecordDraft): void {
  const { format, flags, payload } = draft
  if (!isUint16(format) || !isUint16(flags) || !Number.isFinite(draft.committedAtMs)) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `A record draft has format ${format}, flags ${flags} and commit time ${draft.committedAtMs}; ` +
        'format and flags are 16-bit integers, the time is finite. Nothing was appended.',
    )
  }
  if (payload.length > PAYLOAD_BYTES_MAX) {
    throw new UnderstudyError(
      'TRANSACTION_TOO_LARGE',
      `A payload of ${payload.length} bytes is over the limit of ${PAYLOAD_BYTES_MAX}; nothing was appended. ` +
        'Split it into several records.',
      { bytes: payload.length, bytesMax: PAYLOAD_BYTES_MAX },
    )
  }
}

function isUint16(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff
}

/** Writes the record of `draft` at `offset` and returns its CRC. `view` is of the same bytes as `target`. */
export function encodeRecord(
  target: Uint8Array,
  view: DataView,
  offset: number,
  draft: RecordDraft,
  place: { readonly lsn: number; readonly epoch: number; readonly previousCrc: number },
): number {
  const { payload } = draft
  view.setUint32(offset + 4, payload.length, true)
  view.setUint32(offset + 8, place.previousCrc, true)
  view.setUint16(offset + 12, draft.format, true)
  view.setUint16(offset + 14, draft.flags, true)
  setUint64(view, offset + 16, place.lsn)
  setUint64(view, offset + 24, place.epoch)
  view.setFloat64(offset + 32, draft.committedAtMs, true)
  target.set(payload, offset + RECORD_HEADER_BYTES)
  const crc = crc32(target.subarray(offset + 4, offset + RECORD_HEADER_BYTES + payload.length))
  view.setUint32(offset, crc, true)
  return crc
}

/** Bytes of the record at `offset` by its own length field, which may be damaged; `undefined` when no record has such a length. */
export function recordBytesAt(view: DataView, offset: number): number | undefined {
  const length = view.getUint32(offset + 4, true)
  return length > PAYLOAD_BYTES_MAX ? undefined : RECORD_HEADER_BYTES + length
}

/** LSN in the header at `offset`, unverified. */
export function recordLsnAt(view: DataView, offset: number): number {
  return getUint64(view, offset + 16)
}

/** The record at `offset`, verified against its CRC; `undefined` when the bytes there are no sound record. */
export function decodeRecord(bytes: Uint8Array, view: DataView, offset: number): LogRecord | undefined {
  if (offset + RECORD_HEADER_BYTES > bytes.length) return undefined
  const length = recordBytesAt(view, offset)
  if (length === undefined || offset + length > bytes.length) return undefined
  if (crc32(bytes.subarray(offset + 4, offset + length)) !== view.getUint32(offset, true)) return undefined
  const record = decodeTrusted(bytes, view, offset)
  return isPlace(record.lsn) && isPlace(record.epoch) ? record : undefined
}

/** The record at `offset` of bytes that were verified before. */
export function decodeTrusted(bytes: Uint8Array, view: DataView, offset: number): LogRecord {
  const start = offset + RECORD_HEADER_BYTES
  return {
    crc: view.getUint32(offset, true),
    previousCrc: view.getUint32(offset + 8, true),
    format: view.getUint16(offset + 12, true),
    flags: view.getUint16(offset + 14, true),
    lsn: getUint64(view, offset + 16),
    epoch: getUint64(view, offset + 24),
    committedAtMs: view.getFloat64(offset + 32, true),
    payload: bytes.subarray(start, start + view.getUint32(offset + 4, true)),
  }
}

function isPlace(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1
}

/**
 * Decodes whole records that stand back to back, as `read` returns them and as they travel. Payloads are views of
 * `bytes`. Throws `RECORD_CORRUPT` at the first one that fails its checksum or is cut short.
 */
export function decodeRecords(bytes: Uint8Array): LogRecord[] {
  const view = viewOf(bytes)
  const records: LogRecord[] = []
  for (let offset = 0; offset < bytes.length;) {
    const record = decodeRecord(bytes, view, offset)
    if (record === undefined) {
      throw new UnderstudyError(
        'RECORD_CORRUPT',
        `The bytes at offset ${offset} of ${bytes.length} are no sound record; nothing was taken from them. ` +
          'Ask for the records again.',
        { offset },
      )
    }
    records.push(record)
    offset += RECORD_HEADER_BYTES + record.payload.length
  }
  return records
}

/** Payload of the no-op that begins an epoch: kind u8, run id 8 bytes, leader's name in UTF-8. */
export function encodeEpochPayload(runId: string, leader: string): Uint8Array {
  const name = new TextEncoder().encode(leader)
  if (!RUN_ID.test(runId) || name.length === 0 || name.length > LEADER_BYTES_MAX) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `An epoch needs a run id of 16 lower-case hexadecimal digits and a leader's name of 1 to ` +
        `${LEADER_BYTES_MAX} bytes; got ${JSON.stringify(runId)} and a name of ${name.length} bytes. Nothing was appended.`,
    )
  }
  const payload = new Uint8Array(1 + RUN_ID_BYTES + name.length)
  payload[0] = CONTROL_EPOCH
  payload.set(Buffer.from(runId, 'hex'), 1)
  payload.set(name, 1 + RUN_ID_BYTES)
  return payload
}

/** Whether the record begins an epoch. */
export function beginsEpoch(record: Pick<LogRecord, 'format' | 'payload'>): boolean {
  return record.format === FORMAT_CONTROL && record.payload[0] === CONTROL_EPOCH
}

/** The history entry of a record that begins an epoch; `undefined` when its payload is malformed. */
export function epochEntryOf(record: LogRecord): EpochEntry | undefined {
  const name = record.payload.subarray(1 + RUN_ID_BYTES)
  if (name.length === 0 || name.length > LEADER_BYTES_MAX) return undefined
  return {
    number: record.epoch,
    runId: Buffer.from(record.payload.subarray(1, 1 + RUN_ID_BYTES)).toString('hex'),
    leader: new TextDecoder().decode(name),
    firstLsn: record.lsn,
    crcBefore: record.previousCrc,
  }
}

/** Why a record cannot follow a point. */
export interface Misfit {
  readonly code: 'LOG_GAP' | 'EPOCH_STALE' | 'RECORD_CORRUPT'
  readonly reason: string
}

/**
 * Whether `record` continues a log that ends at `point`: next LSN, CRC of the predecessor, the same epoch or, for a
 * record that begins one, a higher epoch. Returns what is wrong, `undefined` when it fits.
 */
export function misfit(point: LogPoint, record: LogRecord): Misfit | undefined {
  if (record.epoch < point.epoch) {
    return { code: 'EPOCH_STALE', reason: `epoch ${record.epoch} is below ${point.epoch}` }
  }
  if (record.lsn !== point.lsn + 1) {
    return { code: 'LOG_GAP', reason: `LSN ${record.lsn} does not follow ${point.lsn}` }
  }
  if (record.previousCrc !== point.crc) {
    return {
      code: 'LOG_GAP',
      reason: `record ${record.lsn} follows another record than the one at ${point.lsn}`,
    }
  }
  if (!beginsEpoch(record)) {
    if (record.epoch === point.epoch) return undefined
    return { code: 'LOG_GAP', reason: `epoch ${record.epoch} goes on without its beginning` }
  }
  if (record.epoch === point.epoch) {
    return { code: 'LOG_GAP', reason: `epoch ${record.epoch} begins a second time` }
  }
  if (epochEntryOf(record) === undefined) {
    return { code: 'RECORD_CORRUPT', reason: `the beginning of epoch ${record.epoch} is malformed` }
  }
  return undefined
}
