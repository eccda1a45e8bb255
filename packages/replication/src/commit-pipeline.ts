/**
 * The leader's commit pipeline: concurrent writes share one transaction, one payload, one append, one fdatasync.
 *
 * Decides: when a group starts, in which order its four moments come (durable in the log → acked by the set → visible →
 * replied), who is told what when one of them fails, from which group on another format is in force. Leaves to others: how a group runs (commit-group), whose acks a group
 * needs and when it has them (ack-gate; without a rule a durable group is acked), the sending, bases (physical).
 *
 * Validity conditions:
 * 1. One group at a time: the storage has one transaction. Writes that come meanwhile queue for the next one.
 * 2. A group starts in a turn of its own (`defer`), so that callers who were just answered can join the next one.
 * 3. No reply before COMMIT, no COMMIT before the log is durable and the set has it; a write that threw or changed nothing is answered
 *    with its group, when all it could have seen is visible. A physical format's group is committed, and so visible on this node, before it
 *    is durable: only the reply waits. So it is with a policy whose visibility is `local`.
 * 4. After a failed sync, append of unknown effect, COMMIT or foreign write nothing is written any more; what may
 *    survive is reported as `OUTCOME_UNKNOWN`, what was never run as `NOT_WRITTEN`.
 * 5. A change of format is a turn of its own between two groups. One to a physical format logs a base, before which the
 *    storage is made durable: writes queue for so long.
 * 6. The high watermark is what followers may show: what is acked; with a rule of the level `applied`, which they must show
 *    to satisfy it, what is durable.
 * 7. A group that waits for acks is never given up while the node leads. One that waits when it stops is rolled back here,
 *    stays in the log, and is `OUTCOME_UNKNOWN`.
 * 8. A shadow is asked after each COMMIT, before the replies. It survives a change of format, unless it cannot be beside the new one.
 */
import {
  UnderstudyError,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Position,
  type RunResult,
  type Timer,
  type WriteTransaction,
} from '@understudy/contracts'
import { AckGate, refusedUntilAcked, type AckStatus } from './ack-gate.ts'
import { formatRule, type AckRule } from './ack-rule.ts'
import type { MemberProgress, SyncState } from './ack-tracker.ts'
import {
  ackRuleDraft,
  loweredDraft,
  rollBackGroup,
  runCapture,
  settleControl,
  runGroup,
  type GroupContext,
  type GroupOutcome,
} from './commit-group.ts'
import {
  asFailure,
  closing,
  notWritten,
  notWrittenAborted,
  outcomeUnknown,
  overloaded,
  replacedByBase,
  unknownWithoutAcks,
} from './failures.ts'
import { changeFormat } from './format-change.ts'
import { pipelineLimits, type PipelineLimits } from './limits.ts'
import { logBase } from './physical.ts'
import type {
  CommitPipeline,
  CommitPipelineOptions,
  Defer,
  Recovery,
  WriteOptions,
  WriteResult,
} from './pipeline-api.ts'
import { answerGroup, countGroup } from './reply.ts'
import { QueueDeadline } from './queue-deadline.ts'
import { Recording } from './recording.ts'
import type { ShadowReport } from './shadow.ts'
import { runStatements, type Statement } from './statements.ts'
import { SyncPace } from './sync-pace.ts'
import {
  MARKER,
  RAISE,
  WriteQueue,
  isCapture,
  isMarker,
  isSwitch,
  pendingWrite,
  watchSignal,
  type PendingWrite,
} from './write-queue.ts'

export function createCommitPipeline<C, T = WriteTransaction>(
  options: CommitPipelineOptions<C, T>,
): CommitPipeline<T, C> {
  return new GroupCommitPipeline(options)
}

/** A group that waits for acks, from when it is durable. */
interface Awaiting {
  readonly point: LogPoint
  /** Its transaction waits for COMMIT; otherwise it is shown here. */
  readonly open: boolean
  /** It is what a former life left in the log. */
  readonly recovery: Recovery | undefined
}

class GroupCommitPipeline<C, T> implements CommitPipeline<T, C> {
  readonly #options: CommitPipelineOptions<C, T>
  readonly #context: GroupContext<C, T>
  readonly #recording: Recording<C, T>
  readonly #limits: PipelineLimits
  readonly #defer: Defer
  readonly #queue = new WriteQueue<T>()
  /** `busy` from the scheduling of a group until its replies. */
  #busy = false
  #group: PendingWrite<T>[] = []
  #highWatermark: Lsn
  readonly #pace: SyncPace
  readonly #gate: AckGate<T>
  #awaiting: Awaiting | undefined
  #awaitedSinceMs = 0
  /** Log or storage work for the group that waits is under way: it cannot be given up in the middle. */
  #isSettling = false
  /** `close` waits for acks no longer. */
  #endsWaits = false
  #graceTimer: Timer | undefined
  #failure: UnderstudyError | undefined
  #closed: { promise: Promise<void>; resolve: () => void } | undefined
  readonly #deadline: QueueDeadline<T>

