/**
 * Applying records to a storage: the one piece of code behind a follower's stream and every node's redo at start.
 *
 * Decides: which records share a transaction of the storage, where a batch ends, what remains after a failure. Leaves
 * to others: which records may be applied (durable here, at or below the high watermark), when the next batch runs.
 *
 * Validity conditions:
 * 1. Records are pushed in log order without gaps, beginning right above the storage's position.
 * 2. A batch is one transaction that stores the position of its last record; parts of a transaction that is not whole
 *    are never applied. Records of two formats never share one; records of the log itself go with any.
 * 3. A batch ends with a marker record, and `onMarker` is called right after its COMMIT, before anything else is applied.
 * 4. One format is engaged at a time: its applier is made outside of a transaction and prepared in its first one; what the
 *    format before had prepared is restored first, because a logical applier may take triggers out that another needs.
 * 5. A physical format is applied only to a file that is the leader's page by page; any other must bootstrap.
 * 6. When a record cannot be applied, every record before it is, nothing of it is, and the loop takes no more.
 */
import {
  CONTROL_EPOCH,
  CONTROL_GROUP_ACKS,
  CONTROL_MARKER,
  FORMAT_CONTROL,
  UnderstudyError,
  formatPosition,
  type Applier,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type LogRecord,
  type Lsn,
  type Storage,
} from '@understudy/contracts'
import { asFailure, withPosition } from './failures.ts'
import { APPLY_LIMITS, withDefaults, type ApplyLimits } from './limits.ts'
import { PartAssembler, type WholeTransaction } from './parts.ts'
import { formatNotGiven } from './physical.ts'

export interface ApplyLoopOptions<C, T> {
  readonly storage: Storage<C, T>
  /** Every format that records may name. */
  readonly formats: readonly LogFormat<C>[]
  readonly clock: Clock
  readonly limits?: Partial<ApplyLimits>
  /** A marker record, and nothing after it, is visible. What it throws is ignored. */
  readonly onMarker?: (point: LogPoint) => void
}

const EMPTY = new Uint8Array(0)

interface Engaged<C> {
  readonly format: LogFormat<C>
  readonly applier: Applier
  prepared: boolean
}

export class ApplyLoop<C, T> {
  readonly #storage: Storage<C, T>
  readonly #clock: Clock
  readonly #limits: ApplyLimits
  readonly #onMarker: ((point: LogPoint) => void) | undefined
  readonly #formats: ReadonlyMap<number, LogFormat<C>>
  #engaged: Engaged<C> | undefined
  /** Nothing is prepared for another format than the engaged one. */
  #restored = false
  /** The open transaction prepared the engaged applier. */
  #preparing = false
  readonly #assembler: PartAssembler
  #waiting: WholeTransaction[] = []
  #waitingBytes = 0
  #nextLsn: Lsn
  /** Why the record after those that wait cannot be taken. */
  #broken: UnderstudyError | undefined
  #failure: UnderstudyError | undefined

  constructor(options: ApplyLoopOptions<C, T>) {
    this.#storage = options.storage
    this.#clock = options.clock
    this.#limits = withDefaults(APPLY_LIMITS, options.limits)
    this.#onMarker = options.onMarker
    this.#formats = new Map(options.formats.map((format) => [format.id, format]))
    this.#assembler = new PartAssembler(this.#limits.transactionBytesMax)
    this.#nextLsn = options.storage.applied.lsn + 1
  }

  /** The record to push next. */
  get nextLsn(): Lsn {
    return this.#nextLsn
  }

  /** Payload bytes of whole transactions that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Whether no whole transaction waits; parts of one may. */
  get idle(): boolean {
    return this.#waiting.length === 0
  }

