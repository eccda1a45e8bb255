/**
 * One group of a leader: from waiting writes to records in the log.
 *
 * Decides: which writes share a group, what happens to the group when something throws. Leaves to others: making the
 * records durable, COMMIT, the replies, the retry.
 *
 * Validity conditions:
 * 1. Everything runs in one turn of the event loop: begin, the callbacks, the payload, the append, the position row.
 * 2. A write that throws rolls back alone; its error is its own.
 * 3. Nothing is appended unless the storage's transaction is whole, and nothing in the storage is committed here but 6.
 * 4. `rolledBack` and `notWritten` leave neither the storage nor the log changed; `failed` is for good.
 * 5. A group that recorded no change is rolled back: what was not recorded must not exist.
 * 6. A physical format's group is committed here, before its append: its pages exist only then. The storage says in the
 *    same transaction after which record it comes, so that a start finds what a crash kept out of the log.
 * 7. A capture is a physical group without writes: its pages are those that others committed since the last one. Its marker
 *    is appended with it, and its view taken while the write lock is held: others commit at any other time.
 * 8. Records of a group that will wait for acks say so themselves: whoever finds them at the end of a log after a crash
 *    must not show them before the set has them. Those of one that asked in vain, because the rule is lowered, say that.
 */
import {
  CONTROL_ACKS,
  CONTROL_ACKS_LOWERED,
  CONTROL_FORMAT,
  CONTROL_GROUP_ACKS,
  CONTROL_MARKER,
  FLAG_JOINS_GROUP,
  FORMAT_CONTROL,
  UnderstudyError,
  isUnderstudyError,
  type Clock,
  type Log,
  type LogFormat,
  type LogPoint,
  type Position,
  type Recorder,
  type RecordDraft,
  type Storage,
} from '@understudy/contracts'
import { formatRule, type AckRule } from './ack-rule.ts'
import { asFailure, notWritten, notWrittenInTime } from './failures.ts'
import type { IdGate } from './id-gate.ts'
import type { KeyedWrites } from './keyed-writes.ts'
import type { PipelineLimits } from './limits.ts'
import { draftParts } from './parts.ts'
import { logBase } from './physical.ts'
import { isOwn, type CaptureRequest, type PendingWrite, type WriteQueue } from './write-queue.ts'

export type GroupOutcome =
  /**
   * The records stand in the log, not yet durable. `open`: the storage's transaction holds their position and waits for
   * COMMIT; otherwise the position is to be settled.
   */
  | { readonly kind: 'appended'; readonly point: LogPoint; readonly open: boolean }
  /** Physical: the group is committed, and what it changed cannot be logged page by page: only a base helps. */
  | { readonly kind: 'unlogged' }
  /** Nothing was changed by the writes of this group. */
  | { readonly kind: 'rolledBack' }
  /** No write of this group happened. */
  | { readonly kind: 'notWritten'; readonly cause: unknown }
  /** The node must stop writing. With `position`, a record of this group may have reached the disk. */
  | { readonly kind: 'failed'; readonly failure: UnderstudyError; readonly position?: Position }

/** What the records of a group get: flags, 0 for none, and one more, when its rules are not those of the cluster. */
export interface GroupRecords {
  readonly flags: number
  readonly own: RecordDraft | undefined
}

export interface GroupContext<C, T> {
  readonly storage: Storage<C, T>
  readonly log: Log
  readonly format: LogFormat<C>
  readonly recorder: Recorder
  readonly clock: Clock
  readonly limits: PipelineLimits
  readonly keyed: KeyedWrites<T>
  /** What the group that was just run asks of acks. */
  readonly asks: () => GroupRecords
  /** Throws when this node leads no more: asked after the callbacks, right before anything of them is kept. */
  readonly assertLeads: () => void
  /** Ceilings of ids, where the storage gives ids. */
  readonly ids: IdGate | undefined
}

