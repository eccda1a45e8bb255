/** Commits that had less protection than was asked for, as a node tells of them: plain data. */
import type { Lsn, Position } from './position.ts'

/** Commits with one reason, from the first to the last of them. Others may lie between them: `commits` counts only these. */
export interface ExposedRange {
  /** `lowered`: the set did not answer. `choice`: the writes asked for less than the rule of the cluster. */
  readonly why: 'lowered' | 'choice'
  readonly from: Position
  /** The last of them so far. */
  readonly to: Position
  /** The rule is still what it was: more may come. */
  readonly isOpen: boolean
  /** Transactions: concurrent writes that shared one count once. */
  readonly commits: number
  /** The rules that were asked for, joined by ` + `. */
  readonly asked: string
  /** What was in force for them. */
  readonly effective: string
  /** By the leader's wall clock: when the rule was lowered, or the first was committed. Milliseconds since 1970. */
  readonly beganAtMs: number
  /** When the rule was raised, replaced by another, or a new epoch began. */
  readonly endedAtMs: number | undefined
  /** Those among them that waited when the rule was lowered: their acks may have come at the last moment. */
  readonly waited: { readonly from: Lsn; readonly to: Lsn } | undefined
  /** The record that the set had to have before the leader went on: the set has everything up to there. */
  readonly covered: Coverage | undefined
}

export interface Coverage {
  readonly position: Position
  readonly atMs: number
  /** The rule by which the set has it. */
  readonly rule: string
}

export interface ExposureOptions {
  /** Only ranges that end above this position, or are still open. */
  readonly after?: Position
  /** Only what was exposed at or after this time, in milliseconds since 1970, by the leader's wall clock. */
  readonly sinceMs?: number
  /** Also commits that asked for less than the rule of the cluster by themselves. Default false. */
  readonly byChoice?: boolean
}

export interface ExposureEntry extends ExposedRange {
  /** `covered`: the set has it by now. `exposed`: not that it is known. `unknown`: this node cannot say. */
  readonly state: 'covered' | 'exposed' | 'unknown'
  /** Members that are known to have all of it durable at present. */
  readonly holders: readonly string[]
}

export interface Exposure {
  /** Everything from this LSN on is known; what was before it, the log of this node does not say. `undefined`: nothing is known. */
  readonly knownFrom: Lsn | undefined
  /** End of what was looked at. */
  readonly upTo: Position
  /** Oldest first. */
  readonly ranges: readonly ExposureEntry[]
  /** Older ranges that were dropped because there were more than 1,000. */
  readonly forgotten: number
}
