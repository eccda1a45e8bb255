/**
 * What is true: the leader's durable records, in order, and the data that they make. Every node is compared with it.
 *
 * Decides: whether a log or a storage contradicts the history. Leaves to others: when to look, what clients were told.
 *
 * 1. Records enter once, from the leader's log, when it calls them durable. From then on they can never change or go.
 * 2. The data at any LSN can be asked for: each key keeps its values with the LSN that set them.
 * 3. A storage that is ahead of its position shows the next transaction, too. While that is in no log yet, its data is
 *    nobody's truth: the record that it becomes will be.
 */
import {
  FLAG_CONTINUES,
  FORMAT_CONTROL,
  isUnderstudyError,
  type Log,
  type LogPoint,
  type Lsn,
} from '@understudy/contracts'
import type { MemoryStorage } from '@understudy/testkit'
import { InvariantBreach } from './breach.ts'
import type { Formats, RecordedChange, RecordKind } from './formats.ts'
import { rawRecords, type RawRecord } from './raw-records.ts'

interface Known {
  readonly epoch: number
  readonly crc: number
  /** A transaction, an epoch's beginning or a marker ends here: a storage may stand here. */
  readonly isEnd: boolean
  /** A record of the log itself, which changes no data. */
  readonly isControl: boolean
  /** Keys that have a value once this is applied. */
  readonly keys: number
}

interface Version {
  readonly lsn: Lsn
  readonly value: string | undefined
}

/** Told of each transaction that enters, by its last LSN. */
export type OnTransaction = (transaction: {
  readonly lsn: Lsn
  readonly kind: RecordKind
  readonly changes: readonly RecordedChange[]
  readonly parts: number
}) => void

export class History {
  readonly #records: Known[] = []
  readonly #values = new Map<string, Version[]>()
  readonly #formats: Formats
  readonly #onTransaction: OnTransaction
  readonly #onRecord: (record: RawRecord) => void
  #chain: RawRecord[] = []
  #keys = 0

  constructor(
    formats: Formats,
    onTransaction: OnTransaction,
    onRecord: (record: RawRecord) => void = () => {},
  ) {
    this.#formats = formats
    this.#onTransaction = onTransaction
    this.#onRecord = onRecord
  }

  get end(): Lsn {
    return this.#records.length
  }

  /**
   * Takes the records above `end` that the leader's log calls durable. A transaction whose last part is not there stays
   * out: a start of leading cuts it off.
   */
  ingest(log: Log): void {
    let held: RawRecord[] = []
    for (const record of readRaw(log, this.end + 1, log.durable)) {
      held.push(record)
      if ((record.flags & FLAG_CONTINUES) !== 0) continue
      for (const whole of held) this.#take(whole)
      held = []
    }
  }

  /** Compares the records of a log from `from` to its end; returns the LSN up to which they were seen. */
  compare(node: string, log: Log, from: Lsn): Lsn {
    const end = log.end.lsn
    for (const record of readRaw(log, Math.max(from, log.first), end)) {
      const known = this.#records[record.lsn - 1]
      const at = `${node} at ${record.epoch}/${record.lsn}`
      if (record.computedCrc !== record.crc)
        throw new InvariantBreach('I11', `${at}: a record is read whose CRC is not that of its bytes`)
      if (known === undefined)
        throw new InvariantBreach(
          'W1',
          `${at}: holds a record that the leader does not call durable (${this.end})`,
        )
      if (known.epoch !== record.epoch || known.crc !== record.crc)
        throw new InvariantBreach(
          'I3',
          `${at}: another record than ${known.epoch}/${record.lsn} of the history`,
        )
      const before = this.#records[record.lsn - 2]?.crc ?? 0
      if (record.previousCrc !== before) throw new InvariantBreach('I3', `${at}: follows another record`)
    }
    return end
  }

  /** Whether a log holds everything from its beginning up to the end of the history, as a leader must. */
  expectWhole(node: string, log: Log): void {
    if (log.end.lsn < this.end)
      throw new InvariantBreach(
        'I1',
        `${node}: its log ends at ${log.end.lsn}, but records up to ${this.end} were durable`,
      )
  }

  /** Whether a storage shows exactly the data of its position. */
  expectState(node: string, storage: MemoryStorage): void {
    const { applied } = storage
    this.expectPoint(node, applied)
    const lsn = storage.ahead ? this.#transactionAfter(applied.lsn) : applied.lsn
    if (lsn === undefined) return
    const { connection } = storage
    const keys = this.#records[lsn - 1]?.keys ?? 0
    const found = connection.inTransaction ? connection.committedEntries().length : connection.size
    if (found !== keys) throw new InvariantBreach('I5', `${node} at LSN ${lsn}: ${found} keys, not ${keys}`)
    for (const key of this.#values.keys()) {
      const expected = this.valueAt(key, lsn)
      const value = storage.get(key)
      if (expected !== value)
        throw new InvariantBreach(
          'I5',
          `${node} at LSN ${lsn}: ${key} is ${brief(value)}, not ${brief(expected)}`,
        )
    }
  }

