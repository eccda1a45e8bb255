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
 * 8. A change of the ack rule is a group of its own. When its record satisfied both rules, a record of the new one alone follows,
 *    durable before anyone is answered by it. Writes queue for so long.
 * 9. Whether this node leads is asked right before anything is kept, shown or answered. Once it does not, nothing more is.
 * 10. A write whose body is asynchronous is a group that ends in a later turn (open-transaction). Nothing else begins before.
 * 11. A shadow is asked after each COMMIT, before the replies. It survives a change of format, unless it cannot be beside the new one.
 */
import {
  UnderstudyError,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Position,
  type Timer,
  type WriteTransaction,
} from '@understudy/contracts'
import { AckGate, refusedUntilAcked, type AckStatus } from './ack-gate.ts'
import type { AckPolicy, AckRule } from './ack-rule.ts'
import type { MemberProgress, SyncState } from './ack-tracker.ts'
import {
  ackRuleDraft,
  loweredDraft,
  logBaseOf,
  rollBackGroup,
  settleControl,
  type GroupContext,
  type GroupOutcome,
  type GroupRecords,
} from './commit-group.ts'
import { askForBase } from './base-first.ts'
import { asFailure, closing, leaseLost, notWritten, outcomeUnknown, unknownWithoutAcks } from './failures.ts'
import { Hold } from './hold.ts'
import type { IdStatus } from './id-gate.ts'
import { pipelineLimits, type PipelineLimits } from './limits.ts'
import { Intake } from './intake.ts'
import { keyedWrites, type KeyedWrites } from './keyed-writes.ts'
import { refuseMarker, tellMarker } from './marker.ts'
import type {
  Awaiting,
  ChangeAcksOptions,
  CommitPipeline,
  CommitPipelineOptions,
  Defer,
  Recovery,
} from './pipeline-api.ts'
import type { Reached, Reaches } from './receipts.ts'
import { answerGroup, countGroup, rejectGroup } from './reply.ts'
import { PipelineIds } from './pipeline-ids.ts'
import { PolicyChanges } from './policy-changes.ts'
import { Recording } from './recording.ts'
import type { ShadowReport } from './shadow.ts'
import { heldBack, OpenTransactions } from './open-transaction.ts'
import { runNext, type Turns } from './run-next.ts'
import { SyncPace } from './sync-pace.ts'
import { MARKER, RAISE, isAcks, type PendingWrite } from './write-queue.ts'

export function createCommitPipeline<C, T = WriteTransaction>(
  options: CommitPipelineOptions<C, T>,
): CommitPipeline<T, C> {
  return new GroupCommitPipeline(options)
}

class GroupCommitPipeline<C, T> implements CommitPipeline<T, C> {
  readonly #options: CommitPipelineOptions<C, T>
  readonly #context: GroupContext<C, T>
  readonly #recording: Recording<C, T>
  readonly #limits: PipelineLimits
  readonly #defer: Defer
  readonly #intake: Intake<T>
  /** `busy` from the scheduling of a group until its replies. */
  #busy = false
  #group: PendingWrite<T>[] = []
  readonly #hold = new Hold()
  #highWatermark: Lsn
  /** As the high watermark, but never above what is acked: for the level `applied` that one is. */
  #acknowledged: Lsn
  readonly #pace: SyncPace
  readonly #gate: AckGate<T>
  readonly #policies: PolicyChanges<T>
  readonly #keyed: KeyedWrites<T>
  readonly #transactions: OpenTransactions<C, T>
  readonly #turns: Turns<C, T>
  readonly #ids: PipelineIds<C, T>
  #awaiting: Awaiting | undefined
  #awaitedSinceMs = 0
  /** Log or storage work for the group that waits is under way: it cannot be given up in the middle. */
  #isSettling = false
  /** `close` waits for acks no longer. */
  #endsWaits = false
  #graceTimer: Timer | undefined
  #failure: UnderstudyError | undefined
  #closed: { promise: Promise<void>; resolve: () => void } | undefined

