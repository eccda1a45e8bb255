/**
 * What is told of exposed commits: the ranges that were asked for, and whether their set has them by now.
 *
 * Decides: which ranges are told, what "covered" takes. Leaves to others: finding them (exposure), where the followers are.
 *
 * 1. Covered is what the log proves, or what so many members as each rule asks for are known to have durable at present.
 * 2. Who is not known to have it counts as not having it; only where nobody here can know, nothing is said (`unknown`).
 */
import type { Lsn, Position } from '@understudy/contracts'
import { rulesOf, type Coverage, type ExposedRange, type ExposureState } from './exposure.ts'

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

export interface Whereabouts {
  /** Up to where a member has the log durable; `undefined` when this node cannot know. */
  durable(name: string): Lsn | undefined
  /** Shown here only after the set had it; 0 when this node shows things earlier. */
  readonly acked: Lsn
}

export function reportExposure(
  state: ExposureState,
  where: Whereabouts,
  { after, sinceMs, byChoice = false }: ExposureOptions = {},
): Exposure {
  const { knownFrom, at, forgotten, claim } = state
  const proof = claim !== undefined && claim.position.lsn <= where.acked ? claim : undefined
  const ranges = state.ranges.filter(
    ({ why, to, isOpen, endedAtMs }) =>
      (byChoice || why === 'lowered') &&
      (after === undefined || isOpen || to.lsn > after.lsn) &&
      (sinceMs === undefined || endedAtMs === undefined || endedAtMs >= sinceMs),
  )
  return {
    knownFrom,
    upTo: { epoch: at.epoch, lsn: at.lsn },
    ranges: ranges.map((range) => entryOf(range, where, proof)),
    forgotten,
  }
}

function entryOf(range: ExposedRange, where: Whereabouts, proof: Coverage | undefined): ExposureEntry {
  const covered = range.covered ?? (range.isOpen ? undefined : proof)
  const rules = rulesOf(range)
  const names = [...new Set(rules.flatMap(({ of }) => of?.names ?? []))]
  const holders = names.filter((name) => (where.durable(name) ?? 0) >= range.to.lsn)
  const isMet = rules.every(
    ({ of }) => of === undefined || of.names.filter((name) => holders.includes(name)).length >= of.count,
  )
  const mayBe = names.some((name) => where.durable(name) === undefined)
  const state = covered !== undefined || isMet ? 'covered' : mayBe ? 'unknown' : 'exposed'
  return { ...range, covered, state, holders }
}
