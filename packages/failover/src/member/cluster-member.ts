/** What a node gets of failover: a member that drives it, and what it must be given. */
import { processClock } from '@understudy/coordination'
import type { Files, Random, UnderstudyError } from '@understudy/contracts'
import type { Connection, Hello } from '@understudy/protocol'
import type { Action } from '../decide/decision.ts'
import type { Fence, Host, LeaderPlace } from './host.ts'
import { Member } from './member.ts'
import type { Change } from './publishing.ts'
import { memberStatus, type FailoverStatus } from './member-status.ts'
import { resolveFailover, type FailoverOptions } from './options.ts'
import {
  pauseFailover,
  promote,
  switchover,
  takeHandOvers,
  type Changed,
  type PromoteOptions,
  type SwitchoverOptions,
} from './wishes.ts'

export type MemberEvent =
  /** Another one leads, or a new epoch began. */
  | { readonly kind: 'leader'; readonly name: string; readonly epoch: number }
  | { readonly kind: 'follows'; readonly leader: LeaderPlace }
  /** This node stopped leading. */
  | { readonly kind: 'steppedDown'; readonly error: UnderstudyError }
  | {
      readonly kind: 'decided'
      readonly action: Action
      readonly observed?: Action
      readonly reasons: readonly string[]
    }
  /** Something failed, and is tried again. */
  | { readonly kind: 'trouble'; readonly error: UnderstudyError }

export interface MemberParts {
  readonly name: string
  readonly files: Files
  /** For the promise and the decisions. */
  readonly directory: string
  readonly random: Random
  /** A new run id: 16 hexadecimal digits. */
  readonly runId: () => string
  /** A connection to a member, authenticated where that is asked for, on which the Hello is next. */
  readonly dial: (address: string, timeoutMs: number, signal: AbortSignal) => Promise<Connection>
  readonly emit: (event: MemberEvent) => void
}

export interface ClusterMember {
  /** What the node asks before it lets anything out. */
  readonly fence: Fence
  /** Begins: from here on the host is driven. `founds`: it has an empty log, and may be the first leader of all. */
  start(host: Host, founds: boolean): void
  /** Takes the connection of another member; throws why not. */
  accept(connection: Connection, hello: Hello): void
  status(): FailoverStatus
  /** Who leads, as far as this node knows, and where. */
  leader(): LeaderPlace | undefined
  /**
   * Makes this node, or `target`, the leader of a new epoch. Resolves once it takes writes. Rejects with `FAILOVER_REFUSED`, whose message says why and what
   * would help, `TIMEOUT`.
   */
  promote(options?: PromoteOptions): Promise<Changed>
  /** Hands over from the leader to `target`, or the best follower. Rejects with `FAILOVER_REFUSED`, `TIMEOUT`: then the old one leads on. */
  switchover(options?: SwitchoverOptions): Promise<Changed>
  /** Automatic failover of the whole cluster, off or on. Rejects with `FAILOVER_REFUSED` where there is no coordinator, and as its `publish`. */
  pause(paused: boolean): Promise<void>
  /**
   * Leader: publishes its rules of acks, or its ceilings of ids, before they are in force. One call after another. Resolves at once without a coordinator; rejects
   * with `NOT_LEADER`, and as `Coordinator.publish`.
   */
  publish(change: Change): Promise<void>
  /** Gives the lease back, ends all connections, closes the coordinator. */
  close(): Promise<void>
}

/** Rejects with `INVALID_ARGUMENT`, `STATE_CORRUPT`, `FORMAT_VERSION`, and as the coordinator does. */
export async function openMember(options: FailoverOptions, parts: MemberParts): Promise<ClusterMember> {
  const settings = resolveFailover(options, parts.name, options.clock ?? processClock())
  const member = new Member(settings, parts)
  try {
    await member.open()
  } catch (error) {
    await member.close()
    throw error
  }
  takeHandOvers(member)
  return {
    fence: member.fence,
    start: (host, founds) => member.start(host, founds),
    accept: (connection, hello) => member.accept(connection, hello),
    status: () => memberStatus(member),
    leader: () => member.leaderPlace(),
    promote: (asked) => promote(member, asked),
    switchover: (asked) => switchover(member, asked),
    pause: (paused) => pauseFailover(member, paused),
    publish: (change) => member.publish(change),
    close: () => member.close(),
  }
}