/** Runs waiting writes as one group and appends what they changed. The writes that ran are pushed to `group`. */
export function runGroup<C, T>(
  context: GroupContext<C, T>,
  queue: WriteQueue<T>,
  group: PendingWrite<T>[],
  ruleDrafts: (body: PendingWrite<T>['body']) => RecordDraft[] | undefined,
): GroupOutcome {
  const { storage, recorder } = context
  try {
    storage.begin()
  } catch (error) {
    const refused = queue.take()
    if (refused !== undefined) group.push(refused)
    return abandoned(error)
  }
  let returned: number
  try {
    const body = queue.peek()?.body
    if (body !== undefined && typeof body !== 'function' && !isOwn(body)) {
      const said = ruleDrafts(body) ?? [controlDraft(context.clock, CONTROL_MARKER)]
      group.push(queue.take() as PendingWrite<T>)
      return appendControl(context, said)
    }
    recorder.beginGroup()
    returned = context.keyed.run(() =>
      isOwn(body) ? runOwn(context, queue, group) : runWrites(context, queue, group),
    )
  } catch (error) {
    return rollBack(context, abandoned(error))
  }
  return recordGroup(context, returned)
}

/** Appends what the writes of a group changed, `returned` of which did not throw. */
export function recordGroup<C, T>(context: GroupContext<C, T>, returned: number): GroupOutcome {
  const { storage, recorder, format, log } = context
  let drafts: RecordDraft[]
  try {
    if (returned > 0) context.ids?.ran((write) => storage.write(write, recorder))
    if (format.physical === true) {
      if (returned === 0 || recorder.changed?.() === false) return rollBack(context, { kind: 'rolledBack' })
      storage.markBefore(log.end)
      return commitPhysical(context)
    }
    drafts = returned > 0 ? draftsOf(context) : []
  } catch (error) {
    return rollBack(context, abandoned(error))
  }
  if (drafts.length === 0) return rollBack(context, { kind: 'rolledBack' })
  return appendDrafts(context, drafts)
}

/** A group of its own that says from where on records are of another format. */
export function runSwitch<C, T>(context: GroupContext<C, T>, formatId: number): GroupOutcome {
  try {
    context.storage.begin()
  } catch (error) {
    return abandoned(error)
  }
  return appendControl(context, [controlDraft(context.clock, CONTROL_FORMAT, formatId & 0xff, formatId >> 8)])
}

/** A group without writes that logs what others committed; nothing to take in a format that is not physical. */
export function runCapture<C, T>(
  context: GroupContext<C, T>,
  { marker }: Pick<CaptureRequest, 'marker'>,
): GroupOutcome {
  const { storage, recorder, format, log } = context
  if (format.physical !== true) return { kind: 'rolledBack' }
  try {
    storage.begin()
    marker?.()
    recorder.beginGroup()
    storage.markBefore(log.end)
  } catch (error) {
    return rollBack(context, abandoned(error))
  }
  return commitPhysical(context, marker === undefined ? [] : [controlDraft(context.clock, CONTROL_MARKER)])
}

/**
 * The pages of a group can be had only after COMMIT. From there on nothing can be rolled back: what keeps the group out of the log stops
 * the node, and its next start logs it.
 */
function commitPhysical<C, T>(
  context: GroupContext<C, T>,
  followedBy: readonly RecordDraft[] = [],
): GroupOutcome {
  const { storage, log } = context
  const { epoch, lsn } = log.end
  const position = { epoch, lsn: lsn + 1 }
  try {
    context.assertLeads()
  } catch (error) {
    return rollBack(context, abandoned(error))
  }
  try {
    storage.commit()
    const drafts = draftsOf(context)
    if (drafts.length === 0) return { kind: 'unlogged' }
    return { kind: 'appended', point: log.append(marked(context, [...drafts, ...followedBy])), open: false }
  } catch (error) {
    const failure = log.failure ?? asFailure(error, 'STORAGE_FAILED', 'A committed group could not be logged')
    return rollBack(context, { kind: 'failed', failure, position })
  }
}

