/**
 * What a node's user asks about who leads: handed on to the member of the cluster that this node is.
 *
 * Decides: what is said where there is no failover. Leaves to others: everything else (failover).
 */
import { UnderstudyError, type Files } from '@understudy/contracts'
import {
  readDecisions,
  type Changed,
  type ClusterMember,
  type PromoteOptions,
  type SwitchoverOptions,
} from '@understudy/failover'

export interface DecisionsOptions {
  /** Lines at most. Default 100. */
  readonly limit?: number
  /** UTF-8 bytes of all lines at most. Default 1 MiB. */
  readonly bytesMax?: number
}

export interface FailoverCalls {
  /**
   * Makes this node, or the member `target`, the leader of a new epoch; resolves once it takes writes. Without a coordinator this is
   * how a leader is replaced. Rejects with `FAILOVER_REFUSED`, whose message says why and what would help, `TIMEOUT` when it may still
   * happen, `INVALID_ARGUMENT` for a target that is no member or never leads.
   */
  promote(options?: PromoteOptions): Promise<Changed>
  /**
   * Planned: the leader hands over to `target`, or to the best follower, from any node that reaches it. Writes wait meanwhile, and none is lost. Rejects with
   * `FAILOVER_REFUSED`, `TIMEOUT`: then the old one leads on.
   */
  switchover(options?: SwitchoverOptions): Promise<Changed>
  /** Automatic failover of the whole cluster, off or on. Rejects with `FAILOVER_REFUSED` where nobody is promoted automatically anyway, and as the coordinator does. */
  pauseFailover(paused: boolean): Promise<void>
  /** What this node decided about who leads: the newest lines that its directory keeps, oldest first, for `explain` of `@understudy/failover`. */
  decisions(options?: DecisionsOptions): string[]
}

/** Throws `FAILOVER_REFUSED` for a node that is no member of a cluster. */
export function memberOf(name: string, member: ClusterMember | undefined): ClusterMember {
  if (member !== undefined) return member
  throw new UnderstudyError(
    'FAILOVER_REFUSED',
    `Node ${name} runs without failover: its role stays what it was started with, and nothing was changed. Start every node of the cluster with failover and the same members.`,
  )
}

/** Throws `INVALID_ARGUMENT`, and what the disk throws. */
export function newestDecisions(
  files: Files,
  directory: string,
  { limit = 100, bytesMax = 1024 * 1024 }: DecisionsOptions = {},
): string[] {
  for (const [name, value] of Object.entries({ limit, bytesMax }))
    if (!Number.isSafeInteger(value) || value < 0)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `${name} is ${value}; give a whole number from 0. Nothing was read.`,
      )
  return limit === 0 ? [] : readDecisions(files, directory, bytesMax).slice(-limit)
}
