/**
 * How far a node is behind its leader, in three numbers: records, bytes, age.
 *
 * What is durable in the leader's log counts, acknowledged or not. Where a number cannot be known it is `undefined`, never the
 * last one that was.
 */
import type { Log, Lsn } from '@understudy/contracts'
import type { CommitAge, CommitAges } from './commit-ages.ts'

export interface Lag {
  /** Records of the leader that are not applied. */
  readonly records: number
  /**
   * Their bytes in the log. Never too few; exact while they are among the newest 4 MiB of the log, else at most 64 KiB or one
   * append too many. `undefined` on a follower that has not received them all.
   */
  readonly bytes: number | undefined
  /**
   * Milliseconds for which the oldest of them is durable in the leader's log, 0 without any, by a monotonic clock of the node
   * that says it. On the leader never too low, and too high by at most 1 ms or 1/64. On a follower it counts from when the
   * follower heard of that record.
   */
  readonly ageMs: number
  /** The oldest of them is older than `ageMs`: it was there before this leader, or on a follower this connection, began. */
  readonly ageIsAtLeast: boolean
}

/** The lag of a follower that has applied everything through `applied`, as its leader sees it. */
export function lagOf(log: Log, ages: CommitAges, applied: Lsn, nowMs: number): Lag {
  const { durable } = log
  if (applied >= durable) return NONE
  const bytes = Math.max(0, log.bytesAfter(applied) - log.bytesAfter(durable))
  return { records: durable - applied, bytes, ...ageFields(ages.of(applied, nowMs)) }
}

export function ageFields({ ms, isAtLeast }: CommitAge): Pick<Lag, 'ageMs' | 'ageIsAtLeast'> {
  return { ageMs: ms, ageIsAtLeast: isAtLeast }
}

/** Of a node that has applied everything. */
export const NONE: Lag = Object.freeze({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })
