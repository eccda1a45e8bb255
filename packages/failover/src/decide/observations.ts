/**
 * All that a decision about who leads is made from. Plain data: it is written down with the decision and read again.
 *
 * Decides: what is observed. Leaves to others: how (the driver), what follows (decide).
 *
 * Times are monotonic milliseconds of the observer, `nowMs` among them: a record keeps its meaning on any machine.
 */
import type { EpochHistory, LogPoint, Position, PublishedRule } from '@understudy/contracts'
import type { LeaderVerdict } from '../confirm.ts'

/** Where a commit must be, as it is published. */
export type Rule = PublishedRule

/** The rule, and while the set changes the next one: a commit satisfies both. */
export interface Rules {
  readonly rule: Rule
  readonly next?: Rule
}

/** The rule that a member's own log says, for clusters without a coordinator. */
export interface KnownRules extends Rules {
  /** The leader may lower the rule without asking anybody (`degrade`): then it proves nothing here. */
  readonly mayBeLowered: boolean
}

/** One promise: `epoch` of the run `runId`, to `candidate`. */
export interface Promised {
  readonly epoch: number
  readonly runId: string
  readonly candidate: string
  /** What this voter promised or followed before; absent: nothing. Written by the voter. */
  readonly previous?: { readonly epoch: number; readonly runId: string }
}

export type MemberState = 'leading' | 'streaming' | 'catchup' | 'bootstrapping' | 'diverged'

/** What a member says of itself, in one message, so that all of it was so at one moment. */
export interface MemberReport {
  /** The last record that is durable there. */
  readonly end: LogPoint
  readonly history: EpochHistory
  /** LSN up to which it is applied. What lies above is applied before writes are accepted. */
  readonly appliedLsn: number
  readonly state: MemberState
  /** Pages are not verified against a base yet: its log is right, its database cannot lead. */
  readonly deltaUnverified: boolean
  /** Its log lost or may have lost what was durable. */
  readonly logDamaged: boolean
  /** It takes no records from anybody until it is told to. `end` moves no more. */
  readonly receiversStopped: boolean
  /** Its process has run since it first followed the epoch of `end`: what it only received was not lost with a process. */
  readonly keptReceived: boolean
  /** The newest promise that is durable there. */
  readonly promised?: Promised
  /** The log's own account of the rules in force. Absent: it does not know. */
  readonly rules?: KnownRules
  /** The furthest end of the leader's log that it heard of. */
  readonly leaderEnd?: Position
  /** It can prove the newest ceiling of ids, so that it gives none twice. */
  readonly idsProven: boolean
}

/** A node that may be among the followers or lead. */
export interface Member {
  readonly name: string
  /** Higher is preferred, among equally advanced ones. Default 0. */
  readonly priority?: number
  readonly neverPromote?: boolean
  /** Absent: it does not answer. */
  readonly report?: MemberReport
  /** Whether it stops receiving and promises when asked; `false` after it said no or nothing. Default: not asked. */
  readonly answers?: boolean
  /** Why not, as it said itself. */
  readonly refusal?: string
}

/** What the coordinator said. */
export type CoordinatorView =
  /** There is none: a person decides, and promises alone keep two leaders apart. */
  | { readonly kind: 'manual' }
  | { readonly kind: 'unreachable'; readonly sinceMs: number }
  | {
      readonly kind: 'reachable'
      readonly revision: string
      /** Absent: nothing was published yet. */
      readonly state?: {
        readonly epoch: number
        readonly runId: string
        readonly leader?: string
        readonly acks: Rules
        readonly paused: boolean
      }
      /** The lease as the observer sees it: from `freeAtMs` on it may be taken. */
      readonly lease?: { readonly holder: string; readonly epoch: number; readonly freeAtMs: number }
    }

/** Who asks. `automatic`: nobody does. */
export type Intent =
  | { readonly kind: 'automatic' }
  /** A person names the next leader, or lets it be chosen. `acceptLoss`: acknowledged commits may be lost. */
  | { readonly kind: 'promote'; readonly target?: string; readonly acceptLoss: boolean }
  /** A person hands over from a leader that takes part. */
  | { readonly kind: 'switchover'; readonly target?: string }

/** What was begun already by the node that decides: the promises that it asked for. */
export interface AttemptView {
  readonly epoch: number
  readonly runId: string
  readonly candidate: string
}

export interface DecisionPolicy {
  /** `observe`: decides and does nothing. */
  readonly mode: 'act' | 'observe'
  /** A person paused failover on this node. */
  readonly paused: boolean
  /** Without acks nothing is provable. `true`: fail over all the same, and say what may be lost. */
  readonly allowAsyncFailover: boolean
  /** A candidate has so long to act before the next one tries. */
  readonly turnMs: number
  /** After a promotion no other automatic one for so long, unless a person asks. 0: at once. */
  readonly restMs: number
}

export interface Observations {
  readonly nowMs: number
  /** Who decides. */
  readonly self: string
  /** The leader that is to be replaced. Absent: nobody ever led. */
  readonly leader?: string
  /** What the cluster says of it. */
  readonly verdict: LeaderVerdict
  /** Since when the verdict is `dead`. Candidates take turns from there. */
  readonly confirmedAtMs?: number
  readonly members: readonly Member[]
  readonly coordinator: CoordinatorView
  readonly intent: Intent
  readonly policy: DecisionPolicy
  readonly attempt?: AttemptView
  /** No attempt of this node before then: two that outbid each other would go on for ever. */
  readonly holdUntilMs?: number
  /** When the last promotion was seen. */
  readonly promotedAtMs?: number
}
