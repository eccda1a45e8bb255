/**
 * The log: appends, syncs, reads, truncates. The one place that holds the state of an open log.
 *
 * Leaves to others: layouts (record, mark, segment-header, state-file), what survives a crash (recover), who shares a
 * sync (group-sync), what may be deleted (slots), reading files (segment-reader).
 *
 * 1. `end` moves only after the write returned, `durable` only after a sync that began after that write.
 * 2. A segment is synced whole before its successor gets its name; so only the last one can have an unsynced tail.
 * 3. A full disk leaves the log as it was. Any other failed write, and every failed sync, fails it for good.
 * 4. Truncation and reset write their intent first, then recovery carries it out.
 */
import {
  CONTROL_EPOCH,
  FORMAT_CONTROL,
  isUnderstudyError,
  UnderstudyError,
  type Clock,
  type EncodedRecords,
  type EpochBegin,
  type EpochHistory,
  type Log,
  type LogPoint,
  type LogRecord,
  type Lsn,
  type ReadOptions,
  type RecordDraft,
  type RetentionSlots,
} from '@understudy/contracts'
import { ActiveSegment } from './active-segment.ts'
import { viewOf } from './bytes.ts'
import { logFailed, staleEpoch, truncated } from './failures.ts'
import { GroupSync } from './group-sync.ts'
import { checkHistory } from './history-codec.ts'
import { encodeMark, MARK_BYTES } from './mark.ts'
import { READ_BYTES_DEFAULT, within, type Sizes } from './options.ts'
import {
  beginsEpoch,
  checkDraft,
  decodeRecord,
  decodeTrusted,
  encodeEpochPayload,
  encodeRecord,
  epochEntryOf,
  misfit,
  RECORD_HEADER_BYTES,
} from './record.ts'
import { recover } from './recover.ts'
import { installSegment, newHeader, type LogDirectory } from './segment-files.ts'
import { SegmentReader } from './segment-reader.ts'
import type { Segment } from './segment.ts'
import { Slots } from './slots.ts'
import { Spare } from './spare.ts'
import { writeState, type Intent, type LogState, type StoredSlot } from './state-file.ts'
import { TailCache } from './tail-cache.ts'

export class DurableLog implements Log {
  readonly #dir: LogDirectory
  readonly #slots: Slots
  readonly #spare: Spare
  readonly #sync: GroupSync
  readonly #cache: TailCache
  readonly #reader: SegmentReader
  readonly #markBytes: Uint8Array = new Uint8Array(MARK_BYTES)
  readonly #markView: DataView = viewOf(this.#markBytes)
  #segments: Segment[]
  #active: ActiveSegment
  #end: LogPoint
  #durable: Lsn
  #history: EpochHistory
  #state: LogState
  #failure: UnderstudyError | undefined
  #closing: Promise<void> | undefined
  /** Grows when the log is cut, so that a sync that was under way does not speak for what came after. */
  #cuts = 0