  /** First LSN of a transaction whose last part did not come yet. */
  get incompleteFrom(): Lsn | undefined {
    return this.#assembler.pendingFrom
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  /** Undoes what applying prepared, now or before an earlier stop: the storage is as the leader's was. */
  restore(): void {
    this.#disengage()
    this.#restoreOthers(undefined)
  }

  /** What an earlier loop of this life, or one of an earlier life, prepared for another format than this one. */
  #restoreOthers(formatId: number | undefined): void {
    this.#restored = true
    // Pages are the leader's, its triggers among them: there is nothing to put back.
    if (this.#storage.physical) return
    for (const format of this.#formats.values()) {
      if (format.physical === true || format.id === formatId) continue
      this.#engaged = { format, applier: format.applier(this.#storage.connection), prepared: true }
      this.#disengage()
    }
  }

  /** Takes the next record. Throws `LOG_GAP` for any other. A broken chain of parts is thrown by `step`, after what came before it is applied. */
  push(record: LogRecord): void {
    if (this.#broken !== undefined) return
    if (record.lsn !== this.#nextLsn) {
      throw new UnderstudyError(
        'LOG_GAP',
        `Record ${formatPosition(record)} came where LSN ${this.#nextLsn} was due; nothing of it was applied.`,
        { position: { epoch: record.epoch, lsn: record.lsn } },
      )
    }
    let whole: WholeTransaction | undefined
    try {
      whole = this.#assembler.push(record)
    } catch (error) {
      this.#broken = asFailure(error, 'RECORD_CORRUPT', 'A record cannot be read')
      return
    }
    this.#nextLsn++
    if (whole === undefined) return
    this.#waiting.push(whole)
    this.#waitingBytes += whole.payload.length
  }

  /** Reads records back from the log, through `upTo`, until the memory limit is reached or enough waits. */
  fill(log: Log, upTo: Lsn): void {
    if (this.#nextLsn > upTo || this.#broken !== undefined) return
    for (const record of log.records(this.#nextLsn, upTo)) {
      this.push(record)
      if (
        this.#waitingBytes >= this.#limits.queueBytesMax ||
        this.#waiting.length >= this.#limits.batchRecordsMax
      )
        return
    }
  }

  /** Whether `push` still has room; records beyond it are read back from the log later. */
  get hasRoom(): boolean {
    const { queueBytesMax, batchRecordsMax } = this.#limits
    return this.#waitingBytes < queueBytesMax && this.#waiting.length < 4 * batchRecordsMax
  }

  /**
   * Applies one batch of what waits, through `upTo`; returns its last position, `undefined` when there was nothing to
   * apply. Throws the error of the record that could not be applied, with its position.
   */
  step(upTo: Lsn): LogPoint | undefined {
    if (this.#failure !== undefined) throw this.#failure
    const first = this.#waiting[0]
    if (first === undefined && this.#broken !== undefined) throw this.#fail(this.#broken)
    if (first === undefined || first.lsn > upTo) return undefined
    try {
      const formatId = this.#nextFormat(upTo)
      if (formatId !== FORMAT_CONTROL) this.#engage(formatId, first)
      else if (this.#storage.physical) return this.#settleControls(upTo)
      this.#storage.begin()
      return this.#commit(this.#applySome(upTo, this.#clock.monotonic()))
    } catch (error) {
      throw this.#failure ?? this.#fail(error)
    }
  }

  /**
   * Runs `body` with the way to undo payloads of a format, in one transaction that also sets the position back to `point`; then
   * what waits is forgotten. A throw leaves everything as it was.
   */
  rewind(formatId: number, point: LogPoint, body: (undo: (payload: Uint8Array) => void) => void): void {
    if (this.#failure !== undefined) throw this.#failure
    if (formatId === FORMAT_CONTROL && this.#storage.physical) {
      this.#storage.settle(point)
      return this.reset()
    }
    if (formatId !== FORMAT_CONTROL) this.#engage(formatId, { ...point, format: formatId, payload: EMPTY })
    this.#storage.begin()
    try {
      body((payload) => {
        const { applier } = this.#prepared()
        applier.undo?.(payload)
      })
      this.#storage.mark(point)
      this.#storage.commit()
      this.#preparing = false
    } catch (error) {
      this.#rollBack()
      throw error
    }
    this.reset()
  }

  /** Forgets what waits and goes on above the storage's position, after the log was cut. */
  reset(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#assembler.clear()
    this.#broken = undefined
    this.#nextLsn = this.#storage.applied.lsn + 1
  }

  /** As `reset`, after the storage went back to an older point: what was prepared there is to be found out anew. */
  forget(): void {
    this.close()
    this.#restored = false
    this.reset()
  }

  close(): void {
    this.#engaged?.applier.close()
    this.#engaged = undefined
  }

  /** Format of the first waiting record that is not the log's own; the log's own when there is none. */
  #nextFormat(upTo: Lsn): number {
    for (const { lsn, format } of this.#waiting) {
      if (lsn > upTo) break
      if (format !== FORMAT_CONTROL) return format
    }
    return FORMAT_CONTROL
  }

  #engage(formatId: number, first: WholeTransaction): void {
    if (this.#engaged?.format.id === formatId) return
    const format = this.#formats.get(formatId)
    // What comes before it is applied first; its turn finds it at the head.
    if (format === undefined || (format.physical === true && !this.#storage.physical)) {
      if (first.format === FORMAT_CONTROL) return
      const position = { epoch: first.epoch, lsn: first.lsn }
      throw withPosition(format === undefined ? formatNotGiven(formatId) : needsEqualPages(), position)
    }
    this.#disengage()
    if (!this.#restored) this.#restoreOthers(formatId)
    this.#engaged = { format, applier: format.applier(this.#storage.connection), prepared: false }
  }

  #disengage(): void {
    const engaged = this.#engaged
    if (engaged === undefined) return
    try {
      if (engaged.prepared && engaged.format.physical !== true)
        this.#inTransaction(() => engaged.applier.restore())
    } finally {
      this.#engaged = undefined
      engaged.applier.close()
    }
  }

  /** Records of the log itself change no page: a physical storage is only told of them. */
  #settleControls(upTo: Lsn): LogPoint {
    let count = 0
    for (const transaction of this.#waiting) {
      if (transaction.format !== FORMAT_CONTROL || transaction.lsn > upTo) break
      try {
        checkControl(transaction)
      } catch (error) {
        if (count > 0) break
        throw withPosition(error, { epoch: transaction.epoch, lsn: transaction.lsn })
      }
      count++
      if (isMarker(transaction)) break
    }
    const last = this.#waiting[count - 1] as WholeTransaction
    this.#storage.settle({ epoch: last.epoch, lsn: last.lsn, crc: last.crc })
    return this.#taken(count)
  }

  #applySome(upTo: Lsn, startMs: number): number {
    const { batchRecordsMax, batchBytesMax, batchMsMax } = this.#limits
    let bytes = 0
    let count = 0
    while (count < this.#waiting.length && count < batchRecordsMax) {
      const transaction = this.#waiting[count] as WholeTransaction
      if (transaction.lsn > upTo) break
      const isControl = transaction.format === FORMAT_CONTROL
      if (!isControl && transaction.format !== this.#engaged?.format.id) break
      try {
        this.#apply(transaction)
      } catch (error) {
        this.#keepBefore(count)
        throw withPosition(error, { epoch: transaction.epoch, lsn: transaction.lsn })
      }
      count++
      bytes += transaction.payload.length
      if (isMarker(transaction) || bytes >= batchBytesMax) break
      // The clock is asked now and then only: it costs as much as a small record.
      if ((count & 7) === 0 && this.#clock.monotonic() - startMs >= batchMsMax) break
    }
    return count
  }

  #apply(transaction: WholeTransaction): void {
    if (transaction.format === FORMAT_CONTROL) {
      checkControl(transaction)
      return
    }
    this.#prepared().applier.apply(transaction.payload)
  }

  #prepared(): Engaged<C> {
    const engaged = this.#engaged as Engaged<C>
    if (!engaged.prepared) {
      engaged.applier.prepare()
      engaged.prepared = true
      this.#preparing = true
    }
    return engaged
  }

  /** A bad record takes the batch down with it: applies the good ones before it again, without it. */
  #keepBefore(count: number): void {
    this.#rollBack()
    if (count === 0) return
    this.#storage.begin()
    for (let at = 0; at < count; at++) this.#apply(this.#waiting[at] as WholeTransaction)
    this.#commit(count)
  }

  /** What the batch prepared is undone with it. */
  #rollBack(): void {
    this.#storage.rollback()
    if (this.#preparing && this.#engaged !== undefined) this.#engaged.prepared = false
    this.#preparing = false
  }

  #commit(count: number): LogPoint {
    const last = this.#waiting[count - 1] as WholeTransaction
    const point: LogPoint = { epoch: last.epoch, lsn: last.lsn, crc: last.crc }
    const changesPages = this.#waiting.slice(0, count).some(({ format }) => format !== FORMAT_CONTROL)
    const isPhysical = changesPages ? this.#engaged?.format.physical === true : this.#storage.physical
    try {
      if (!isPhysical) this.#storage.mark(point)
      this.#storage.commit()
      if (isPhysical) this.#storage.settle(point)
      this.#preparing = false
    } catch (error) {
      throw this.#fail(
        asFailure(error, 'STORAGE_FAILED', `The batch up to ${formatPosition(point)} could not be committed`),
      )
    }
    return this.#taken(count)
  }

  /** The first `count` that wait are applied. */
  #taken(count: number): LogPoint {
    const last = this.#waiting[count - 1] as WholeTransaction
    const point: LogPoint = { epoch: last.epoch, lsn: last.lsn, crc: last.crc }
    for (let at = 0; at < count; at++)
      this.#waitingBytes -= (this.#waiting[at] as WholeTransaction).payload.length
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count)
    if (isMarker(last)) this.#tellMarker(point)
    return point
  }

  #tellMarker(point: LogPoint): void {
    try {
      this.#onMarker?.(point)
    } catch {
      // The marker is applied all the same: a view that could not be frozen must not stop a follower. Whoever asks for
      // the view is told that it is missing.
    }
  }

  #fail(error: unknown): UnderstudyError {
    this.#failure = asFailure(error, 'STORAGE_FAILED', 'The storage failed while records were applied')
    this.#rollBack()
    return this.#failure
  }

  #inTransaction(run: () => void): void {
    this.#storage.begin()
    try {
      run()
      this.#storage.commit()
    } catch (error) {
      this.#storage.rollback()
      throw error
    }
  }
}

function isMarker(transaction: WholeTransaction): boolean {
  return transaction.format === FORMAT_CONTROL && transaction.payload[0] === CONTROL_MARKER
}

function checkControl({ payload }: WholeTransaction): void {
  const kind = payload[0]
  if (kind !== undefined && kind >= CONTROL_EPOCH && kind <= CONTROL_GROUP_ACKS) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `It is a control record of kind ${String(kind)}, which only a newer version knows. Update this node.`,
    { kind },
  )
}

function needsEqualPages(): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    'It holds pages, and this file is not the leader’s page by page. The node makes it so: only pages that differ travel.',
  )
}