  /** Whether a position names a place of the history where a storage may stand. */
  expectPoint(node: string, { epoch, lsn, crc }: LogPoint): void {
    if (lsn === 0) return
    const known = this.#records[lsn - 1]
    if (known === undefined)
      throw new InvariantBreach('W1', `${node} shows ${epoch}/${lsn}, which the leader does not call durable`)
    if (known.epoch !== epoch || known.crc !== crc)
      throw new InvariantBreach('I3', `${node} shows ${epoch}/${lsn}, which is ${known.epoch}/${lsn}`)
    if (!known.isEnd) throw new InvariantBreach('I8', `${node} stands inside a transaction, at LSN ${lsn}`)
  }

  valueAt(key: string, lsn: Lsn): string | undefined {
    const versions = this.#values.get(key)
    if (versions === undefined) return undefined
    for (let at = versions.length - 1; at >= 0; at--) {
      const version = versions[at] as Version
      if (version.lsn <= lsn) return version.value
    }
    return undefined
  }

  /** LSN of the last transaction at or below `lsn`, which is 0 before the first. */
  transactionAt(lsn: Lsn): Lsn {
    const at = this.#records.findLastIndex(({ isControl }, index) => index < lsn && !isControl)
    return at + 1
  }

  /** Where the first transaction after `lsn` ends. */
  #transactionAfter(lsn: Lsn): Lsn | undefined {
    const at = this.#records.findIndex(({ isEnd, isControl }, index) => index >= lsn && isEnd && !isControl)
    return at < 0 ? undefined : at + 1
  }

  #take(record: RawRecord): void {
    const { lsn, epoch, crc } = record
    const last = this.#records.at(-1)
    if (record.computedCrc !== crc)
      throw new InvariantBreach('I11', `record ${lsn} of the leader has a wrong CRC`)
    if (record.previousCrc !== (last?.crc ?? 0) || lsn !== this.end + 1)
      throw new InvariantBreach('I3', `record ${lsn} of the leader does not follow record ${this.end}`)
    if (epoch < (last?.epoch ?? 0))
      throw new InvariantBreach('I4', `record ${lsn} is of epoch ${epoch}, lower than before`)
    this.#onRecord(record)
    const isControl = record.format === FORMAT_CONTROL
    const first = this.#chain[0]
    if (first !== undefined && (isControl || first.epoch !== epoch))
      throw new InvariantBreach(
        'I8',
        `the transaction that began at LSN ${first.lsn} stays without its end in the history`,
      )
    const continues = (record.flags & FLAG_CONTINUES) !== 0
    if (!isControl) this.#chain.push(record)
    if (!isControl && !continues) this.#endTransaction(record)
    this.#records.push({ epoch, crc, isEnd: !continues, isControl, keys: this.#keys })
  }

  #decode(lsn: number, format: number, payload: Uint8Array): ReturnType<Formats['decode']> {
    try {
      return this.#formats.decode(format, payload, () => this.#contents())
    } catch (error) {
      if (!isUnderstudyError(error, 'RECORD_CORRUPT')) throw error
      throw new InvariantBreach('I5', `record ${lsn} is not of the format that it names: ${error.message}`)
    }
  }

  #endTransaction({ lsn, format }: RawRecord): void {
    const payload = Buffer.concat(this.#chain.map((part) => part.payload))
    const [kind, changes] = this.#decode(lsn, format, payload)
    for (const { key, before, knowsBefore, after } of changes) {
      const versions = this.#values.get(key) ?? []
      const current = versions.at(-1)?.value
      if (knowsBefore && current !== before)
        throw new InvariantBreach(
          'I10',
          `record ${lsn} replaces ${key} = ${brief(before)}, but it was ${brief(current)}`,
        )
      this.#keys += (after === undefined ? 0 : 1) - (current === undefined ? 0 : 1)
      versions.push({ lsn, value: after })
      this.#values.set(key, versions)
    }
    this.#onTransaction({ lsn, kind, changes, parts: this.#chain.length })
    this.#chain = []
  }

  /** All data at the end. */
  #contents(): Map<string, string> {
    const contents = new Map<string, string>()
    for (const [key, versions] of this.#values) {
      const value = versions.at(-1)?.value
      if (value !== undefined) contents.set(key, value)
    }
    return contents
  }
}

function* readRaw(log: Log, from: Lsn, upTo: Lsn): Generator<RawRecord> {
  for (let next = from; next <= upTo;) {
    const chunk = log.read(next, { upTo })
    if (chunk === undefined) return
    yield* rawRecords(chunk.bytes)
    next = chunk.last + 1
  }
}

function brief(value: string | undefined): string {
  if (value === undefined) return 'missing'
  return value.length > 30 ? `${value.slice(0, 30)}… (${value.length})` : value
}
