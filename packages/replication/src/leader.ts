/**
 * The start of leading: from a log and a storage that a stop or crash left, to a pipeline that takes writes.
 *
 * 1. Everything in the log is applied first: what is durable was, or may have been, acknowledged.
 * 2. A transaction at the end of the log whose last part is missing was never acknowledged and is cut off, before the
 *    new epoch makes it impossible to tell.
 * 3. The new epoch is durable before the first write, and applied, so that every receipt carries it.
 */
import {
  randomId,
  type EpochEntry,
  type LogFormat,
  type LogPoint,
  type Random,
  type WriteTransaction,
} from '@understudy/contracts'
import { ApplyLoop } from './apply-loop.ts'
import { createCommitPipeline, type CommitPipeline, type CommitPipelineOptions } from './commit-pipeline.ts'
import type { ApplyLimits } from './limits.ts'
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

export interface Leadership<T = WriteTransaction> {
  readonly pipeline: CommitPipeline<T>
  readonly epoch: EpochEntry
  readonly redone: RedoResult
  /** Records of an unfinished transaction that were cut off the end of the log. */
  readonly cutRecords: number
}

/** Throws what `redo` throws, and what the log throws when it cannot be written. */
export async function becomeLeader<C, T = WriteTransaction>(
  options: BecomeLeaderOptions<C, T>,
): Promise<Leadership<T>> {
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
  const loop = new ApplyLoop({ storage, formats, clock })
  try {
    loop.restore()
    const point = log.startEpoch({ runId: randomId(random), leader: node, committedAtMs: clock.now() })
    await log.sync()
    storage.begin()
    storage.mark(point)
    storage.commit()
  } finally {
    loop.close()
  }
  const pipeline = createCommitPipeline(options)
  return { pipeline, epoch: log.history.at(-1) as EpochEntry, redone, cutRecords }
}
