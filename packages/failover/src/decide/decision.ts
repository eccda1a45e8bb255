/** What a decision says: what is to be done next and by whom, why, and who was not chosen for which reason. */
import type { LogPoint, Position } from '@understudy/contracts'
import type { Rules } from './observations.ts'

export type Action =
  | { readonly kind: 'none' }
  /** Nothing changes before then by itself. */
  | { readonly kind: 'wait'; readonly untilMs: number }
  /** These stop receiving, write down what they have, and say where they are. */
  | { readonly kind: 'stopReceivers'; readonly names: readonly string[] }
  /** These promise, durably, to acknowledge nothing in a lower epoch. `runId`: of the attempt that goes on; absent: a new one begins. */
  | {
      readonly kind: 'promise'
      readonly epoch: number
      readonly runId?: string
      readonly voters: readonly string[]
    }
  /** `to` lacks records that `from` has. */
  | {
      readonly kind: 'fetchTail'
      readonly from: string
      readonly to: string
      readonly after: LogPoint
      readonly upTo: LogPoint
    }
  | PromoteAction
  /** It stays as it is. `help`: what would change that. */
  | { readonly kind: 'refuse'; readonly help: readonly string[] }

export interface PromoteAction {
  readonly kind: 'promote'
  readonly name: string
  readonly epoch: number
  readonly runId: string
  /** The end of the log that the new epoch goes on from. */
  readonly from: LogPoint
  /** What is applied up to there before writes are accepted. */
  readonly backlog: number
  /** The rules that the new leader begins with. */
  readonly acks?: Rules
  /** The version of the published state that it replaces. Absent: there is no coordinator. */
  readonly expectedRevision?: string
  /** It cannot prove the newest ceiling of ids: it starts far above. */
  readonly raiseIds: boolean
}

export interface Rejected {
  readonly name: string
  readonly reason: string
}

/** Whether the survivors hold every commit that one rule acknowledged. */
export interface RuleProof {
  /** As text. */
  readonly rule: string
  readonly isProven: boolean
  /** Members of the set that are held, and those that are not. */
  readonly held: readonly string[]
  readonly missing: readonly string[]
  readonly why: string
}

export interface Proof {
  readonly isProven: boolean
  readonly rules: readonly RuleProof[]
}

/** What a promotion that is not proven may take back. */
export interface PossibleLoss {
  /** Acknowledged commits after this position may be gone. */
  readonly after: Position
  /** The end of the leader's log as far as anybody heard. */
  readonly knownEnd?: Position
  /** Records between the two, as far as is known. Absent: unknown. */
  readonly records?: number
}

export interface Decision {
  readonly action: Action
  /** Whose turn it is to do it: a node does nothing of what is another's. Absent: nobody's. */
  readonly actor?: string
  /** In the order in which they were found. */
  readonly reasons: readonly string[]
  readonly rejected: readonly Rejected[]
  readonly proof?: Proof
  readonly mayLose?: PossibleLoss
  /** With the mode `observe`: what would have been done. */
  readonly observed?: Action
}
