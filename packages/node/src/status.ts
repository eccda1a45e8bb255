/** What a node says of itself: plain data for `status` of the command line, for tests, for monitoring. */
import { formatPosition, type EpochHistory, type Log, type LogPoint, type Slot } from '@understudy/contracts'
import type { FollowerReport, FollowerStatus } from '@understudy/replication'
import type { SnapshotServer } from '@understudy/bootstrap'
import type { Role } from './options.ts'

export interface NodeStatus {
  readonly node: string
  readonly cluster: string
  readonly role: Role
  /** `leading`, what a follower is doing, or `failed`. */
  readonly state: string
  readonly address: string | undefined
  readonly epoch: number
  /** What readers of this node see, `epoch/lsn`. */
  readonly position: string
  /** End of this node's log that is durable. */
  readonly durable: number
  readonly log: { readonly first: number; readonly end: string; readonly slots: readonly Slot[] }
  /** Follower: its distance to the leader. Records are counted by the leader's last message. */
  readonly following: FollowingStatus | undefined
  /** Leader: each follower that is connected. */
  readonly followers?: readonly FollowerStatus[]
  readonly snapshots?: SnapshotServer['transfers']
  readonly failure: { readonly code: string; readonly message: string } | undefined
  readonly uncheckpointedBytes: number
}

export interface FollowingStatus {
  /** The address it was given. */
  readonly leader: string | undefined
  readonly lagRecords: number
  /** End of the leader's durable log, by its last message. */
  readonly leaderLsn: number
  readonly rttMs: number | undefined
  readonly lastError: { readonly code: string; readonly message: string } | undefined
}

/** The part that both roles share. */
export function logStatus(
  log: Log,
  applied: LogPoint,
): Pick<NodeStatus, 'epoch' | 'position' | 'durable' | 'log'> {
  return {
    epoch: newestEpoch(log.history),
    position: formatPosition(applied),
    durable: log.durable,
    log: { first: log.first, end: formatPosition(log.end), slots: log.slots.list() },
  }
}

/** A follower's report for status. */
export function followingStatus(report: FollowerReport, leader: string | undefined): FollowingStatus {
  const { lagRecords, leaderLsn, rttMs, lastError } = report
  return {
    leader,
    lagRecords,
    leaderLsn,
    rttMs,
    lastError: lastError && { code: lastError.code, message: lastError.message },
  }
}

function newestEpoch(history: EpochHistory): number {
  return history.at(-1)?.number ?? 0
}
