/**
 * A log in memory with a real CRC chain, whose syncs a test can hold back or fail. Keeps the contract of `Log` as far as
 * replication uses it; the real log runs in the integration tests.
 */
import { crc32 } from 'node:zlib'
import {
  ORIGIN,
  UnderstudyError,
  type EncodedRecords,
  type EpochBegin,
  type EpochEntry,
  type EpochHistory,
  type Log,
  type LogPoint,
  type LogRecord,
  type Lsn,
  type ReadOptions,
  type RecordDraft,
  type RetentionSlots,
  type Slot,
} from '@understudy/contracts'

const HEADER = 44

function encode(draft: RecordDraft, lsn: number, epoch: number, previousCrc: number): Buffer {
  const bytes = Buffer.alloc(HEADER + draft.payload.length)
  bytes.writeUInt32LE(bytes.length, 4)
  bytes.writeUInt32LE(previousCrc, 8)
  bytes.writeUInt32LE(draft.format, 12)
  bytes.writeUInt32LE(draft.flags, 16)
  bytes.writeDoubleLE(lsn, 20)
  bytes.writeDoubleLE(epoch, 28)
  bytes.writeDoubleLE(draft.committedAtMs, 36)
  bytes.set(draft.payload, HEADER)
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0)
  return bytes
}

export function decodeRecord(bytes: Buffer): LogRecord {
  if (bytes.length < HEADER || crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0)) {
    throw new UnderstudyError('RECORD_CORRUPT', 'bad CRC')
  }
  return {
    crc: bytes.readUInt32LE(0),
    previousCrc: bytes.readUInt32LE(8),
    format: bytes.readUInt32LE(12),
    flags: bytes.readUInt32LE(16),
    lsn: bytes.readDoubleLE(20),
    epoch: bytes.readDoubleLE(28),
    committedAtMs: bytes.readDoubleLE(36),
    payload: bytes.subarray(HEADER),
  }
}

export function splitRecords(bytes: Uint8Array): Buffer[] {
  const parts: Buffer[] = []
  let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  while (rest.length > 0) {
    const length = rest.length < 8 ? rest.length : Math.min(rest.length, Math.max(1, rest.readUInt32LE(4)))
    parts.push(rest.subarray(0, length))
    rest = rest.subarray(length)
  }
  return parts
}