  constructor(dir: LogDirectory, clock: Clock, sizes: Sizes) {
    const recovered = recover(dir, sizes.knownDurable)
    this.#dir = dir
    this.#segments = recovered.segments
    this.#active = new ActiveSegment(dir.files, recovered.segments.at(-1)!)
    this.#end = recovered.end
    this.#durable = recovered.end.lsn
    this.#history = recovered.history
    this.#state = recovered.state
    this.#cache = new TailCache(sizes.tailCacheBytes)
    this.#reader = new SegmentReader(dir.files)
    this.#sync = new GroupSync(() => this.#runSync())
    this.#spare = new Spare(dir, clock, (cause) => this.#fail('preparing a segment', cause))
    this.#slots = new Slots(
      {
        first: () => this.first,
        bytesAfter: (lsn) => this.#diskBytesAfter(lsn),
        persist: (slots) => this.#persist({ slots }),
      },
      sizes,
      recovered.state.slots,
    )
  }

  get first(): Lsn {
    return this.#segments[0]!.firstLsn
  }

  get end(): LogPoint {
    return this.#end
  }

  get durable(): Lsn {
    return this.#durable
  }

  get history(): EpochHistory {
    return this.#history
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  get slots(): RetentionSlots {
    return this.#slots
  }

  startEpoch(begin: EpochBegin): LogPoint {
    this.#checkUsable()
    const last = this.#history.at(-1)?.number ?? 0
    const epoch = begin.number ?? last + 1
    if (!Number.isSafeInteger(epoch) || epoch <= last) throw staleEpoch(epoch, last)
    const draft: RecordDraft = {
      format: FORMAT_CONTROL,
      flags: 0,
      committedAtMs: begin.committedAtMs,
      payload: encodeEpochPayload(begin.runId, begin.leader),
    }
    checkDraft(draft)
    return this.#appendDrafts([draft], epoch)
  }

  append(drafts: readonly RecordDraft[]): LogPoint {
    this.#checkUsable()
    const epoch = this.#history.at(-1)?.number
    if (epoch === undefined) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'Records need an epoch; nothing was appended. Call startEpoch first.',
      )
    }
    for (const draft of drafts) {
      checkDraft(draft)
      if (draft.format === FORMAT_CONTROL && draft.payload[0] === CONTROL_EPOCH) {
        throw new UnderstudyError(
          'INVALID_ARGUMENT',
          'Only startEpoch begins an epoch; nothing was appended.',
        )
      }
    }
    return drafts.length === 0 ? this.#end : this.#appendDrafts(drafts, epoch)
  }

  appendEncoded(bytes: Uint8Array): LogRecord[] {
    this.#checkUsable()
    const view = viewOf(bytes)
    const records: LogRecord[] = []
    let end = this.#end
    for (let offset = 0; offset < bytes.length;) {
      const record = decodeRecord(bytes, view, offset)
      const wrong =
        record === undefined
          ? ({ code: 'RECORD_CORRUPT', reason: 'its bytes fail their checksum or are cut short' } as const)
          : misfit(end, record)
      if (record === undefined || wrong !== undefined) throw refused(end, wrong!, offset)
      records.push(record)
      end = record
      offset += RECORD_HEADER_BYTES + record.payload.length
    }
    if (records.length > 0) this.#write(bytes, end, records.filter(beginsEpoch))
    return records
  }

  syncNow(): void {
    this.#checkUsable()
    if (this.#durable >= this.#end.lsn) return
    this.#strictly('syncing', () => this.#active.syncNow())
    this.#durable = this.#end.lsn
  }

  sync(): Promise<Lsn> {
    try {
      this.#checkUsable()
    } catch (error) {
      return Promise.reject(error)
    }
    if (this.#durable >= this.#end.lsn) return Promise.resolve(this.#durable)
    return this.#sync.wait().then(() => this.#durable)
  }

  read(from: Lsn, options: ReadOptions = {}): EncodedRecords | undefined {
    this.#checkOpen()
    const upTo = Math.min(options.upTo ?? this.#durable, this.#end.lsn)
    if (from < this.first) throw truncated(from, this.first)
    if (from > upTo) return undefined
    const bytesMax = options.bytesMax ?? READ_BYTES_DEFAULT
    const cached = this.#cache.read(from, upTo, bytesMax)
    if (cached !== undefined) return cached
    const index = this.#indexOf(from)
    const lastOfSegment = (this.#segments[index + 1]?.firstLsn ?? Infinity) - 1
    return this.#reader.read(this.#segments[index]!, from, Math.min(upTo, lastOfSegment), bytesMax)
  }

  *records(from: Lsn, upTo: Lsn = this.#durable): Generator<LogRecord> {
    for (let next = from; next <= upTo;) {
      const chunk = this.read(next, { upTo })
      if (chunk === undefined) return
      const view = viewOf(chunk.bytes)
      for (let offset = 0; offset < chunk.bytes.length;) {
        const record = decodeTrusted(chunk.bytes, view, offset)
        offset += RECORD_HEADER_BYTES + record.payload.length
        yield record
      }
      next = chunk.last + 1
    }
  }

  crcAt(lsn: Lsn): number | undefined {
    this.#checkOpen()
    if (lsn === 0) return 0
    if (lsn === this.#end.lsn) return this.#end.crc
    if (!Number.isSafeInteger(lsn) || lsn < 0 || lsn > this.#end.lsn) return undefined
    if (lsn < this.first - 1) return this.#history.find((entry) => entry.firstLsn === lsn + 1)?.crcBefore
    const cached = this.#cache.crcAt(lsn)
    if (cached !== undefined) return cached
    const segment = this.#segments[this.#indexOf(lsn + 1)]!
    return this.#reader.pointAt(segment, lsn).crc
  }

  bytesAfter(lsn: Lsn): number {
    if (lsn >= this.#end.lsn) return 0
    return this.#cache.bytesFrom(lsn + 1) ?? this.#diskBytesAfter(lsn)
  }

  truncateAfter(lsn: Lsn): void {
    this.#checkUsable()
    within('the position to truncate after', lsn, 0)
    if (lsn < this.first - 1) throw truncated(lsn + 1, this.first)
    if (lsn >= this.#end.lsn) {
      this.syncNow()
      return
    }
    // Reads and verifies up to there, so that damage shows while nothing has changed yet.
    this.crcAt(lsn)
    this.#recut({ kind: 'truncate', lsn }, this.#slots.lowered(lsn), Math.min(lsn, this.#durable))
  }

  resetTo(point: LogPoint, history: EpochHistory): void {
    this.#checkUsable()
    within('the position to reset to', point.lsn, 0)
    checkHistory(history, point.lsn)
    this.#recut({ kind: 'reset', point, history }, this.#slots.restarted(point.lsn), 0)
  }

  collect(): Lsn {
    this.#checkUsable()
    const needed = this.#slots.holding() + 1
    const segments = this.#segments
    let kept = 0
    while (kept < segments.length - 1 && segments[kept + 1]!.firstLsn <= needed) kept++
    if (kept === 0) return this.first
    const floor = segments[kept]!.firstLsn
    const slots = this.#slots.losing(floor)
    this.#persist({ floor, slots })
    this.#slots.replace(slots)
    this.#segments = segments.slice(kept)
    this.#reader.release()
    this.#strictly('deleting segments', () => {
      for (const segment of segments.slice(0, kept)) {
        const reusable = segment.size === this.#dir.segmentBytes && !this.#spare.exists
        if (reusable) this.#spare.adopt(segment.path)
        else this.#dir.files.remove(segment.path)
      }
      this.#dir.files.syncDirectory(this.#dir.path)
    })
    return floor
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    try {
      await this.#sync.idle()
      if (this.#failure !== undefined) return
      if (this.#durable < this.#end.lsn) {
        this.#strictly('syncing', () => this.#active.syncNow())
        this.#durable = this.#end.lsn
      }
      this.#spare.discard()
      // Says up to where the log is durable, so that damage of the last append is told from a torn tail.
      if (this.#state.durable < this.#durable || this.#slots.moved) this.#persist({})
    } catch (error) {
      // Both are conveniences for the next open; every record is safe by now.
      if (!isUnderstudyError(error, 'DISK_FULL')) throw error
    } finally {
      this.#reader.release()
      this.#active.close()
    }
  }

  #appendDrafts(drafts: readonly RecordDraft[], epoch: number): LogPoint {
    let length = 0
    for (const draft of drafts) length += RECORD_HEADER_BYTES + draft.payload.length
    const { bytes, view } = this.#cache.room(length)
    let { lsn, crc } = this.#end
    let offset = 0
    for (const draft of drafts) {
      lsn++
      crc = encodeRecord(bytes, view, offset, draft, { lsn, epoch, previousCrc: crc })
      offset += RECORD_HEADER_BYTES + draft.payload.length
    }
    const begins = beginsEpoch(drafts[0]!) ? [decodeTrusted(bytes, view, 0)] : []
    this.#write(bytes, { epoch, lsn, crc }, begins)
    return this.#end
  }

  /** Writes encoded records that continue the log and end at `end`. */
  #write(bytes: Uint8Array, end: LogPoint, begins: readonly LogRecord[]): void {
    const first = this.#end.lsn + 1
    const length = MARK_BYTES + bytes.length
    if (length > this.#active.freeBytes) this.#rotate(length)
    const { segment } = this.#active
    const mark = { next: first, synced: this.#durable }
    encodeMark(this.#markBytes, this.#markView, segment.header.salt, mark)
    try {
      this.#active.write([this.#markBytes, bytes])
    } catch (error) {
      if (!isUnderstudyError(error, 'DISK_FULL')) throw this.#fail('writing records', error)
      this.#strictly('undoing a write', () => this.#active.undo(length))
      throw error
    }
    segment.used += length
    this.#end = { epoch: end.epoch, lsn: end.lsn, crc: end.crc }
    segment.note({ offset: segment.used, before: this.#end })
    this.#cache.push(first, end.lsn, bytes)
    for (const record of begins) this.#history = [...this.#history, epochEntryOf(record)!]
    if (segment.used * 2 > segment.size) this.#spare.start()
  }

  /** Begins a new segment with room for `length` bytes. A full disk leaves everything as it was. */
  #rotate(length: number): void {
    const old = this.#active.segment
    const empty = old.firstLsn === this.#end.lsn + 1
    const previous = empty ? old.header.previousFirstLsn : old.firstLsn
    const head = newHeader(this.#dir.random, this.#end, this.#history, previous)
    const prepared = this.#attempt('preparing a segment', () =>
      this.#spare.take(Math.max(this.#dir.segmentBytes, head.bytes.length + length)),
    )
    try {
      this.syncNow()
      const segment = this.#attempt('beginning a segment', () => installSegment(this.#dir, prepared, head))
      if (empty) this.#segments.pop()
      this.#segments.push(segment)
      this.#reader.release()
      this.#active.close()
      this.#active = this.#strictly('beginning a segment', () => new ActiveSegment(this.#dir.files, segment))
    } finally {
      prepared.close()
    }
  }

  async #runSync(): Promise<void> {
    const target = this.#end.lsn
    const cuts = this.#cuts
    try {
      await this.#active.sync()
    } catch (error) {
      throw this.#fail('syncing', error)
    }
    if (this.#failure !== undefined) throw this.#failure
    if (cuts === this.#cuts) this.#durable = Math.max(this.#durable, target)
  }

  #recut(intent: Intent, slots: ReadonlyMap<string, StoredSlot>, durable: Lsn): void {
    this.#cuts++
    this.#persist({ slots, durable, intent })
    this.#slots.replace(slots)
    this.#reader.release()
    this.#cache.clear()
    // A full disk, too, fails the log from here on: the next open finishes.
    const recovered = this.#strictly('cutting the log', () => {
      this.#active.close()
      this.#spare.discard()
      const result = recover(this.#dir, 0)
      this.#active = new ActiveSegment(this.#dir.files, result.segments.at(-1)!)
      return result
    })
    this.#segments = recovered.segments
    this.#end = recovered.end
    this.#durable = recovered.end.lsn
    this.#history = recovered.history
    this.#state = recovered.state
  }

  /** Replaces the state file with what is true now and `change`. A full disk changes nothing. */
  #persist(change: Partial<LogState>): void {
    if (this.#failure !== undefined) throw this.#failure
    const state: LogState = {
      ...this.#state,
      durable: this.#durable,
      slots: this.#slots.current,
      ...change,
    }
    this.#attempt('writing the state file', () => {
      try {
        writeState(this.#dir.files, this.#dir.path, state)
      } catch (error) {
        if (!isUnderstudyError(error, 'DISK_FULL') || !this.#spare.exists) throw error
        this.#spare.discard()
        writeState(this.#dir.files, this.#dir.path, state)
      }
    })
    this.#state = { ...state, intent: undefined }
    if (change.slots === undefined) this.#slots.replace(state.slots)
  }

  /** What the records above `lsn`, with what stands between them, take of segments. */
  #diskBytesAfter(lsn: Lsn): number {
    if (lsn >= this.#end.lsn) return 0
    const index = this.#indexOf(Math.max(lsn + 1, this.first))
    let bytes = this.#segments[index]!.bytesAfter(lsn)
    for (const segment of this.#segments.slice(index + 1)) bytes += segment.used - segment.header.bytes
    return bytes
  }

  /** Index of the segment that holds the record at `lsn`, or would. */
  #indexOf(lsn: Lsn): number {
    const segments = this.#segments
    let low = 0
    let high = segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (segments[middle]!.firstLsn <= lsn) low = middle
      else high = middle - 1
    }
    return low
  }

  #checkOpen(): void {
    if (this.#closing === undefined) return
    throw new UnderstudyError('CLOSED', 'The log was closed; nothing was read or appended. Open it anew.')
  }

  #checkUsable(): void {
    this.#checkOpen()
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Runs a step whose every error but a full disk fails the log. */
  #attempt<T>(doing: string, run: () => T): T {
    try {
      return run()
    } catch (error) {
      if (isUnderstudyError(error, 'DISK_FULL')) throw error
      throw this.#fail(doing, error)
    }
  }

  /** Runs a step whose every error fails the log. */
  #strictly<T>(doing: string, run: () => T): T {
    try {
      return run()
    } catch (error) {
      throw this.#fail(doing, error)
    }
  }

  #fail(doing: string, cause: unknown): UnderstudyError {
    return (this.#failure ??= logFailed(doing, cause))
  }
}

function refused(
  end: LogPoint,
  wrong: { readonly code: 'LOG_GAP' | 'EPOCH_STALE' | 'RECORD_CORRUPT'; readonly reason: string },
  offset: number,
): UnderstudyError {
  return new UnderstudyError(
    wrong.code,
    `Records do not continue the log, which ends at ${end.epoch}/${end.lsn}: ${wrong.reason}. Nothing was appended. ` +
      'Compare the histories again and send what follows the end.',
    { position: { epoch: end.epoch, lsn: end.lsn }, offset },
  )
}