  constructor(options: CommitPipelineOptions<C, T>) {
    const { storage, log, format, clock } = options
    this.#options = options
    this.#limits = pipelineLimits(options.limits)
    this.#defer = options.defer ?? setImmediate
    const recording = (this.#recording = new Recording(storage, clock, format, options.shadow))
    this.#deadline = new QueueDeadline(this.#queue, clock)
    this.#pace = new SyncPace(log, clock, this.#limits, options.measures?.syncMs)
    this.#gate = new AckGate(options.acks, options.node, clock, {
      met: () => this.#met(),
      refuse: () => this.#rejectQueue(refusedUntilAcked),
      degrade: () => this.#degrade(),
      raise: () => void this.#enqueue(RAISE, undefined, undefined).catch(() => this.#gate.raiseFailed()),
    })
    const ackFlags = (): number => this.#gate.flagsOf(this.#group)
    this.#context = recording.context(log, this.#limits, ackFlags)
    this.#highWatermark = options.recovery === undefined ? log.durable : storage.applied.lsn
    this.#gate.durable(log.end)
    if (options.recovery !== undefined) this.#recover(options.recovery)
  }

  get format(): LogFormat<C> {
    return this.#recording.format
  }

  get shadow(): ShadowReport | undefined {
    return this.#recording.shadow
  }

  get highWatermark(): Lsn {
    return this.#highWatermark
  }

  get acks(): AckStatus {
    return this.#gate.status()
  }

  follower(name: string, progress: MemberProgress | undefined): void {
    this.#gate.follower(name, progress)
  }

  awaits(name: string): boolean {
    return this.#gate.awaits(name)
  }

  syncState(name: string): SyncState {
    return this.#gate.syncState(name)
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
    let rule: AckRule | undefined
    try {
      rule = this.#gate.ruleOf(options)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#enqueue(run, options, rule) as Promise<WriteResult<never>>
  }

  mark(): Promise<LogPoint> {
    return this.#enqueue(MARKER, undefined, this.#gate.ruleOf(undefined)) as Promise<LogPoint>
  }

  switchFormat(format: LogFormat<C>, { isUnacked = false } = {}): Promise<LogPoint> {
    const rule = isUnacked ? undefined : this.#gate.ruleOf(undefined)
    return this.#enqueue({ format }, undefined, rule) as Promise<LogPoint>
  }

  capture(marker?: () => void): Promise<LogPoint> {
    return this.#enqueue({ marker }, undefined, this.#gate.ruleOf(undefined)) as Promise<LogPoint>
  }

  async close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers<void>()
      if (this.#gate.waits === 'unmet') this.#endWaits()
      else if (this.#busy)
        this.#graceTimer = this.#options.clock.schedule(this.#limits.closeAckMs, () => this.#endWaits())
      this.#endIfDrained()
    }
    return this.#closed.promise
  }

  stop(failure: UnderstudyError): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#rejectQueue(() => notWritten(failure))
    this.#giveUp()
  }

  #endWaits(): void {
    this.#endsWaits = true
    this.#giveUp()
  }

  #enqueue(
    body: PendingWrite<T>['body'],
    options: WriteOptions | undefined,
    rule: AckRule | undefined,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal()
      if (refusal !== undefined) {
        reject(refusal)
        return
      }
      const timeoutMs = options?.timeoutMs ?? this.#limits.writeTimeoutMs
      const sinceMs = this.#options.clock.monotonic()
      const deadlineMs = sinceMs + timeoutMs
      const { ackTimeoutMs } = options ?? {}
      const write = pendingWrite<T>({ body, sinceMs, deadlineMs, rule, ackTimeoutMs, resolve, reject })
      this.#queue.push(write)
      this.#deadline.watch(deadlineMs)
      if (options?.signal !== undefined)
        watchSignal(write, options.signal, (signal) => this.#giveUpWrite(write, signal))
      if (!this.#busy) this.#startGroup()
    })
  }

  #refusal(): UnderstudyError | undefined {
    if (this.#failure !== undefined) return this.#failure
    if (this.#closed !== undefined) return closing()
    if (this.#gate.refuses) return refusedUntilAcked()
    return this.#queue.length < this.#limits.queueWritesMax ? undefined : overloaded(this.#queue.length)
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
        return this.#reply(this.#context.storage.applied, false)
      case 'notWritten':
        this.#rejectGroup(notWritten(outcome.cause))
        return this.#endGroup()
      case 'failed':
        return this.#fail(outcome.failure, outcome.position)
    }
  }

  #run(body: PendingWrite<T>['body']): GroupOutcome {
    if (!isSwitch(body) && !isCapture(body))
      return runGroup(this.#context, this.#queue, this.#group, this.#raiseDraft)
    const request = this.#queue.take() as PendingWrite<T>
    this.#group.push(request)
    if (isCapture(body)) return runCapture(this.#context, body)
    return changeFormat(this.#context, this.#recording, request, body.format as LogFormat<C>)
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

  #makeDurable(point: LogPoint, open: boolean): void {
    this.#pace.sync(
      this.#group.length === 1 && this.#queue.length === 0,
      () => this.#durable(point, open),
      (error) => this.#syncFailed(point, error),
    )
  }

  #syncFailed(point: LogPoint, error: unknown): void {
    rollBackGroup(this.#context)
    this.#fail(asFailure(error, 'LOG_FAILED', 'The log could not be made durable'), point)
  }

  /** First moment: the group survives a crash of this node. */
  #durable(point: LogPoint, open: boolean): void {
    this.#gate.durable(point)
    const rules = this.#gate.rulesOf(this.#group)
    if (rules.length > 0) return this.#await(point, open, rules)
    this.#acked(point, open)
    this.#options.onDurable?.(point)
  }

  /** The group is sent, and waits for its set. What can be shown before is. */
  #await(point: LogPoint, open: boolean, rules: readonly AckRule[]): void {
    const isHidden = open && !this.#gate.showsFirst
    if (!isHidden && !this.#makeVisible(point, open)) return
    if (rules.some(({ level }) => level === 'applied')) this.#highWatermark = point.lsn
    this.#awaiting = { point, open: isHidden, recovery: undefined }
    this.#awaitedSinceMs = this.#options.clock.monotonic()
    if (this.#failure !== undefined || this.#endsWaits) return this.#giveUp()
    this.#gate.wait(point, rules, this.#group)
    this.#options.onDurable?.(point)
    this.#gate.look()
  }

  #met(): void {
    const awaiting = this.#awaiting
    if (awaiting === undefined) return
    const { failure } = this.#context.log
    // It may have failed while nothing was written: for a slot, or a segment that is no longer needed.
    if (failure !== undefined) return this.#syncFailed(awaiting.point, failure)
    if (this.#group[0]?.body === RAISE) {
      this.#gate.restored()
      this.#options.onAckRule?.({ effective: this.#gate.effective, degraded: false })
    }
    const { measures, clock } = this.#options
    if (awaiting.recovery === undefined) measures?.ackWaitMs.observe(clock.monotonic() - this.#awaitedSinceMs)
    this.#finish(awaiting, awaiting.point)
  }

  /** What waited is acked, or the rule was lowered by the record at `end`. */
  #finish(awaiting: Awaiting, end: LogPoint): void {
    const { point, open, recovery } = awaiting
    if (recovery !== undefined) return this.#finishRecovery(recovery, end)
    this.#awaiting = undefined
    this.#highWatermark = end.lsn
    if (open && !this.#makeVisible(point, true)) return
    if (end !== point && !this.#settleRecord(end)) return
    this.#reply(point)
    this.#options.onDurable?.(end)
  }

  /** Second moment: the set has it. Without a rule the set is this node. */
  #acked(point: LogPoint, open: boolean): void {
    this.#highWatermark = point.lsn
    if (this.#makeVisible(point, open)) this.#reply(point)
  }

  /** Third moment: readers of this node see it. A physical group is visible already, and gets its name. */
  #makeVisible(point: LogPoint, open: boolean): boolean {
    const { storage } = this.#context
    try {
      if (open) storage.commit()
      else storage.settle(point)
    } catch (error) {
      rollBackGroup(this.#context)
      this.#fail(asFailure(error, 'STORAGE_FAILED', 'A COMMIT failed after its record was durable'), point)
      return false
    }
    this.#recording.committed()
    const first = this.#group[0]
    if (first !== undefined && !first.threw && isMarker(first.body)) this.#tellMarker(first, point)
    this.#options.onVisible?.(point)
    return true
  }

  // Acks that do not come

  /** The rule is lowered: first its record, which is durable before anything is answered by it. */
  #degrade(): void {
    const { log, clock } = this.#context
    const awaiting = this.#awaiting
    if (awaiting === undefined) return
    let record: LogPoint
    try {
      record = log.append([loweredDraft(clock, this.#gate.unmet)])
    } catch (error) {
      if (log.failure !== undefined) return this.#syncFailed(awaiting.point, error)
      return this.#gate.postpone()
    }
    this.#isSettling = true
    log.sync().then(
      () => {
        this.#isSettling = false
        if (this.#failure !== undefined || this.#endsWaits) return this.#giveUp()
        const wasDegraded = this.#gate.isDegraded
        this.#gate.lowered()
        this.#gate.durable(record)
        if (!wasDegraded) this.#options.onAckRule?.({ effective: this.#gate.effective, degraded: true })
        this.#finish(awaiting, record)
      },
      (error: unknown) => this.#syncFailed(awaiting.point, error),
    )
  }

  /** The set is back: a group of its own raises the rule, once the set has it. */
  readonly #raiseDraft = (): ReturnType<typeof ackRuleDraft> =>
    ackRuleDraft(this.#options.clock, formatRule(this.#gate.rule))

  /** A record of the log itself, above what is shown: the storage is told of it. */
  #settleRecord(point: LogPoint): boolean {
    try {
      settleControl(this.#context.storage, point)
      return true
    } catch (error) {
      rollBackGroup(this.#context)
      this.#fail(asFailure(error, 'STORAGE_FAILED', 'The position of a record could not be stored'), point)
      return false
    }
  }

  /** The node stops leading: what waits for acks is rolled back here, and stays in the log. */
  #giveUp(): void {
    const awaiting = this.#awaiting
    if (awaiting === undefined || this.#isSettling) return
    const failure = this.#failure
    const isHidden = awaiting.open || awaiting.recovery !== undefined
    const error = unknownWithoutAcks(awaiting.point, isHidden, failure)
    this.#awaiting = undefined
    this.#gate.close()
    if (awaiting.open) rollBackGroup(this.#context)
    this.#failure ??= error
    this.#rejectQueue(() => notWritten(error))
    this.#rejectGroup(error)
    this.#endGroup()
  }

  // What a former life left

  #recover(recovery: Recovery): void {
    this.#busy = true
    this.#awaiting = { point: recovery.point, open: false, recovery }
    if (this.#gate.rule.level === 'applied') this.#highWatermark = recovery.point.lsn
    this.#gate.wait(recovery.point, [this.#gate.rule], this.#group, true)
    this.#defer(() => this.#gate.look())
  }

  #finishRecovery(recovery: Recovery, end: LogPoint): void {
    this.#isSettling = true
    recovery.run().then(
      () => {
        this.#isSettling = false
        this.#awaiting = undefined
        this.#highWatermark = end.lsn
        this.#recording.renew()
        this.#beginWithBase()
        this.#options.onVisible?.(end)
        this.#endGroup()
        this.#options.onDurable?.(end)
      },
      (error: unknown) => {
        this.#isSettling = false
        this.#awaiting = undefined
        this.#fail(asFailure(error, 'STORAGE_FAILED', 'The end of the log could not be redone'), end)
      },
    )
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

  /** The end of the log was of another kind than the format that writes begin with: a base comes before any of them. */
  #beginWithBase(): void {
    const { format, storage } = this.#context
    if (this.#failure !== undefined || format.physical !== true || storage.physical) return
    const logged = new Promise((resolve, reject) => {
      const whole = {
        sinceMs: 0,
        deadlineMs: Number.POSITIVE_INFINITY,
        rule: undefined,
        ackTimeoutMs: undefined,
      }
      this.#queue.unshift(pendingWrite<T>({ body: { format }, ...whole, resolve, reject }))
    })
    logged.catch((error: unknown) => {
      if (this.#failure !== undefined) return
      this.#fail(asFailure(error, 'STORAGE_FAILED', 'A base could not be logged'), undefined)
    })
  }

  /** Fourth moment: the callers know. What changed nothing asked for no acks. */
  #reply(point: LogPoint, asked = true): void {
    const { measures, clock } = this.#options
    if (measures !== undefined) countGroup(measures, this.#group, clock.monotonic())
    answerGroup(this.#group, asked ? this.#gate : undefined, this.#options.cluster, point)
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

  #rejectQueue(error: () => UnderstudyError): void {
    for (const write of this.#queue.takeAll()) write.reject(error())
  }

  #fail(failure: UnderstudyError, position: Position | undefined): void {
    this.#failure ??= failure
    this.#awaiting = undefined
    this.#isSettling = false
    this.#gate.close()
    this.#rejectGroup(position === undefined ? notWritten(failure) : outcomeUnknown(position, failure))
    this.#rejectQueue(() => notWritten(failure))
    this.#endGroup()
    this.#options.onFailed?.(failure)
  }

  #endIfDrained(): void {
    if (this.#busy || this.#queue.length > 0 || this.#closed === undefined) return
    this.#deadline.cancel()
    this.#graceTimer?.cancel()
    this.#gate.close()
    this.#context.recorder.close()
    this.#closed.resolve()
  }

  /** Before its turn an aborted write never runs; after it, only the wait ends. */
  #giveUpWrite(write: PendingWrite<T>, signal: AbortSignal): void {
    write.aborted = true
    if (this.#queue.remove(write)) write.reject(notWrittenAborted(signal))
    else this.#gate.aborted()
  }
}
