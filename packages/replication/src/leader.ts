/**
 * The start of leading: from a log and a storage that a stop or crash left, to a pipeline that takes writes.
 *
 * 1. Everything in the log is applied first: what is durable was, or may have been, acknowledged.
 * 2. A transaction at the end of the log whose last part is missing was never acknowledged and is cut off, before the
 *    new epoch makes it impossible to tell.
 * 3. The new epoch is durable before the first write, and applied, so that every receipt carries it.
 * 4. With an ack rule, a group at the end of the log that may lack acks is not applied, and so shown to nobody, before the
 *    set has the whole log: the pipeline begins with that, and takes writes meanwhile, because followers start after it.
 * 5. With an ack rule, the rule is a record right after the epoch's, in the same sync. When the log says another rule than the options,
 *    it is the record of a change: both hold until it satisfied both. Without a policy the log's rule goes on.
 * 6. A promotion says which epoch begins, and with which rules: its decision proved that they cover what was acknowledged. What a former
 *    epoch left and nobody may see yet is acknowledged by those, with the no-op. Where a rule of a former leader names this node, that has
 *    what it asks of it.
 * 7. A transaction of pages that a crash kept out of the log is the first record of the new epoch after its no-op. A
 *    physical format begins with a base unless the file is kept page by page already.
 * 8. A node that takes the place of another leader gives ids above every ceiling that it has: it sets its counters, as a write, before
 *    any other.
 */
