/**
 * Up to where records are known to be acknowledged, from a log alone, and on a follower from what its leader says too.
 *
 * Decides: what proves acks. Leaves to others: what may be shown, which is more (shown): a leader may have shown a group, as pages or by
 * its policy, and begun another epoch, before anybody acknowledged it.
 *
 * Validity conditions:
 * 1. A leader appends no group before the one before it is acknowledged, in one epoch. So a group proves those before it in its epoch;
 *    the first group of an epoch proves nothing of what a former epoch left.
 * 2. What asks for no acks has all that it needs.
 * 3. The leader's high watermark proves the last group, when that is of the leader's own epoch, except one that asks for the level `applied`:
 *    followers show that one first.
 * 4. A snapshot proves nothing of its own end: nothing is known before a group came after it.
 */
import { FLAG_ASKS_APPLIED, epochAt, type Log, type Lsn } from '@understudy/contracts'
import { beginOfAwaiting, lastGroupEnd } from './shown.ts'

/** By the log alone. */
export function acknowledgedUpTo(log: Log): Lsn {
  let upTo = log.durable
  for (;;) {
    const end = lastGroupEnd(log, upTo)
    if (end < log.first) return 0
    const from = beginOfAwaiting(log, end)
    if (from === undefined) return upTo
    const firstLsn = epochAt(log.history, end)?.firstLsn ?? 1
    // Whether a group of the same epoch came before it.
    if (lastGroupEnd(log, from - 1) >= firstLsn) return from - 1
    upTo = firstLsn - 1
  }
}

export function acknowledgedOnFollower(log: Log, highWatermark: Lsn): Lsn {
  const proved = acknowledgedUpTo(log)
  const end = lastGroupEnd(log)
  if (end < log.durable || end < log.first || highWatermark < end) return proved
  for (const { flags } of log.records(end, end)) if ((flags & FLAG_ASKS_APPLIED) !== 0) return proved
  return Math.max(proved, Math.min(highWatermark, log.durable))
}
