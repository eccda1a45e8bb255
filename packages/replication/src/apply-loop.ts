/**
 * Applying records to a storage: the one piece of code behind a follower's stream and every node's redo at start.
 *
 * Decides: which records share a transaction of the storage, where a batch ends, what remains after a failure. Leaves
 * to others: which records may be applied (durable here, at or below the high watermark), when the next batch runs.
 *
 * Validity conditions:
 * 1. Records are pushed in log order without gaps, beginning right above the storage's position.
 * 2. A batch is one transaction that stores the position of its last record; parts of a transaction that is not whole
 *    are never applied.
 * 3. A batch ends with a marker record, and `onMarker` is called right after its COMMIT, before anything else is applied.
 * 4. When a record cannot be applied, every record before it is, nothing of it is, and the loop takes no more.
 */
import {
  CONTROL_EPOCH,
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

export interface ApplyLoopOptions<C, T> {
  readonly storage: Storage<C, T>
  /** Every format that records may name. */
  readonly formats: readonly LogFormat<C>[]
  readonly clock: Clock
  readonly limits?: Partial<ApplyLimits>
  /** A marker record, and nothing after it, is visible. What it throws is ignored. */
  readonly onMarker?: (point: LogPoint) => void
}

export class ApplyLoop<C, T> {
  readonly #storage: Storage<C, T>
  readonly #clock: Clock
  readonly #limits: ApplyLimits
  readonly #onMarker: ((point: LogPoint) => void) | undefined
  readonly #appliers: Map<number, Applier>
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
    this.#appliers = new Map(
      options.formats.map((format) => [format.id, format.applier(options.storage.connection)]),
    )
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

  /** Makes the storage ready for applying, in a transaction of its own. */
  prepare(): void {
    this.#inTransaction(() => {
      for (const applier of this.#appliers.values()) applier.prepare()
    })
  }

  /** Undoes `prepare`, in a transaction of its own. */
  restore(): void {
    this.#inTransaction(() => {
      for (const applier of this.#appliers.values()) applier.restore()
    })
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
    let count = 0
    const startMs = this.#clock.monotonic()
    try {
      this.#storage.begin()
      count = this.#applySome(upTo, startMs)
    } catch (error) {
      throw this.#fail(error)
    }
    return this.#commit(count)
  }

  /** Forgets what waits and goes on above the storage's position, after the log was cut. */
  reset(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#assembler.clear()
    this.#broken = undefined
    this.#nextLsn = this.#storage.applied.lsn + 1
  }

  close(): void {
    for (const applier of this.#appliers.values()) applier.close()
  }

  #applySome(upTo: Lsn, startMs: number): number {
    const { batchRecordsMax, batchBytesMax, batchMsMax } = this.#limits
    let bytes = 0
    let count = 0
    while (count < this.#waiting.length && count < batchRecordsMax) {
      const transaction = this.#waiting[count] as WholeTransaction
      if (transaction.lsn > upTo) break
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
    const applier = this.#appliers.get(transaction.format)
    if (applier === undefined) {
      throw new UnderstudyError(
        'FORMAT_UNKNOWN',
        `It is of log format ${transaction.format}, which this node was not given. Start it with that format.`,
        { format: transaction.format },
      )
    }
    applier.apply(transaction.payload)
  }

  /** A bad record takes the batch down with it: applies the good ones before it again, without it. */
  #keepBefore(count: number): void {
    this.#storage.rollback()
    if (count === 0) return
    this.#storage.begin()
    for (let at = 0; at < count; at++) this.#apply(this.#waiting[at] as WholeTransaction)
    this.#commit(count)
  }

  #commit(count: number): LogPoint {
    const last = this.#waiting[count - 1] as WholeTransaction
    const point: LogPoint = { epoch: last.epoch, lsn: last.lsn, crc: last.crc }
    try {
      this.#storage.mark(point)
      this.#storage.commit()
    } catch (error) {
      throw this.#fail(
        asFailure(error, 'STORAGE_FAILED', `The batch up to ${formatPosition(point)} could not be committed`),
      )
    }
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
    this.#storage.rollback()
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
  if (kind === CONTROL_EPOCH || kind === CONTROL_MARKER) return
  throw new UnderstudyError(
    'FORMAT_VERSION',
    `It is a control record of kind ${String(kind)}, which only a newer version knows. Update this node.`,
    { kind },
  )
}