export class MemoryLog implements Log {
  first: Lsn = 1
  durable: Lsn = 0
  failure: UnderstudyError | undefined
  readonly slots: MemorySlots = new MemorySlots(() => this.first)
  /** With `false` syncs wait for `releaseSyncs`. */
  syncsAtOnce = true
  /** Counts of calls. */
  readonly counts = { append: 0, sync: 0, syncNow: 0, read: 0 }
  /** Thrown by the next append, the log unchanged. */
  nextAppendError: UnderstudyError | undefined
  /** Thrown by the next sync; the log is failed from then on. */
  nextSyncError: UnderstudyError | undefined
  #base: LogPoint = ORIGIN
  #records: Buffer[] = []
  #history: EpochEntry[] = []
  #waiting: {
    readonly upTo: Lsn
    readonly resolve: (lsn: Lsn) => void
    readonly reject: (error: Error) => void
  }[] = []

  get end(): LogPoint {
    const last = this.#records.at(-1)
    if (last === undefined) return this.#base
    const { epoch, lsn, crc } = decodeRecord(last)
    return { epoch, lsn, crc }
  }

  get history(): EpochHistory {
    return [...this.#history]
  }

  startEpoch(begin: EpochBegin): LogPoint {
    const { lsn, crc } = this.end
    const number = begin.number ?? (this.#history.at(-1)?.number ?? 0) + 1
    const { runId, leader } = begin
    this.#history.push({ number, runId, leader, firstLsn: lsn + 1, crcBefore: crc })
    const payload = Buffer.from(`\u0001${runId}${leader}`)
    return this.append([{ format: 0, flags: 0, committedAtMs: begin.committedAtMs, payload }])
  }

  append(drafts: readonly RecordDraft[]): LogPoint {
    this.#checkFailure()
    this.counts.append++
    if (this.nextAppendError !== undefined) {
      const error = this.nextAppendError
      this.nextAppendError = undefined
      throw error
    }
    const epoch = this.#history.at(-1)?.number ?? 0
    for (const draft of drafts) {
      const { lsn, crc } = this.end
      this.#records.push(encode(draft, lsn + 1, epoch, crc))
    }
    return this.end
  }

  appendEncoded(bytes: Uint8Array): LogRecord[] {
    this.#checkFailure()
    const parts = splitRecords(bytes)
    const records = parts.map(decodeRecord)
    let { lsn, crc, epoch } = this.end
    for (const record of records) {
      if (record.epoch < epoch)
        throw new UnderstudyError('EPOCH_STALE', `epoch ${record.epoch} after ${epoch}`)
      if (record.lsn !== lsn + 1 || record.previousCrc !== crc)
        throw new UnderstudyError('LOG_GAP', `LSN ${record.lsn} after ${lsn}`)
      ;({ lsn, crc, epoch } = record)
    }
    for (const record of records) this.#learnEpoch(record)
    this.#records.push(...parts)
    return records
  }

  syncNow(): void {
    this.counts.syncNow++
    this.#checkSync()
    this.durable = this.end.lsn
  }

  async sync(): Promise<Lsn> {
    this.counts.sync++
    this.#checkSync()
    const upTo = this.end.lsn
    if (this.syncsAtOnce) {
      this.durable = Math.max(this.durable, upTo)
      return this.durable
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ upTo, resolve, reject })
    })
  }

  /** Ends the syncs that wait, with an error for good when given. */
  releaseSyncs(error?: UnderstudyError): void {
    for (const { upTo, resolve, reject } of this.#waiting.splice(0)) {
      if (error === undefined) {
        this.durable = Math.max(this.durable, upTo)
        resolve(this.durable)
      } else {
        this.failure = error
        reject(error)
      }
    }
  }

  read(from: Lsn, options: ReadOptions = {}): EncodedRecords | undefined {
    this.counts.read++
    if (from < this.first) throw new UnderstudyError('LOG_TRUNCATED', `the log begins at ${this.first}`)
    const upTo = options.upTo ?? this.durable
    if (from > upTo) return undefined
    const parts: Buffer[] = []
    let bytes = 0
    for (let lsn = from; lsn <= upTo; lsn++) {
      const part = this.#at(lsn)
      if (part === undefined || (parts.length > 0 && bytes + part.length > (options.bytesMax ?? 262_144)))
        break
      parts.push(part)
      bytes += part.length
    }
    return parts.length === 0
      ? undefined
      : { bytes: Buffer.concat(parts), first: from, last: from + parts.length - 1 }
  }

  *records(from: Lsn, upTo: Lsn = this.durable): Iterable<LogRecord> {
    if (from < this.first) throw new UnderstudyError('LOG_TRUNCATED', `the log begins at ${this.first}`)
    for (let lsn = from; lsn <= upTo; lsn++) {
      const part = this.#at(lsn)
      if (part === undefined) return
      yield decodeRecord(part)
    }
  }

  bytesAfter(lsn: Lsn): number {
    return this.#records
      .slice(Math.max(0, lsn - this.#base.lsn))
      .reduce((sum, record) => sum + record.length, 0)
  }

  crcAt(lsn: Lsn): number | undefined {
    if (lsn === this.#base.lsn) return this.#base.crc
    const part = lsn < this.first - 1 ? undefined : this.#at(lsn)
    return part === undefined ? undefined : decodeRecord(part).crc
  }

  truncateAfter(lsn: Lsn): void {
    this.#records.length = Math.max(0, lsn - this.#base.lsn)
    this.#history = this.#history.filter((entry) => entry.firstLsn <= lsn)
    this.durable = Math.min(this.durable, lsn)
  }

  resetTo(point: LogPoint, history: EpochHistory): void {
    this.#base = point
    this.#records = []
    this.#history = [...history]
    this.first = point.lsn + 1
    this.durable = point.lsn
  }

  /** Drops records below `first` for good. */
  collectTo(first: Lsn): void {
    this.first = first
  }

  collect(): Lsn {
    return this.first
  }

  /** What a restart after a power loss finds: nothing that was not synced. */
  crash(): MemoryLog {
    const log = new MemoryLog()
    log.resetTo(this.#base, [])
    log.first = this.first
    log.#records = this.#records.slice(0, this.durable - this.#base.lsn)
    log.#history = this.#history.filter((entry) => entry.firstLsn <= this.durable)
    log.durable = log.end.lsn
    return log
  }

  async close(): Promise<void> {
    this.releaseSyncs()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #at(lsn: Lsn): Buffer | undefined {
    return this.#records[lsn - this.#base.lsn - 1]
  }

  #learnEpoch(record: LogRecord): void {
    if (record.epoch <= (this.#history.at(-1)?.number ?? 0)) return
    const text = Buffer.from(record.payload).toString()
    const entry = {
      runId: text.slice(1, 17),
      leader: text.slice(17),
      firstLsn: record.lsn,
      crcBefore: record.previousCrc,
    }
    this.#history.push({ number: record.epoch, ...entry })
  }

  #checkSync(): void {
    this.#checkFailure()
    if (this.nextSyncError === undefined) return
    this.failure = this.nextSyncError
    throw this.failure
  }

  #checkFailure(): void {
    if (this.failure !== undefined) throw this.failure
  }
}

class MemorySlots implements RetentionSlots {
  readonly #slots = new Map<string, Slot>()
  readonly #first: () => Lsn

  constructor(first: () => Lsn) {
    this.#first = first
  }

  reserve(name: string, lsn: Lsn): Slot {
    if (lsn + 1 < this.#first())
      throw new UnderstudyError('LOG_TRUNCATED', `the log begins at ${this.#first()}`)
    const slot: Slot = { name, lsn, state: 'reserved', heldBytes: 0, safeBytes: 1000 }
    this.#slots.set(name, slot)
    return slot
  }

  advance(name: string, lsn: Lsn): void {
    const slot = this.#slots.get(name)
    if (slot === undefined) throw new UnderstudyError('SLOT_UNKNOWN', name)
    if (slot.state === 'lost') throw new UnderstudyError('SLOT_LOST', name)
    if (lsn > slot.lsn) this.#slots.set(name, { ...slot, lsn })
  }

  /** As when the cap was reached. */
  lose(name: string): void {
    const slot = this.#slots.get(name)
    if (slot !== undefined) this.#slots.set(name, { ...slot, state: 'lost' })
  }

  drop(name: string): void {
    if (!this.#slots.delete(name)) throw new UnderstudyError('SLOT_UNKNOWN', name)
  }

  get(name: string): Slot | undefined {
    return this.#slots.get(name)
  }

  list(): Slot[] {
    return [...this.#slots.values()]
  }
}
