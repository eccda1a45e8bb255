/**
 * Large transactions: a payload longer than a record travels as a chain of records.
 *
 * Decides: where a payload is cut, and when a chain is whole again. Leaves to others: the limits, the appending.
 *
 * 1. Every part but the last carries `FLAG_CONTINUES`; parts follow each other without another record between.
 * 2. The transaction's position is that of its last part: before that part nothing of it is applied.
 * 3. A chain that a new epoch interrupts is dropped: its leader died before it could be acknowledged. Anything else
 *    that interrupts a chain is `RECORD_CORRUPT`.
 * 4. A payload in one record is handed on as the view it is, without a copy.
 */
import {
  FLAG_CONTINUES,
  FORMAT_CONTROL,
  UnderstudyError,
  formatPosition,
  type LogPoint,
  type LogRecord,
  type Lsn,
  type RecordDraft,
} from '@understudy/contracts'

/** Drafts of one payload, cut into records of at most `recordBytesMax` bytes. */
export function draftParts(
  payload: Uint8Array,
  format: number,
  committedAtMs: number,
  recordBytesMax: number,
): RecordDraft[] {
  if (payload.length <= recordBytesMax) return [{ format, flags: 0, committedAtMs, payload }]
  const drafts: RecordDraft[] = []
  for (let from = 0; from < payload.length; from += recordBytesMax) {
    const to = Math.min(from + recordBytesMax, payload.length)
    const flags = to < payload.length ? FLAG_CONTINUES : 0
    drafts.push({ format, flags, committedAtMs, payload: payload.subarray(from, to) })
  }
  return drafts
}

/** A whole transaction as it is applied; a record without parts is one. */
export interface WholeTransaction extends LogPoint {
  readonly format: number
  readonly payload: Uint8Array
}

/** Joins chains. Records go in in log order. */
export class PartAssembler {
  readonly #bytesMax: number
  #parts: LogRecord[] = []
  #bytes = 0

  constructor(transactionBytesMax: number) {
    this.#bytesMax = transactionBytesMax
  }

  /** LSN of the first part of a chain that is not whole yet. */
  get pendingFrom(): Lsn | undefined {
    return this.#parts[0]?.lsn
  }

  /** The transaction that this record ends, if it ends one. */
  push(record: LogRecord): WholeTransaction | undefined {
    const continues = (record.flags & FLAG_CONTINUES) !== 0
    const first = this.#parts[0]
    if (first === undefined) {
      if (!continues) return record
    } else if (record.epoch !== first.epoch) {
      this.clear()
      return this.push(record)
    } else if (record.format !== first.format || record.format === FORMAT_CONTROL) {
      throw new UnderstudyError(
        'RECORD_CORRUPT',
        `Record ${formatPosition(record)} interrupts the transaction that began at ${formatPosition(first)}; nothing of it was applied.`,
        { position: { epoch: record.epoch, lsn: record.lsn } },
      )
    }
    this.#parts.push(record)
    this.#bytes += record.payload.length
    if (this.#bytes > this.#bytesMax) {
      throw new UnderstudyError(
        'RECORD_CORRUPT',
        `The transaction that ends after ${formatPosition(record)} is longer than ${this.#bytesMax} bytes; nothing of it was applied.`,
        { position: { epoch: record.epoch, lsn: record.lsn } },
      )
    }
    return continues ? undefined : this.#join(record)
  }

  clear(): void {
    this.#parts = []
    this.#bytes = 0
  }

  #join(last: LogRecord): WholeTransaction {
    const payload = new Uint8Array(this.#bytes)
    let at = 0
    for (const part of this.#parts) {
      payload.set(part.payload, at)
      at += part.payload.length
    }
    this.clear()
    return { epoch: last.epoch, lsn: last.lsn, crc: last.crc, format: last.format, payload }
  }
}
