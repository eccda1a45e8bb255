/**
 * The leader's commit pipeline: concurrent writes share one transaction, one payload, one append, one fdatasync.
 *
 * Decides: when a group starts, in which order its four moments come (durable in the log → acked by the set → visible →
 * replied), who is told what when one of them fails, from which group on another format is in force. Leaves to others: how a group runs (commit-group), what the set is
 * (without a policy: nobody, so a durable group is acked), the sending, bases (physical).
 *
 * Validity conditions:
 * 1. One group at a time: the storage has one transaction. Writes that come meanwhile queue for the next one.
 * 2. A group starts in a turn of its own (`defer`), so that callers who were just answered can join the next one.
 * 3. No reply before COMMIT, no COMMIT before the log is durable; a write that threw or changed nothing is answered
 *    with its group, when all it could have seen is visible. A physical format's group is committed, and so visible on this node, before it
 *    is durable: only the reply waits.
 * 4. After a failed sync, append of unknown effect, COMMIT or foreign write nothing is written any more; what may
 *    survive is reported as `OUTCOME_UNKNOWN`, what was never run as `NOT_WRITTEN`.
 * 5. A change of format is a turn of its own between two groups. One to a physical format logs a base, before which the
 *    storage is made durable: writes queue for so long.
 * 6. A shadow is asked after each COMMIT, before the replies. It survives a change of format, unless it cannot be beside the new one.
 */
import {
  UnderstudyError,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Position,
  type Receipt,
  type Recorder,
  type RunResult,
  type SqliteConnection,
  type Storage,
  type Timer,
  type WriteTransaction,
} from '@understudy/contracts'
import {
  rollBackGroup,
  runCapture,
  runGroup,
  runSwitch,
  type GroupContext,
  type GroupOutcome,
} from './commit-group.ts'
import { asFailure, notWritten, notWrittenInTime, outcomeUnknown, replacedByBase } from './failures.ts'
import { PIPELINE_LIMITS, RECORD_BYTES_MAX, withDefaults, type PipelineLimits } from './limits.ts'
import { logBase } from './physical.ts'
import { ShadowRecorder, shadowRefusal, type ShadowOptions, type ShadowReport } from './shadow.ts'
import { runStatements, type Statement } from './statements.ts'
import { isCapture, isMarker, isSwitch, MARKER, WriteQueue, type PendingWrite } from './write-queue.ts'

/** Runs a function in a later turn of the event loop, after what is due now. */
export type Defer = (run: () => void) => void

export interface CommitPipelineOptions<C, T = WriteTransaction> {
  readonly storage: Storage<C, T>
  /** Must have begun an epoch of this node, and everything in it must be applied: see `becomeLeader`. */
  readonly log: Log
  readonly format: LogFormat<C>
  /** A second format, recorded only to be compared with the one in force. */
  readonly shadow?: ShadowOptions<C>
  /** Cluster id, for receipts. */
  readonly cluster: string
  readonly clock: Clock
  readonly limits?: Partial<PipelineLimits>
  /** Default `setImmediate`. A simulation gives `(run) => clock.schedule(0, run)`. */
  readonly defer?: Defer
  /** Records up to here are durable and may leave the node. Called in the same turn, after the writes were answered. */
  readonly onDurable?: (point: LogPoint) => void
  /** A marker record, and nothing after it, is visible. What it throws, `mark` rejects with. */
  readonly onMarker?: (point: LogPoint) => void
  /** A base was logged: nobody can tell page by page what changed before it. */
  readonly onBase?: (point: LogPoint) => void
  /** The pipeline stopped for good. */
  readonly onFailed?: (failure: UnderstudyError) => void
}

export interface WriteOptions {
  /** How long the write may wait for its turn. Default `writeTimeoutMs` of the limits. */
  readonly timeoutMs?: number
}

export interface WriteResult<R> {
  readonly value: R
  readonly receipt: Receipt
}