/** A record of the log itself, outside of a transaction: the storage is told of its position. */
export function settleControl<C, T>(storage: Storage<C, T>, point: LogPoint): void {
  if (storage.physical) return storage.settle(point)
  storage.begin()
  storage.mark(point)
  storage.commit()
}

/** Returns how many writes did not throw. */
function runWrites<C, T>(
  { storage, recorder, clock, limits, keyed }: GroupContext<C, T>,
  queue: WriteQueue<T>,
  group: PendingWrite<T>[],
): number {
  const startMs = clock.monotonic()
  const alone = queue.length === 1
  let nowMs = startMs
  let returned = 0
  while (group.length < limits.groupWritesMax && nowMs - startMs <= limits.groupMsMax) {
    const body = queue.peek()?.body
    if (typeof body !== 'function') break
    const write = queue.take() as PendingWrite<T>
    if (write.deadlineMs <= nowMs) {
      write.reject(notWrittenInTime())
      continue
    }
    if (write.keyed !== undefined && isRetry(keyed, write)) continue
    group.push(write)
    try {
      write.outcome = storage.write(keyed.body(write, returned), recorder, { alone })
      returned++
    } catch (error) {
      if (endsGroup(error)) throw error
      write.outcome = error
      write.threw = true
    }
    // The savepoint was spared because nobody shared the group: nobody may join it now, and when the write threw, its
    // changes go with the whole group.
    if (alone) break
    nowMs = clock.monotonic()
  }
  return returned
}

/** A write of the leader's own shares its group with nobody. */
function runOwn<C, T>(
  { storage, recorder }: GroupContext<C, T>,
  queue: WriteQueue<T>,
  group: PendingWrite<T>[],
): number {
  const request = queue.take() as PendingWrite<T>
  group.push(request)
  if (isOwn(request.body)) storage.write(request.body.own, recorder)
  return 1
}

/** Whether the write was done before, and is answered; also when that cannot be told. */
function isRetry<T>(keyed: KeyedWrites<T>, write: PendingWrite<T>): boolean {
  try {
    return keyed.find(write)
  } catch (error) {
    write.reject(notWritten(error))
    return true
  }
}

/** Errors that are no matter of one write: the transaction of the group is gone, or the storage is. */
export function endsGroup(error: unknown): boolean {
  return isUnderstudyError(error, 'TRANSACTION_LOST') || isFatal(error)
}

function isFatal(error: unknown): error is UnderstudyError {
  return (
    isUnderstudyError(error, 'STORAGE_FAILED') ||
    isUnderstudyError(error, 'FOREIGN_WRITE') ||
    isUnderstudyError(error, 'LOG_FAILED')
  )
}

export function abandoned(error: unknown): GroupOutcome {
  return isFatal(error) ? { kind: 'failed', failure: error } : { kind: 'notWritten', cause: error }
}

/** Undoes the open transaction; returns the failure when even that failed. */
export function rollBackGroup<C, T>({
  storage,
  recorder,
  ids,
}: GroupContext<C, T>): UnderstudyError | undefined {
  ids?.abandoned()
  try {
    storage.rollback()
    recorder.abandonGroup()
    return undefined
  } catch (error) {
    return asFailure(error, 'STORAGE_FAILED', 'A transaction could not be rolled back')
  }
}

export function rollBack<C, T>(context: GroupContext<C, T>, outcome: GroupOutcome): GroupOutcome {
  const failure = rollBackGroup(context)
  return failure === undefined || outcome.kind === 'failed' ? outcome : { kind: 'failed', failure }
}

function draftsOf<C, T>({ recorder, format, clock, limits }: GroupContext<C, T>): RecordDraft[] {
  const payloads = recorder.finishGroup()
  const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0)
  if (bytes > limits.transactionBytesMax) {
    if (format.physical === true) return []
    throw new UnderstudyError(
      'TRANSACTION_TOO_LARGE',
      `A transaction of ${bytes} bytes is over the limit transactionBytesMax of ${limits.transactionBytesMax}. Write in smaller steps, or raise the limit on every node.`,
      { bytes, bytesMax: limits.transactionBytesMax },
    )
  }
  const committedAtMs = clock.now()
  const id = recorder.finishedFormat ?? format.id
  return payloads.flatMap((payload) => draftParts(payload, id, committedAtMs, limits.recordBytesMax))
}

