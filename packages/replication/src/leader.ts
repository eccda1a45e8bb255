/**
 * The start of leading: from a log and a storage that a stop or crash left, to a pipeline that takes writes.
 *
 * 1. Everything in the log is applied first: what is durable was, or may have been, acknowledged.
 * 2. A transaction at the end of the log whose last part is missing was never acknowledged and is cut off, before the
 *    new epoch makes it impossible to tell.
 * 3. The new epoch is durable before the first write, and applied, so that every receipt carries it.
 * 4. With an ack rule, a group at the end of the log that may lack acks is not applied, and so shown to nobody, before the
 *    set has the whole log: the pipeline begins with that, and takes writes meanwhile, because followers start after it.
 * 5. With an ack rule, the rule is a record right after the epoch's, in the same sync.
 * 6. A transaction of pages that a crash kept out of the log is the first record of the new epoch after its no-op. A
 *    physical format begins with a base unless the file is kept page by page already.
 */
import {
  randomId,
  type EpochEntry,
  type LogFormat,
  type LogPoint,
  type Lsn,
  type Random,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import { formatRule, resolvePolicy } from './ack-rule.ts'
import { ApplyLoop } from './apply-loop.ts'
import { ackRuleDraft, settleControl } from './commit-group.ts'
import { createCommitPipeline } from './commit-pipeline.ts'
import type { CommitPipeline, CommitPipelineOptions, Recovery } from './pipeline-api.ts'
import { PIPELINE_LIMITS, withDefaults, type ApplyLimits } from './limits.ts'
import { logUnlogged } from './physical.ts'
import { redo, type RedoResult } from './redo.ts'
import { shownUpTo, unfinishedFrom } from './shown.ts'

export interface BecomeLeaderOptions<C, T = WriteTransaction> extends CommitPipelineOptions<C, T> {
  /** Every format that records of the log may name; `format` is the one of new records. */
  readonly formats: readonly LogFormat<C>[]
  /** Name of this node. */
  readonly node: string
  readonly random: Random
  readonly applyLimits?: Partial<ApplyLimits>
  /** During redo, after each batch. */
  readonly onProgress?: (applied: LogPoint, upTo: number) => void
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
  const { log, storage, formats, clock, random, node, format } = options
  const { rule } = resolvePolicy(options.acks, node)
  const isAcked = rule.of !== undefined
  await log.sync()
  const endBefore = log.end.lsn
  // What is to be hidden is told by the last records, so that a torn transaction after them must go first.
  const tornFrom = isAcked ? unfinishedFrom(log) : undefined
  const shown = isAcked ? Math.min(shownUpTo(log), (tornFrom ?? Number.POSITIVE_INFINITY) - 1) : log.durable
  if (tornFrom !== undefined) log.truncateAfter(tornFrom - 1)
  const redone = await redoUpTo(options, Math.min(shown, log.durable))
  if (redone.incompleteFrom !== undefined) log.truncateAfter(redone.incompleteFrom - 1)
  const cutRecords = endBefore - log.end.lsn
  new ApplyLoop({ storage, formats, clock }).restore()
  const isWhole = storage.applied.lsn >= log.end.lsn || storage.ahead
  let point = log.startEpoch({ runId: randomId(random), leader: node, committedAtMs: clock.now() })
  if (isAcked) point = log.append([ackRuleDraft(clock, formatRule(rule))])
  await log.sync()
  if (isWhole) await enterEpoch(options, point)
  const pipeline = createCommitPipeline(
    isWhole ? options : { ...options, recovery: recoveryOf(options, point) },
  )
  // Followers connect only after this: the base asks for no ack of theirs. During a recovery the pipeline sees to it.
  if (isWhole && format.physical === true && !storage.physical)
    await pipeline.switchFormat(format, { isUnacked: true })
  return { pipeline, epoch: log.history.at(-1) as EpochEntry, redone, cutRecords }
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

/** The log to its end, this epoch's first records among it. */
function recoveryOf<C, T>(options: BecomeLeaderOptions<C, T>, point: LogPoint): Recovery {
  const { log, storage, formats, clock } = options
  return {
    point,
    run: async () => {
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