export interface CommitPipeline<T = WriteTransaction, C = SqliteConnection> {
  /**
   * Runs a synchronous callback in a transaction and resolves once it is durable and visible. Rejects with what the
   * callback threw, `NOT_WRITTEN`, `OUTCOME_UNKNOWN`, `OVERLOADED`, `CLOSED`, or the failure that stopped the pipeline.
   */
  write<R>(body: (tx: T) => R, options?: WriteOptions): Promise<WriteResult<R>>
  /** Runs the statements in order; `value` holds the result of each. `EXPECTATION_FAILED` when one changed another number of rows. */
  write(statements: readonly Statement[], options?: WriteOptions): Promise<WriteResult<RunResult[]>>
  /** Writes a marker record: every node tells its `onMarker` exactly when it shows this position and nothing later. */
  mark(): Promise<LogPoint>
  /**
   * Of a storage whose file others write too: logs what they committed, as pages or, when those cannot be told, as a base.
   * With `marker` a marker record follows at once; it is called while nobody can commit, to freeze what the marker stands
   * for. `NOT_WRITTEN` when the lock was not to be had, or a base came in the place of a marker: ask again.
   */
  capture(marker?: () => void): Promise<LogPoint>
  /**
   * Groups are recorded in `format` from the position on that it resolves with; writes go on meanwhile. Rejects with what
   * the format's `inspect` throws, and as `write` does; the old format stays in force then.
   */
  switchFormat(format: LogFormat<C>): Promise<LogPoint>
  /** The format in force. */
  readonly format: LogFormat<C>
  /** What the shadow and the format in force have measured since this one came into force; `undefined` without a shadow. */
  readonly shadow: ShadowReport | undefined
  /** Last LSN that satisfies the ack rule. */
  readonly highWatermark: Lsn
  /** Why the pipeline stopped, if it did. */
  readonly failure: UnderstudyError | undefined
  /** Writes that wait for their turn. */
  readonly queued: number
  /** Takes no more writes; resolves when those it has are answered. */
  close(): Promise<void>
}

export function createCommitPipeline<C, T = WriteTransaction>(
  options: CommitPipelineOptions<C, T>,
): CommitPipeline<T, C> {
  return new GroupCommitPipeline(options)
}

/** Below any real sync, so that a limit below it never syncs a group on this thread. */
const SYNC_MS_MIN = 0.001

class GroupCommitPipeline<C, T> implements CommitPipeline<T, C> {
  readonly #options: CommitPipelineOptions<C, T>
  #context: GroupContext<C, T>
  #shadow: ShadowOptions<C> | undefined
  readonly #limits: PipelineLimits
  readonly #defer: Defer
  readonly #queue = new WriteQueue<T>()
  /** `busy` from the scheduling of a group until its replies. */
  #busy = false
  #group: PendingWrite<T>[] = []
  #highWatermark: Lsn
  /** How long a sync takes, smoothed. Unknown at first, which counts as slow. */
  #syncMs = Number.POSITIVE_INFINITY
  #failure: UnderstudyError | undefined
  #closed: { promise: Promise<void>; resolve: () => void } | undefined
  #deadline: { readonly atMs: number; readonly timer: Timer } | undefined