/** Records of the log itself. They change no page, so that a physical storage is only told of their position. */
function appendControl<C, T>(context: GroupContext<C, T>, drafts: readonly RecordDraft[]): GroupOutcome {
  const { storage, log } = context
  if (!storage.physical) return appendDrafts(context, drafts)
  const { epoch, lsn } = log.end
  storage.rollback()
  try {
    context.assertLeads()
    return { kind: 'appended', point: log.append(marked(context, drafts)), open: false }
  } catch (error) {
    if (log.failure === undefined) return abandoned(error)
    return { kind: 'failed', failure: log.failure, position: { epoch, lsn: lsn + drafts.length } }
  }
}

/** Says of records what their group asks of acks. */
function marked<C, T>(
  { asks, keyed, format }: GroupContext<C, T>,
  drafts: readonly RecordDraft[],
): readonly RecordDraft[] {
  const { flags, own } = asks()
  // Which record a group ends with may be asked for of a key.
  if (flags === 0 && (drafts.length === 1 || !keyed.isInGroup)) return drafts
  // What is committed before it is logged must come right after the record that the storage names.
  const all = own === undefined ? drafts : format.physical === true ? [...drafts, own] : [own, ...drafts]
  return all.map((draft, index) => ({
    ...draft,
    flags: draft.flags | flags | (index === 0 ? 0 : FLAG_JOINS_GROUP),
  }))
}

/** Logs a base in place of the group, which asks of acks what the group does. */
export function logBaseOf<C, T>(context: GroupContext<C, T>): Promise<LogPoint> {
  const { log, storage, clock, limits, format, recorder } = context
  const { recordBytesMax } = limits
  const of = {
    log,
    storage,
    clock,
    recordBytesMax,
    marked: (drafts: RecordDraft[]) => marked(context, drafts),
  }
  return logBase(of, format, recorder)
}

function controlDraft(clock: Clock, ...payload: readonly number[]): RecordDraft {
  return { format: FORMAT_CONTROL, flags: 0, committedAtMs: clock.now(), payload: Uint8Array.from(payload) }
}

/** The record that says which ack rule is in force from there on. */
export function ackRuleDraft(clock: Clock, rule: string): RecordDraft {
  return controlDraft(clock, CONTROL_ACKS, ...Buffer.from(rule))
}

/** The record of a group that says which rules it must satisfy. */
export function groupRulesDraft(clock: Clock, rules: string): RecordDraft {
  return controlDraft(clock, CONTROL_GROUP_ACKS, ...Buffer.from(rules))
}

/** The record that says that these rules are not waited for from there on. */
export function loweredDraft(clock: Clock, rules: readonly AckRule[]): RecordDraft {
  return controlDraft(clock, CONTROL_ACKS_LOWERED, ...Buffer.from(rules.map(formatRule).join(' + ')))
}

function appendDrafts<C, T>(context: GroupContext<C, T>, group: readonly RecordDraft[]): GroupOutcome {
  const { storage, log } = context
  const { epoch, lsn } = log.end
  const drafts = marked(context, group)
  let point: LogPoint
  try {
    context.assertLeads()
    point = log.append(drafts)
  } catch (error) {
    if (log.failure === undefined) return rollBack(context, abandoned(error))
    // A write that failed half-way may have left whole records behind, which the next start would find.
    const position = { epoch, lsn: lsn + drafts.length }
    return rollBack(context, { kind: 'failed', failure: log.failure, position })
  }
  try {
    storage.mark(point)
  } catch (error) {
    const failure = asFailure(error, 'STORAGE_FAILED', 'The position of a record could not be stored')
    return rollBack(context, { kind: 'failed', failure, position: point })
  }
  return { kind: 'appended', point, open: true }
}