  constructor(options: CommitPipelineOptions<C, T>) {
    const { storage, log, format, clock, acks, acksBefore, node } = options
    this.#options = options
    this.#limits = pipelineLimits(options.limits)
    this.#defer = options.defer ?? setImmediate
    const recording = (this.#recording = new Recording(storage, clock, format, options.shadow))
    this.#pace = new SyncPace(log, clock, this.#limits, options.measures?.syncMs)
    const events = {
      met: () => this.#met(),
      refuse: () => this.#intake.rejectAll(refusedUntilAcked),
      degrade: () => this.#degrade(),
      raise: () => void this.#intake.enqueue(RAISE, {}).catch(() => this.#gate.raiseFailed()),
    }
    this.#gate = new AckGate(acks, acksBefore?.changing, node, clock, events, options.saysIfLowered)
    this.#transactions = new OpenTransactions(clock, this.#limits, (outcome) => this.#take(outcome))
    this.#intake = new Intake<T>({
      clock,
      limits: this.#limits,
      gate: this.#gate,
      keyed: () => this.#keyed,
      leads: () => this.leads(),
      over: () => this.#failure ?? (this.#closed && closing()),
      aborted: (write, signal) => this.#transactions.abort(write, signal),
      arrived: () => this.#startGroup(),
    })
    const { enqueue } = this.#intake
    const around = { gate: this.#gate, lower: () => this.#degrade(), enqueue, options }
    this.#policies = new PolicyChanges<T>(around, acksBefore?.ruleAt)
    this.#turns = { recording, policies: this.#policies, transactions: this.#transactions }
    const hidden = (): LogPoint | undefined => (this.#awaiting?.recovery?.isHidden ? log.end : undefined)
    this.#keyed = keyedWrites(options, this.#limits, this.#gate, this, hidden)
    this.#ids = new PipelineIds(options, { gate: this.#gate, own: (body) => this.own(body) })
    const asks = (): GroupRecords => this.#policies.records(this.#group)
    const assertLeads = (): void => {
      if (!this.leads()) throw this.#failure
    }
    this.#context = recording.context(log, this.#limits, asks, this.#keyed, assertLeads, this.#ids)
    this.#highWatermark = options.recovery === undefined ? log.durable : storage.applied.lsn
    this.#acknowledged = options.acknowledged ?? this.#highWatermark
    this.#gate.durable(log.end)
    if (options.recovery === undefined) this.#ids.start()
    else this.#recover(options.recovery)
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

  get acknowledged(): Lsn {
    return this.#acknowledged
  }

  get policy(): AckPolicy {
    return this.#gate.policy
  }

  get acks(): AckStatus {
    return this.#gate.status()
  }

  get ids(): IdStatus | undefined {
    return this.#ids.status
  }

  readonly idsPromise = (name: string): number => this.#ids.gate?.promise(name) ?? 0

  follower(name: string, progress: MemberProgress | undefined): void {
    if (this.#failure !== undefined || !(this.#keyed.waits.isEmpty || this.leads())) return
    this.#gate.follower(name, progress)
    this.#ids.follower(name, progress)
    this.#keyed.waits.look()
  }

  reach(...asked: Parameters<Reaches['reach']>): Promise<Reached> {
    // After that only what was known while it led.
    if (this.#failure === undefined && !this.leads()) return Promise.reject(this.#failure)
    return this.#keyed.reach(...asked)
  }

  readonly awaits = (name: string): boolean => this.#gate.awaits(name)
  readonly syncState = (name: string): SyncState => this.#gate.syncState(name)

  get failure(): UnderstudyError | undefined {
    return this.#failure
  }

  get queued(): number {
    return this.#intake.queue.length
  }

  get waitingMs(): number {
    return this.#intake.waitingMs(this.#group[0])
  }

  readonly write = (...asked: Parameters<Intake<T>['write']>): Promise<never> => this.#intake.write(...asked)
  readonly transaction = (...asked: Parameters<Intake<T>['transaction']>): Promise<never> =>
    this.#intake.transaction(...asked)

  readonly mark = (): Promise<LogPoint> =>
    this.#intake.enqueue(MARKER, { asks: this.#gate.ask(undefined) }) as Promise<LogPoint>

  switchFormat(format: LogFormat<C>, { isUnacked = false } = {}): Promise<LogPoint> {
    const asks = isUnacked ? undefined : this.#gate.ask(undefined)
    return this.#intake.enqueue({ format }, { asks }) as Promise<LogPoint>
  }

  readonly capture = (marker?: () => void): Promise<LogPoint> =>
    this.#intake.enqueue({ marker }, { asks: this.#gate.ask(undefined) }) as Promise<LogPoint>

  readonly own = (...asked: Parameters<Intake<T>['own']>): Promise<LogPoint> => this.#intake.own(...asked)

  async changeAcks(policy: AckPolicy, options: ChangeAcksOptions = {}): Promise<LogPoint> {
    const refusal = this.#intake.refusal(true)
    if (refusal !== undefined) throw refusal
    return this.#policies.begin(policy, options, () => this.#context.storage.applied)
  }

  readonly keepsFrom = (lsn: Lsn): Lsn => this.#policies.keepsFrom(lsn)

  hold(): Promise<void> {
    this.#transactions.end(heldBack)
    return this.#hold.hold()
  }
  readonly idle = (): Promise<void> => this.#hold.idle(this.#busy)

  unhold(): void {
    if (!this.#hold.isHeld) return
    this.#hold.release()
    this.#gate.look()
    if (!this.#busy) this.#endGroup()
  }

  async close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers<void>()
      this.#transactions.end(closing)
      // What is held back is not begun any more.
      if (this.#hold.isHeld) this.#intake.rejectAll(() => notWritten(closing()))
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
    this.#intake.rejectAll(() => notWritten(failure))
    this.#transactions.end(() => failure)
    this.#giveUp()
    this.#keyed.waits.stop(failure)
  }

  /** Whether anything may be shown, kept or answered: asked right before it is. */
  leads(): boolean {
    if (this.#failure === undefined && this.#options.mayLead?.() === false) {
      const failure = leaseLost()
      this.stop(failure)
      this.#options.onFailed?.(failure)
    }
    return this.#failure === undefined
  }

  #endWaits(): void {
    this.#endsWaits = true
    this.#giveUp()
  }

  // The group

  #startGroup(): void {
    if (this.#busy || this.#hold.isHeld) return
    this.#busy = true
    this.#defer(this.#runGroup)
  }

  readonly #runGroup = (): void => {
    // Writes may all have reached their deadline while the turn was awaited.
    if (this.#intake.queue.length === 0 || this.#hold.isHeld) return this.#endGroup()
    this.#hold.appending()
    const outcome = runNext(this.#context, this.#turns, this.#intake.queue, this.#group)
    if (outcome !== undefined) this.#take(outcome)
  }

  /** What came of a group; of one that is open it comes in a later turn. */
  #take(outcome: GroupOutcome): void {
    switch (outcome.kind) {
      case 'appended':
        return this.#makeDurable(outcome.point, outcome.open)
      case 'unlogged':
        return this.#logBase()
      case 'rolledBack':
        return this.#reply(this.#context.storage.applied, false)
      case 'notWritten':
        rejectGroup(this.#group, notWritten(outcome.cause))
        return this.#endGroup()
      case 'failed':
        return this.#fail(outcome.failure, outcome.position)
    }
  }

  /** What is committed becomes durable in the storage, then the base in the log: both before anyone is answered. */
  #logBase(): void {
    const { epoch, lsn } = this.#context.log.end
    logBaseOf(this.#context).then(
      (point) => {
        this.#options.onBase?.(point)
        refuseMarker(this.#group)
        this.#durable(point, false)
      },
      (error: unknown) =>
        this.#fail(asFailure(error, 'STORAGE_FAILED', 'A base could not be logged'), { epoch, lsn: lsn + 1 }),
    )
  }

  #makeDurable(point: LogPoint, open: boolean): void {
    this.#pace.sync(
      this.#group.length === 1 && this.#intake.queue.length === 0,
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
    this.#hold.appended()
    this.#gate.durable(point)
    const rules = this.#gate.rulesOf(this.#group)
    this.#policies.said(this.#group[0]?.body, point)
    this.#ids.durable(point.lsn, this.#group)
    if (rules.length > 0) return this.#await(point, open, rules)
    this.#policies.over()
    if (this.#ids.holds()) return this.#wait({ point, open, recovery: undefined, end: point }, [])
    this.#acked(point, open)
    this.#options.onDurable?.(point)
  }

  /** The group is sent, and waits for its set. What can be shown before is. */
  #await(point: LogPoint, open: boolean, rules: readonly AckRule[]): void {
    const isHidden = open && !this.#gate.showsFirst
    const isAsked = rules.some(({ level }) => level === 'applied')
    if ((isAsked || !isHidden) && !this.leads()) return this.#withhold(point, open)
    if (!isHidden && !this.#makeVisible(point, open)) return
    if (isAsked) this.#highWatermark = point.lsn
    this.#awaitedSinceMs = this.#options.clock.monotonic()
    this.#wait({ point, open: isHidden, recovery: undefined }, rules)
  }

  /** With an `end` it is acknowledged, and its answers would tell of ids above the ceilings in force. */
  #wait(awaiting: Awaiting, rules: readonly AckRule[]): void {
    const { point, end } = awaiting
    this.#awaiting = awaiting
    if (this.#failure !== undefined || this.#endsWaits) return this.#giveUp()
    this.#gate.wait(point, rules, this.#group, end && { held: this.#ids.holds })
    this.#options.onDurable?.(end ?? point)
    this.#gate.look()
  }

  #met(): void {
    const awaiting = this.#awaiting
    if (awaiting === undefined) return
    const { failure } = this.#context.log
    // It may have failed while nothing was written: for a slot, or a segment that is no longer needed.
    if (failure !== undefined) return this.#syncFailed(awaiting.point, failure)
    const rule = awaiting.end === undefined ? this.#gate.endsWith : undefined
    if (rule !== undefined) return this.#endChange(awaiting, rule)
    this.#gate.end()
    if (awaiting.end !== undefined) return this.#release(awaiting, awaiting.end)
    this.#policies.over()
    if (this.#group[0]?.body === RAISE) {
      this.#gate.restored()
      this.#policies.tell()
    }
    const { measures, clock } = this.#options
    if (awaiting.recovery === undefined) measures?.ackWaitMs.observe(clock.monotonic() - this.#awaitedSinceMs)
    this.#finish(awaiting, awaiting.point)
  }

  /** What waited is acked, or the rule was lowered by the record at `end`. */
  #finish(awaiting: Awaiting, end: LogPoint): void {
    if (awaiting.recovery !== undefined && this.leads()) return this.#finishRecovery(awaiting.recovery, end)
    if (this.#ids.holds()) return this.#wait({ ...awaiting, end }, [])
    this.#release(awaiting, end)
  }

  #release({ point, open }: Awaiting, end: LogPoint): void {
    if (!this.leads()) return this.#giveUp()
    this.#awaiting = undefined
    this.#acknowledged = this.#highWatermark = end.lsn
    if (open && !this.#makeVisible(point, true)) return
    // A record of the log itself, above what is shown: the storage is told of it.
    const settle = ({ storage }: GroupContext<C, T>): void => settleControl(storage, end)
    if (end !== point && !this.#stored(end, 'The position of a record could not be stored', settle)) return
    this.#reply(isAcks(this.#group[0]?.body) ? end : point)
    this.#options.onDurable?.(end)
  }

  /** Second moment: the set has it. Without a rule the set is this node. */
  #acked(point: LogPoint, open: boolean): void {
    if (!this.leads()) return this.#withhold(point, open)
    this.#acknowledged = this.#highWatermark = point.lsn
    if (this.#makeVisible(point, open)) this.#reply(point)
  }

  /** The node leads no more: what is durable is rolled back here, stays in the log, and nobody is told that it is done. */
  #withhold(point: LogPoint, open: boolean): void {
    if (open) rollBackGroup(this.#context)
    else if (!this.#stored(point, 'A record could not be named', ({ storage }) => storage.settle(point)))
      return
    rejectGroup(this.#group, unknownWithoutAcks(point, open, this.#failure))
    this.#endGroup()
  }

  /** Third moment: readers of this node see it. A physical group is visible already, and gets its name. */
  #makeVisible(point: LogPoint, open: boolean): boolean {
    const show = ({ storage }: GroupContext<C, T>): void => (open ? storage.commit() : storage.settle(point))
    if (!this.#stored(point, 'A COMMIT failed after its record was durable', show)) return false
    this.#recording.committed()
    tellMarker(this.#group, point, this.#options.onMarker)
    this.#options.onVisible?.(point)
    return true
  }

  // Acks that do not come

  /** The rule is lowered: first its record. A change that waits is given up by that: a person accepted it. */
  #degrade(): void {
    const awaiting = this.#awaiting
    if (awaiting === undefined || this.#isSettling) return
    if (!this.#policies.mayLower()) return this.#gate.postpone()
    const draft = loweredDraft(this.#context.clock, this.#gate.unmet)
    const later = (): void => this.#gate.postpone()
    const { point } = awaiting
    this.#settleWith(awaiting, draft, later, (to) => this.#policies.lowered(this.#group, point, to))
  }

  /** The record of a change satisfied both rules: one of the new rule alone ends it. */
  #endChange(awaiting: Awaiting, rule: AckRule): void {
    const draft = ackRuleDraft(this.#context.clock, this.#gate.ruleText(rule))
    const later = (): void => this.#gate.retryEnd()
    this.#settleWith(awaiting, draft, later, (record) => this.#policies.ended(rule, record))
  }

  /** A record after what waits, durable before anything is answered by it, ends the wait. */
  #settleWith(
    awaiting: Awaiting,
    draft: ReturnType<typeof ackRuleDraft>,
    later: () => void,
    settled: (record: LogPoint) => void,
  ): void {
    const { log } = this.#context
    if (this.#hold.isHeld) return later()
    let record: LogPoint
    try {
      this.#context.assertLeads()
      record = log.append([draft])
    } catch (error) {
      if (log.failure !== undefined) return this.#syncFailed(awaiting.point, error)
      // What waits was given up where this node leads no more.
      return this.#failure === undefined ? later() : undefined
    }
    this.#hold.appending()
    this.#isSettling = true
    this.#gate.settling()
    log.sync().then(
      () => {
        this.#hold.appended()
        this.#isSettling = false
        if (this.#endsWaits || !this.leads()) return this.#giveUp()
        settled(record)
        this.#gate.end()
        this.#keyed.waits.look()
        this.#finish(awaiting, record)
      },
      (error: unknown) => this.#syncFailed(awaiting.point, error),
    )
  }

  /** What must not fail once a record is durable. Whether it did not. */
  #stored(point: LogPoint, failed: string, store: (context: GroupContext<C, T>) => void): boolean {
    try {
      store(this.#context)
      return true
    } catch (error) {
      rollBackGroup(this.#context)
      this.#fail(asFailure(error, 'STORAGE_FAILED', failed), point)
      return false
    }
  }

  /** The node stops leading: what waits for acks is rolled back here, and stays in the log. */
  #giveUp(): void {
    const awaiting = this.#awaiting
    if (awaiting === undefined || this.#isSettling) return
    const isHidden = awaiting.open || awaiting.recovery !== undefined
    const error = unknownWithoutAcks(awaiting.point, isHidden, this.#failure)
    // The queue first: a retry in it shares what the group is told.
    this.#intake.rejectAll(() => notWritten(error))
    this.#awaiting = undefined
    this.#gate.close()
    if (awaiting.open) rollBackGroup(this.#context)
    this.#failure ??= error
    rejectGroup(this.#group, error)
    this.#endGroup()
  }

  // What a former life left

  #recover(recovery: Recovery): void {
    this.#busy = true
    this.#awaiting = { point: recovery.point, open: false, recovery }
    const { point, rules, isHidden } = recovery
    if (rules.some(({ level }) => level === 'applied')) this.#highWatermark = point.lsn
    this.#gate.wait(point, rules, this.#group, { recovers: isHidden })
    this.#defer(() => this.#gate.look())
  }

  #finishRecovery(recovery: Recovery, end: LogPoint): void {
    this.#isSettling = true
    recovery.run(end).then(
      () => {
        this.#isSettling = false
        if (!this.leads()) return this.#giveUp()
        this.#awaiting = undefined
        this.#acknowledged = this.#highWatermark = end.lsn
        this.#recording.renew()
        this.#ids.start()
        if (this.#failure === undefined) askForBase(this.#context, this.#intake.queue, this.#baseFailed)
        this.#options.onVisible?.(end)
        this.#endGroup()
        this.#options.onDurable?.(end)
      },
      (error: unknown) => {
        this.#isSettling = false
        this.#fail(asFailure(error, 'STORAGE_FAILED', 'The end of the log could not be redone'), end)
      },
    )
  }

  readonly #baseFailed = (error: unknown): void => {
    if (this.#failure !== undefined) return
    this.#fail(asFailure(error, 'STORAGE_FAILED', 'A base could not be logged'), undefined)
  }

  /** Fourth moment: the callers know. What changed nothing asked for no acks. */
  #reply(point: LogPoint, asked = true): void {
    if (!this.leads()) {
      const error = asked ? unknownWithoutAcks(point, false, this.#failure) : notWritten(this.#failure)
      rejectGroup(this.#group, error)
      return this.#endGroup()
    }
    const { measures, clock } = this.#options
    if (measures !== undefined) countGroup(measures, this.#group, clock.monotonic())
    answerGroup(this.#group, asked ? this.#gate : undefined, this.#keyed.origin, point)
    this.#endGroup()
  }

  #endGroup(): void {
    this.#group = []
    this.#busy = false
    this.#hold.appended()
    if (this.#intake.queue.length > 0) this.#startGroup()
    else this.#endIfDrained()
    if (!this.#busy) this.#hold.rested()
  }

  #fail(failure: UnderstudyError, position: Position | undefined): void {
    this.#failure ??= failure
    this.#intake.rejectAll(() => notWritten(failure))
    this.#awaiting = undefined
    this.#isSettling = false
    this.#gate.close()
    rejectGroup(this.#group, position === undefined ? notWritten(failure) : outcomeUnknown(position, failure))
    this.#endGroup()
    this.#keyed.waits.stop(failure)
    this.#options.onFailed?.(failure)
  }

  #endIfDrained(): void {
    if (this.#busy || this.#intake.queue.length > 0 || this.#closed === undefined) return
    this.#intake.close()
    this.#graceTimer?.cancel()
    this.#gate.close()
    this.#ids.close()
    this.#keyed.waits.stop(this.#failure ?? closing())
    this.#context.recorder.close()
    this.#closed.resolve()
  }
}
