/** What a node says of itself: plain data for `status` of the command line, for tests, for monitoring. */
import {
  formatPosition,
  type EpochHistory,
  type Listener,
  type Log,
  type LogPoint,
  type Slot,
  type UnderstudyError,
} from '@understudy/contracts'
import type {
  AbsentFollower,
  AckStatus,
  FollowerReport,
  FollowerStatus,
  Lag,
  ShadowReport,
} from '@understudy/replication'
import type { FailoverStatus } from '@understudy/failover'
import type { SnapshotServer } from '@understudy/bootstrap'
import type { SnapshotReport } from './follower-role.ts'
import { idsOfLeader, type IdsReport } from './ids.ts'
import type { ForwardedCount } from './forwarded-writes.ts'
import type { LeaderRole } from './leader-role.ts'
import type { Role } from './options.ts'
import { profileInForce, type Profile, type ProfileOptions } from './profiles.ts'

export interface NodeStatus {
  readonly node: string
  readonly cluster: string
  readonly role: Role
  /** `leading`, `recovering` while the end of a leader's log waits for acks, what a follower is doing, or `failed`. */
  readonly state: string
  readonly address: string | undefined
  readonly epoch: number
  /** What readers of this node see, `epoch/lsn`. */
  readonly position: string
  /** End of this node's log that is durable. */
  readonly durable: number
  readonly log: { readonly first: number; readonly end: string; readonly slots: readonly Slot[] }
  /** Follower: how it stands with its leader. */
  readonly following: FollowingStatus | undefined
  /** Follower: how its snapshot goes, while it has no data. */
  readonly bootstrap: BootstrapStatus | undefined
  /** Leader: each follower that is connected. */
  readonly followers?: readonly FollowerStatus[]
  /** Leader: name of the log format in force. */
  readonly format?: string
  /** Leader: the profile that it was started with, while its policy is the one asked for. */
  readonly profile?: Profile | undefined
  /** Leader: the ack rule, what of it is in force, and what waits for acks. */
  readonly acks?: AckReport
  /** Ceilings of ids of tables with AUTOINCREMENT; `undefined` while there are none. */
  readonly ids?: IdsReport | undefined
  /** Leader: writes that wait for their turn, and for how long the oldest one that was not answered waits. */
  readonly writes?: { readonly queued: number; readonly waitingMs: number }
  /** Leader: writes that followers sent on, by who sent them and whose they were; the newest last. */
  readonly forwarded?: readonly ForwardedCount[]
  /** Leader with a shadow format: what it and the format in force have measured. */
  readonly shadow?: ShadowReport
  /** Leader: each follower that is gone and whose slot is kept. */
  readonly absentFollowers?: readonly AbsentFollowerStatus[]
  readonly snapshots?: SnapshotServer['transfers']
  readonly failure: ErrorStatus | undefined
  /** Who is connected; followers are counted among neither. `undefined` when it does not listen. */
  readonly connections: { readonly clients: number; readonly strangers: number } | undefined
  /** The certificate that it shows, where it does. */
  readonly certificate: CertificateReport | undefined
  /** Why the newest list of credentials was not taken; the one before is in force. */
  readonly credentialsProblem: ErrorStatus | undefined
  /** With failover: who leads, what is held of whom, and what would happen if the leader died now. */
  readonly failover?: FailoverStatus
  /** `undefined` when there is no database to ask, or it cannot say. */
  readonly uncheckpointedBytes: number | undefined
}

export interface AckReport extends Omit<AckStatus, 'pending'> {
  /** What is durable here and not acknowledged, `epoch/lsn`. */
  readonly pending: string | undefined
}

/** An error as plain data. */
export interface ErrorStatus {
  readonly code: string
  readonly message: string
}

export interface CertificateReport {
  readonly identities: readonly string[]
  /** ISO 8601. */
  readonly expires: string
  /** Why the newest files were not taken; the ones before are in use. */
  readonly problem: string | undefined
}

export interface BootstrapStatus {
  /** The address it was given. */
  readonly leader: string | undefined
  readonly receivedBytes: number
  /** `undefined` before the leader said it. */
  readonly totalBytes: number | undefined
  readonly bytesPerSecond: number
  readonly lastError: ErrorStatus | undefined
}

export interface AbsentFollowerStatus extends Omit<AbsentFollower, 'state' | 'error'> {
  /** `bootstrapping`: it is getting a snapshot. `diverged`: it left because it could not apply a record. */
  readonly state: AbsentFollower['state'] | 'bootstrapping'
  readonly error: ErrorStatus | undefined
}

export interface FollowingStatus {
  /** The address it was given. */
  readonly leader: string | undefined
  /** How far it is behind; `undefined` when the link is down, or the leader silent for two heartbeats. */
  readonly lag: Lag | undefined
  /** Milliseconds since the leader's last message; `undefined` without a connection. */
  readonly heardMs: number | undefined
  /** End of the leader's durable log, by its last message. */
  readonly leaderLsn: number
  readonly rttMs: number | undefined
  readonly lastError: ErrorStatus | undefined
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
  const { lag, heardMs, leaderLsn, rttMs, lastError } = report
  return {
    leader,
    lag,
    heardMs,
    leaderLsn,
    rttMs,
    lastError: errorStatus(lastError),
  }
}

/** A snapshot in progress, for status. */
export function bootstrapStatus(
  { progress, lastError }: SnapshotReport,
  leader: string | undefined,
): BootstrapStatus {
  return {
    leader,
    receivedBytes: progress?.receivedBytes ?? 0,
    totalBytes: progress?.totalBytes,
    bytesPerSecond: progress?.bytesPerSecond ?? 0,
    lastError: errorStatus(lastError),
  }
}

/** The part that leaders have. */
export function leadingStatus(
  leading: LeaderRole,
  started: ProfileOptions,
): Pick<
  NodeStatus,
  'acks' | 'ids' | 'profile' | 'format' | 'writes' | 'shadow' | 'followers' | 'absentFollowers' | 'snapshots'
> {
  const { acks, ids, shadow, queued, waitingMs } = leading.pipeline
  return {
    format: leading.format,
    profile: profileInForce(started, acks),
    acks: { ...acks, pending: acks.pending && formatPosition(acks.pending) },
    ...(ids !== undefined && ids.tables.length > 0 && { ids: idsOfLeader(ids) }),
    writes: { queued, waitingMs },
    ...(shadow && { shadow }),
    followers: leading.followers(),
    absentFollowers: absentFollowers(leading),
    snapshots: leading.snapshots(),
  }
}

function absentFollowers(leading: LeaderRole): AbsentFollowerStatus[] {
  const served = new Set(leading.snapshots().map(({ follower }) => follower))
  return leading.absent().map((each) => ({
    ...each,
    state: served.has(each.name) ? 'bootstrapping' : each.state,
    error: errorStatus(each.error),
  }))
}

export function certificateReport({ certificate }: Listener): CertificateReport | undefined {
  if (certificate === undefined) return undefined
  const { identities, expiresAt, problem } = certificate
  return { identities, expires: new Date(expiresAt).toISOString(), problem }
}

export function errorStatus(error: UnderstudyError | undefined): ErrorStatus | undefined {
  return error && { code: error.code, message: error.message }
}

function newestEpoch(history: EpochHistory): number {
  return history.at(-1)?.number ?? 0
}
