/**
 * The start of leading: from a log and a storage that a stop or crash left, to a pipeline that takes writes.
 *
 * 1. Everything in the log is applied first: what is durable was, or may have been, acknowledged.
 * 2. A transaction at the end of the log whose last part is missing was never acknowledged and is cut off, before the
 *    new epoch makes it impossible to tell.
 * 3. The new epoch is durable before the first write, and applied, so that every receipt carries it.
 * 4. A transaction of pages that a crash kept out of the log is the first record of the new epoch after its no-op. A
 *    physical format begins with a base unless the file is kept page by page already.
 */
import {
  randomId,
  type EpochEntry,
  type LogFormat,
  type LogPoint,
  type Random,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import { ApplyLoop } from './apply-loop.ts'
import { createCommitPipeline, type CommitPipeline, type CommitPipelineOptions } from './commit-pipeline.ts'
import { PIPELINE_LIMITS, withDefaults, type ApplyLimits } from './limits.ts'
import { logUnlogged } from './physical.ts'
import { redo, type RedoResult } from './redo.ts'

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
  const { log, storage, formats, clock, random, node } = options
  await log.sync()
  const redone = await redo({
    log,
    storage,
    formats,
    clock,
    ...(options.applyLimits && { limits: options.applyLimits }),
    ...(options.defer && { defer: options.defer }),
    ...(options.onMarker && { onMarker: options.onMarker }),
    ...(options.onProgress && { onProgress: options.onProgress }),
  })
  const endBefore = log.end.lsn
  if (redone.incompleteFrom !== undefined) log.truncateAfter(redone.incompleteFrom - 1)
  const cutRecords = endBefore - log.end.lsn
  new ApplyLoop({ storage, formats, clock }).restore()
  const point = log.startEpoch({ runId: randomId(random), leader: node, committedAtMs: clock.now() })
  await log.sync()
  await enterEpoch(options, point)
  const pipeline = createCommitPipeline(options)
  if (options.format.physical === true && !storage.physical) await pipeline.switchFormat(options.format)
  return { pipeline, epoch: log.history.at(-1) as EpochEntry, redone, cutRecords }
}

/** The storage is at the epoch's first record, or at the record after it that a crash kept out of the log. */
async function enterEpoch<C, T>(options: BecomeLeaderOptions<C, T>, point: LogPoint): Promise<void> {
  const { log, storage, clock, formats, limits } = options
  if (storage.ahead) {
    const { recordBytesMax } = withDefaults(PIPELINE_LIMITS, limits)
    await logUnlogged({ log, storage, clock, recordBytesMax }, formats)
  } else if (storage.physical) {
    storage.settle(point)
  } else {
    storage.begin()
    storage.mark(point)
    storage.commit()
  }
}