  constructor(options: CommitPipelineOptions<C, T>) {
    const { storage, log, format, clock } = options
    this.#options = options
    this.#limits = withDefaults(PIPELINE_LIMITS, options.limits)
    this.#defer = options.defer ?? setImmediate
    if (this.#limits.recordBytesMax > RECORD_BYTES_MAX) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `recordBytesMax is ${this.#limits.recordBytesMax}; a record must fit into a frame, so it can be ${RECORD_BYTES_MAX} at most.`,
      )
    }
    this.#shadow = options.shadow
    const refusal = options.shadow && shadowRefusal(format, options.shadow.format)
    if (refusal !== undefined) throw refusal
    const recorder = this.#recorderOf(format)
    this.#context = { storage, log, format, recorder, clock, limits: this.#limits }
    this.#highWatermark = log.durable
  }

  get format(): LogFormat<C> {
    return this.#context.format
  }

  get shadow(): ShadowReport | undefined {
    const { recorder } = this.#context
    return recorder instanceof ShadowRecorder ? recorder.report() : undefined
  }

  get highWatermark(): Lsn {
    return this.#highWatermark
  }

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  get queued(): number {
    return this.#queue.length
  }

  write<R>(body: (tx: T) => R, options?: WriteOptions): Promise<WriteResult<R>>
  write(statements: readonly Statement[], options?: WriteOptions): Promise<WriteResult<RunResult[]>>
  write(
    body: ((tx: T) => unknown) | readonly Statement[],
    options?: WriteOptions,
  ): Promise<WriteResult<never>> {
    // The types let a list in for every storage; one whose transactions have no `run` rejects it with its own error.
    const run =
      typeof body === 'function'
        ? body
        : (runStatements(body) as (tx: never) => unknown as (tx: T) => unknown)
    return this.#enqueue(run, options) as Promise<WriteResult<never>>
  }

  mark(): Promise<LogPoint> {
    return this.#enqueue(MARKER, undefined) as Promise<LogPoint>
  }

  switchFormat(format: LogFormat<C>): Promise<LogPoint> {
    return this.#enqueue({ format }, undefined) as Promise<LogPoint>
  }

  capture(marker?: () => void): Promise<LogPoint> {
    return this.#enqueue({ marker }, undefined) as Promise<LogPoint>
  }

  async close(): Promise<void> {
    this.#closed ??= Promise.withResolvers<void>()
    this.#endIfDrained()
    return this.#closed.promise
  }

  #enqueue(body: PendingWrite<T>['body'], options: WriteOptions | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal()
      if (refusal !== undefined) {
        reject(refusal)
        return
      }
      const timeoutMs = options?.timeoutMs ?? this.#limits.writeTimeoutMs
      const deadlineMs = this.#options.clock.monotonic() + timeoutMs
      this.#queue.push({ body, deadlineMs, resolve, reject, outcome: undefined, threw: false })
      if (this.#deadline === undefined || deadlineMs < this.#deadline.atMs) this.#watchDeadline(deadlineMs)
      if (!this.#busy) this.#startGroup()
    })
  }

  #refusal(): UnderstudyError | undefined {
    if (this.#failure !== undefined) return this.#failure
    if (this.#closed !== undefined) {
      return new UnderstudyError(
        'CLOSED',
        'The node is closing and takes no more writes; nothing was changed.',
      )
    }
    if (this.#queue.length < this.#limits.queueWritesMax) return undefined
    return new UnderstudyError(
      'OVERLOADED',
      `${this.#queue.length} writes wait already; this one was not taken on and nothing was changed. Try again later.`,
      { queued: this.#queue.length },
    )
  }

  // The group

  #startGroup(): void {
    this.#busy = true
    this.#defer(this.#runGroup)
  }

  readonly #runGroup = (): void => {
    // Writes may all have reached their deadline while the turn was awaited.
    const next = this.#queue.peek()
    if (next === undefined) return this.#endGroup()
    const outcome = this.#run(next.body)
    switch (outcome.kind) {
      case 'appended':
        return this.#makeDurable(outcome.point, outcome.open)
      case 'unlogged':
        return this.#logBase()
      case 'rolledBack':
        return this.#reply(this.#context.storage.applied)
      case 'notWritten':
        this.#rejectGroup(notWritten(outcome.cause))
        return this.#endGroup()
      case 'failed':
        return this.#fail(outcome.failure, outcome.position)
    }
  }

  #run(body: PendingWrite<T>['body']): GroupOutcome {
    if (isSwitch(body)) return this.#runSwitch(body.format as LogFormat<C>)
    if (!isCapture(body)) return runGroup(this.#context, this.#queue, this.#group)
    this.#group.push(this.#queue.take() as PendingWrite<T>)
    return runCapture(this.#context, body)
  }

  /** The group that changes the format, of no effect when it is in force: the new recorder is there before anything is logged, the old one again when that fails. */
  #runSwitch(format: LogFormat<C>): GroupOutcome {
    const request = this.#queue.take() as PendingWrite<T>
    this.#group.push(request)
    const { storage } = this.#context
    const before = this.#context.format
    if (format === before && (format.physical === true) === storage.physical) return { kind: 'rolledBack' }
    try {
      format.inspect?.(storage.connection)
      this.#record(format)
      if (format.physical !== true || storage.physical) {
        const outcome = runSwitch(this.#context, format.id)
        if (outcome.kind !== 'appended') this.#record(before)
        else this.#endShadowUnless(format)
        return outcome
      }
      storage.begin()
      storage.markBefore(this.#context.log.end)
      storage.commit()
      this.#endShadowUnless(format)
      return { kind: 'unlogged' }
    } catch (error) {
      storage.rollback()
      this.#record(before)
      request.outcome = error
      request.threw = true
      return { kind: 'rolledBack' }
    }
  }

  #record(format: LogFormat<C>): void {
    if (format === this.#context.format) return
    this.#context.recorder.close()
    try {
      this.#context = { ...this.#context, format, recorder: this.#recorderOf(format) }
    } catch (error) {
      this.#context = { ...this.#context, recorder: this.#recorderOf(this.#context.format) }
      throw error
    }
  }

  #recorderOf(format: LogFormat<C>): Recorder {
    const { storage, clock } = this.#options
    const { connection } = storage
    const shadow = this.#shadow
    if (shadow === undefined || shadowRefusal(format, shadow.format) !== undefined)
      return format.recorder(connection)
    return new ShadowRecorder({ connection, clock, format, shadow })
  }

  /** Once a change of format is sure. */
  #endShadowUnless(format: LogFormat<C>): void {
    if (this.#shadow && shadowRefusal(format, this.#shadow.format)) this.#shadow = undefined
  }

  /** What is committed becomes durable in the storage, then the base in the log: both before anyone is answered. */
  #logBase(): void {
    const { log, storage, clock, format, recorder, limits } = this.#context
    const { epoch, lsn } = log.end
    logBase({ log, storage, clock, recordBytesMax: limits.recordBytesMax }, format, recorder).then(
      (point) => {
        this.#options.onBase?.(point)
        this.#refuseMarker()
        this.#durable(point, false)
      },
      (error: unknown) =>
        this.#fail(asFailure(error, 'STORAGE_FAILED', 'A base could not be logged'), {
          epoch,
          lsn: lsn + 1,
        }),
    )
  }

  /**
   * A lone writer waits less for an fdatasync on this thread than for a trip to the thread pool, and so does a group on a
   * disk that is fast at the moment. While the disk is slow the trip is nothing, and this thread has others to serve:
   * followers, snapshots, readers.
   */
  #makeDurable(point: LogPoint, open: boolean): void {
    const { log, clock, limits } = this.#context
    const startMs = clock.monotonic()
    const isLone = this.#group.length === 1 && this.#queue.length === 0
    if (isLone ? this.#isSlow(limits.loneSyncHereMsMax) : this.#syncMs >= limits.syncHereMsMax) {
      log.sync().then(
        () => {
          this.#noteSync(clock.monotonic() - startMs)
          this.#durable(point, open)
        },
        (error: unknown) => this.#syncFailed(point, error),
      )
      return
    }
    try {
      log.syncNow()
    } catch (error) {
      return this.#syncFailed(point, error)
    }
    this.#noteSync(clock.monotonic() - startMs)
    this.#durable(point, open)
  }

  /** Nothing is known before the first sync: a lone write takes the disk for fast then. */
  #isSlow(msMax: number): boolean {
    return Number.isFinite(this.#syncMs) && this.#syncMs >= msMax
  }

  /** One slow sync among fast ones is a checkpoint's; several in a row are the disk. Clocks are coarse: none takes no time. */
  #noteSync(tookMs: number): void {
    const ms = Math.max(tookMs, SYNC_MS_MIN)
    this.#syncMs = this.#syncMs === Number.POSITIVE_INFINITY ? ms : this.#syncMs * 0.9 + ms * 0.1
  }

  #syncFailed(point: LogPoint, error: unknown): void {
    rollBackGroup(this.#context)
    this.#fail(asFailure(error, 'LOG_FAILED', 'The log could not be made durable'), point)
  }

  /** First moment: the group survives a crash of this node. */
  #durable(point: LogPoint, open: boolean): void {
    this.#acked(point, open)
    this.#options.onDurable?.(point)
  }

  /** Second moment: the set has it. Without a policy the set is this node. */
  #acked(point: LogPoint, open: boolean): void {
    this.#highWatermark = point.lsn
    this.#makeVisible(point, open)
  }

  /** Third moment: readers of this node see it. A physical group is visible already, and gets its name. */
  #makeVisible(point: LogPoint, open: boolean): void {
    const { storage, recorder } = this.#context
    try {
      if (open) storage.commit()
      else storage.settle(point)
    } catch (error) {
      rollBackGroup(this.#context)
      return this.#fail(
        asFailure(error, 'STORAGE_FAILED', 'A COMMIT failed after its record was durable'),
        point,
      )
    }
    if (recorder instanceof ShadowRecorder) recorder.committed()
    const first = this.#group[0]
    if (first !== undefined && !first.threw && isMarker(first.body)) this.#tellMarker(first, point)
    this.#reply(point)
  }

  /** A capture that ended in a base has no marker. */
  #refuseMarker(): void {
    const [capture] = this.#group
    if (capture === undefined || !isMarker(capture.body)) return
    capture.outcome = replacedByBase()
    capture.threw = true
  }

  #tellMarker(marker: PendingWrite<T>, point: LogPoint): void {
    try {
      this.#options.onMarker?.(point)
    } catch (error) {
      marker.outcome = error
      marker.threw = true
    }
  }

  /** Fourth moment: the callers know. */
  #reply(point: LogPoint): void {
    const { cluster } = this.#options
    const position = { epoch: point.epoch, lsn: point.lsn }
    let index = 0
    for (const write of this.#group) {
      if (write.threw) {
        write.reject(write.outcome)
      } else if (typeof write.body !== 'function') {
        write.resolve(point)
      } else {
        const receipt: Receipt = {
          cluster,
          position,
          index: index++,
          crc: point.crc,
          asked: 'local',
          reached: 'local',
        }
        write.resolve({ value: write.outcome, receipt })
      }
    }
    this.#endGroup()
  }

  #endGroup(): void {
    this.#group = []
    this.#busy = false
    if (this.#queue.length > 0) this.#startGroup()
    else this.#endIfDrained()
  }

  #rejectGroup(error: UnderstudyError): void {
    for (const write of this.#group) write.reject(write.threw ? write.outcome : error)
  }

  #fail(failure: UnderstudyError, position: Position | undefined): void {
    this.#failure = failure
    this.#rejectGroup(position === undefined ? notWritten(failure) : outcomeUnknown(position, failure))
    for (const write of this.#queue.takeAll()) write.reject(notWritten(failure))
    this.#endGroup()
    this.#options.onFailed?.(failure)
  }

  #endIfDrained(): void {
    if (this.#busy || this.#queue.length > 0 || this.#closed === undefined) return
    this.#deadline?.timer.cancel()
    this.#deadline = undefined
    this.#context.recorder.close()
    this.#closed.resolve()
  }

  // Deadlines: one timer for the earliest, so that a write costs none of its own.

  #watchDeadline(atMs: number): void {
    this.#deadline?.timer.cancel()
    const { clock } = this.#options
    const timer = clock.schedule(Math.max(0, atMs - clock.monotonic()), () => this.#expire())
    this.#deadline = { atMs, timer }
  }

  #expire(): void {
    this.#deadline = undefined
    for (const write of this.#queue.takeExpired(this.#options.clock.monotonic()))
      write.reject(notWrittenInTime())
    const next = this.#queue.earliestDeadlineMs()
    if (next !== Number.POSITIVE_INFINITY) this.#watchDeadline(next)
  }
}