import {
  randomId,
  type EpochEntry,
  type Log,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Random,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import {
  asking,
  formatAckRecord,
  recordOfState,
  ruleWithout,
  rulesInForce,
  startFrom,
  stateAfter,
  stateWithout,
  type AckRecord,
  type AckState,
} from './ack-change.ts'
import { ackStateOf, groupRulesOf } from './ack-log.ts'
import { LOCAL, checkedRule, resolvePolicy, type AckPolicy, type AckRule } from './ack-rule.ts'
import { ApplyLoop } from './apply-loop.ts'
import { acknowledgedUpTo } from './acknowledged.ts'
import { ackRuleDraft, settleControl } from './commit-group.ts'
import { createCommitPipeline } from './commit-pipeline.ts'
import { asFailure } from './failures.ts'
import type { Raise } from './id-ceilings.ts'
import type { IdOptions } from './id-gate.ts'
import { idStart, type IdStart } from './id-start.ts'
import type { CommitPipeline, CommitPipelineOptions, Recovery } from './pipeline-api.ts'
import { PIPELINE_LIMITS, withDefaults, type ApplyLimits } from './limits.ts'
import { logUnlogged } from './physical.ts'
import { redo, type RedoResult } from './redo.ts'
import { awaitingTail, unfinishedFrom } from './shown.ts'

/** How ids are kept from being given twice, and where this leader starts. */
export interface LeaderIds extends IdOptions {
  /** Ceilings that are known beside those of this node, such as a coordinator's: the first ids are above them. */
  readonly ceilings?: Raise
  /** This node cannot prove that it has the newest ceilings, and a person accepts that: it starts 2^40 higher. Default false. */
  readonly raise?: boolean
}

export interface BecomeLeaderOptions<C, T = WriteTransaction> extends CommitPipelineOptions<C, T> {
  /** A node that did not lead the epoch before starts above its ceilings without being asked. */
  readonly ids?: LeaderIds | false
  /** Every format that records of the log may name; `format` is the one of new records. */
  readonly formats: readonly LogFormat<C>[]
  /** Name of this node. */
  readonly node: string
  readonly random: Random
  readonly applyLimits?: Partial<ApplyLimits>
  /** Default: the next number, a random run, and the rule of `acks` or of the log. */
  readonly promotion?: EpochPromotion
  /** During redo, after each batch. */
  readonly onProgress?: (applied: LogPoint, upTo: number) => void
}

/** What was decided of the epoch that begins. */
export interface EpochPromotion {
  readonly epoch: number
  readonly runId: string
  /** The rule, and while the set changes the next one. Absent: nobody knows. */
  readonly acks?: { readonly rule: AckRule; readonly next?: AckRule }
}

export interface Leadership<T = WriteTransaction, C = SqliteConnection> {
  readonly pipeline: CommitPipeline<T, C>
  readonly epoch: EpochEntry
  readonly redone: RedoResult
  /** Records of an unfinished transaction that were cut off the end of the log. */
  readonly cutRecords: number
}

/** Throws what `redo` throws, and what the log throws when it cannot be written. */
export async function becomeLeader<C, T = WriteTransaction>(
  options: BecomeLeaderOptions<C, T>,
): Promise<Leadership<T, C>> {
  const { log, storage, formats, clock, node, format } = options
  await log.sync()
  const endBefore = log.end.lsn
  const { known, state, record } = rulesToBegin(options)
  const tail = hiddenTail(log, known, state, options.promotion && node)
  const redone = await redoUpTo(options, tail?.shown ?? log.durable)
  if (redone.incompleteFrom !== undefined) log.truncateAfter(redone.incompleteFrom - 1)
  const cutRecords = endBefore - log.end.lsn
  new ApplyLoop({ storage, formats, clock }).restore()
  const acknowledged = acknowledgedUpTo(log)
  const isWhole = storage.applied.lsn >= log.end.lsn || storage.ahead
  const start = idStart(options)
  let point = startEpoch(options)
  if (record !== undefined) point = log.append([ackRuleDraft(clock, formatAckRecord(record))])
  await log.sync()
  if (isWhole) await enterEpoch(options, point)
  const rules = isWhole || tail === undefined ? rulesInForce(state) : tail.rules
  const waits = !isWhole || state.to !== undefined
  const target = state.to ?? state.rule
  const pipeline = createCommitPipeline({
    ...options,
    acks: policyOf(options.acks, target),
    // Pages are shown before they are acknowledged: that they are shown proves nothing.
    acknowledged,
    acksBefore: {
      changing: state.to && state.rule,
      ruleAt: record && point.lsn,
    },
    ...(waits && { recovery: recoveryOf(options, rules, isWhole) }),
  })
  // Followers connect only after this: the base asks for no ack of theirs. During a recovery the pipeline sees to it.
  if (!waits && format.physical === true && !storage.physical)
    await pipeline.switchFormat(format, { isUnacked: true })
  if (start !== undefined) await startIds(options, pipeline, start, waits)
  return { pipeline, epoch: log.history.at(-1) as EpochEntry, redone, cutRecords }
}

function startEpoch<C, T>({ log, clock, random, node, promotion }: BecomeLeaderOptions<C, T>): LogPoint {
  const committedAtMs = clock.now()
  if (promotion === undefined) return log.startEpoch({ runId: randomId(random), leader: node, committedAtMs })
  const { epoch: number, runId } = promotion
  return log.startEpoch({ number, runId, leader: node, committedAtMs })
}

/** What the log says of the rule, what holds from now on, and the record that says so. */
function rulesToBegin<C, T>({
  log,
  acks,
  node,
  promotion,
  saysIfLowered,
}: BecomeLeaderOptions<C, T>): {
  readonly known: AckState
  readonly state: AckState
  readonly record: AckRecord | undefined
} {
  const known = ackStateOf(log)
  if (promotion === undefined) {
    const wanted = acks && resolvePolicy(acks, node)
    return { known, ...startFrom(known, wanted?.rule) }
  }
  const { rule, next } = promotion.acks ?? {}
  const decided = rule && { rule: checkedRule(rule, node), ...(next && { to: checkedRule(next, node) }) }
  const found = recordOfState(decided ?? stateWithout(known, node))
  if (found === undefined) return { known, state: { rule: LOCAL }, record: undefined }
  const record = { ...found, mayBeLowered: saysIfLowered === true && acks?.onUnmet === 'degrade' }
  return { known, state: stateAfter(record), record }
}

/** The rule in force, with the times of the policy that the node was given. */
function policyOf(given: AckPolicy | undefined, { level, of }: AckRule): AckPolicy {
  const { level: _level, of: _of, ...times } = given ?? {}
  return { ...times, level, ...(of && { of }) }
}

/** Before anybody's write. When what a former life left waits for acks, it comes after that; if it fails then, nothing is written any more. */
async function startIds<C, T>(
  { onFailed }: BecomeLeaderOptions<C, T>,
  pipeline: CommitPipeline<T, C>,
  start: IdStart,
  waits: boolean,
): Promise<void> {
  const started = pipeline.own(start.run, start.grants)
  if (!waits) {
    try {
      await started
    } catch (error) {
      // Whoever may not lead any more, or whose disk failed, was told so by the pipeline itself.
      if (pipeline.failure !== undefined) return
      await pipeline.close()
      throw error
    }
    return
  }
  started.catch((error: unknown) => {
    if (pipeline.failure !== undefined) return
    const failure = asFailure(error, 'STORAGE_FAILED', 'The counters of ids could not be set')
    pipeline.stop(failure)
    onFailed?.(failure)
  })
}

/** A group at the end of the log that may lack acks: what may be shown before it, and what it must satisfy. A torn transaction there is cut off. */
function hiddenTail(
  log: Log,
  known: AckState,
  state: AckState,
  promoted: string | undefined,
): { readonly shown: Lsn; readonly rules: readonly AckRule[] } | undefined {
  const tail = awaitingTail(log)
  const asked = tail && groupRulesOf(log, tail)
  const own = promoted === undefined ? asked : asked?.map((rule) => ruleWithout(rule, promoted))
  const isAcked = tail !== undefined || asking([known.rule, state.rule]).length > 0
  // What is hidden before a torn transaction must be told apart from it before redo, which would cut it off.
  const tornFrom = isAcked ? unfinishedFrom(log) : undefined
  if (tornFrom !== undefined) log.truncateAfter(tornFrom - 1)
  // A promotion covers the rules of the log by its own.
  const former = own ?? (promoted === undefined ? [known.rule] : [])
  const rules = tail && asking([...former, ...rulesInForce(state)])
  if (tail === undefined || rules === undefined || rules.length === 0) return undefined
  // Of a torn group only the record of its rules may be left.
  if (own !== undefined && Math.min(tail.end, log.durable) === tail.from) return undefined
  return { shown: Math.min(tail.from - 1, log.durable), rules }
}

function redoUpTo<C, T>(options: BecomeLeaderOptions<C, T>, upTo: Lsn): Promise<RedoResult> {
  const { log, storage, formats, clock } = options
  return redo({
    log,
    storage,
    formats,
    clock,
    upTo,
    ...(options.applyLimits && { limits: options.applyLimits }),
    ...(options.defer && { defer: options.defer }),
    ...(options.onMarker && { onMarker: options.onMarker }),
    ...(options.onProgress && { onProgress: options.onProgress }),
  })
}

/** The log to its end, this epoch's first records among it; with everything applied, only what comes after it. */
function recoveryOf<C, T>(
  options: BecomeLeaderOptions<C, T>,
  rules: readonly AckRule[],
  isWhole: boolean,
): Recovery {
  const { log, storage, formats, clock } = options
  return {
    point: log.end,
    rules,
    isHidden: !isWhole,
    run: async (end) => {
      if (isWhole) return settleControl(storage, end)
      await redoUpTo(options, log.durable)
      new ApplyLoop({ storage, formats, clock }).restore()
    },
  }
}

/** The storage is at the epoch's first record, or at the record after it that a crash kept out of the log. */
async function enterEpoch<C, T>(options: BecomeLeaderOptions<C, T>, point: LogPoint): Promise<void> {
  const { log, storage, clock, formats, limits } = options
  if (storage.ahead) {
    const { recordBytesMax } = withDefaults(PIPELINE_LIMITS, limits)
    await logUnlogged({ log, storage, clock, recordBytesMax }, formats)
  } else settleControl(storage, point)
}
