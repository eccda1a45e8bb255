/**
 * The node that a member drives: what the member asks it to do, and what it asks the member before it lets anything out.
 *
 * Decides: the contract between the two. Leaves to others: when (the member), how (the node).
 *
 * Validity conditions:
 * 1. One call of `Host` at a time, apart from `report` and `thaw`; a call that rejects left the node as it was, unless it says so.
 * 2. What `report` says is of one moment, and what it calls durable is.
 * 3. From `freeze` on until `thaw`, `follow`, `fetchTail` or `beginEpoch` the end of the log moves no more.
 */
import type { Lsn, UnderstudyError } from '@understudy/contracts'
import type { PromoteAction } from '../decide/decision.ts'
import type { MemberReport, Promised, Rules } from '../decide/observations.ts'

/** Who leads, and where it is reached. */
export interface LeaderPlace {
  readonly name: string
  readonly epoch: number
  /** Run id of the epoch. */
  readonly runId: string
  readonly address: string
}

/** What the node says of itself; what it promised is the member's to add. */
export type HostReport = Omit<MemberReport, 'promised'>

export interface Host {
  readonly name: string
  /** 16 hexadecimal digits; empty before it has data. */
  readonly cluster: string
  /** Where it listens. */
  readonly address: string
  report(): HostReport
  /**
   * Nothing enters the log any more, and what is in it is durable when this resolves: a follower stops taking records, a
   * leader holds its writes back (they wait) once the group under way is durable.
   */
  freeze(): Promise<void>
  /** The opposite, where no role was changed in between: the follower receives again, the leader goes on with the writes that waited. */
  thaw(): void
  /** Leader: as `freeze`, but only once all that was written is acknowledged and answered, and `target` has it. Rejects with `TIMEOUT`, thawed. */
  drain(target: string, timeoutMs: number): Promise<void>
  /**
   * Follows this leader from now on. A leader stops leading first: what it never ran is `NOT_WRITTEN` with `notLeader`, what
   * waited for acks `OUTCOME_UNKNOWN`; it rejoins, its lost tail kept. Absent: nobody is known, it follows nobody and waits.
   * Resolves once the change is made; what comes of it shows in `report`.
   */
  follow(leader: LeaderPlace | undefined): Promise<void>
  /**
   * Gets the records up to `upTo`, durably, from a member that is frozen; the node is frozen again when it resolves. What this node alone
   * has is undone before, as when it rejoins; rejects where it cannot be, with all as it was.
   */
  fetchTail(from: { readonly name: string; readonly address: string }, upTo: Lsn): Promise<void>
  /** Applies what is durable up to there, so that nothing is left to do before writes are accepted. */
  apply(upTo: Lsn): Promise<void>
  /**
   * The no-op of the epoch is durable when it resolves, together with the rule of acks; no write was accepted yet. Rejects with
   * `LEASE_LOST` when `fence.mayLead` says no once it is.
   */
  beginEpoch(promotion: PromoteAction): Promise<void>
  /** Takes writes and followers in the epoch that was begun. */
  acceptWrites(): void
  /** Shows and acknowledges nothing more, at once; everything that waits is answered. Data can be read on. */
  stopLeading(reason: UnderstudyError): void
}

/** What the node asks its member. Each is asked right before the thing itself. */
export interface Fence {
  /** Follower: may an ack of records of this epoch leave. */
  mayAck(epoch: number, runId: string): boolean
  /**
   * Follower: may records of this leader be taken. Resolves when it is durable that nothing lower is followed; rejects with
   * `EPOCH_STALE` or `EPOCH_FORK`.
   */
  admit(leader: Promised): Promise<void>
  /** Leader: may anything be shown: a commit made visible, an answer sent, a read that asks for the leader. */
  mayLead(): boolean
  /**
   * Leader: these rules of acks are published when it resolves; only then may they be in force. At once where there is no coordinator. Rejects as
   * `ClusterMember.publish`.
   */
  publishRules(rules: Rules): Promise<void>
  /** Highest ids that may have been given by any leader, by table, as they are published; absent where there is no coordinator. */
  ceilings(): ReadonlyMap<string, bigint> | undefined
  /** The leader of this epoch was heard on the replication connection: records or a heartbeat. */
  heard(leader: string): void
  /** The connection to it ended: refused by its machine, or lost. */
  lost(leader: string, how: 'connection-lost' | 'connection-refused'): void
  /** A peer said that a higher epoch exists. */
  sawEpoch(epoch: number, runId: string | undefined): void
}
