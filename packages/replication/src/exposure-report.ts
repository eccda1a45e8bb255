/**
 * What is told of exposed commits: the ranges that were asked for, and whether their set has them by now.
 *
 * Decides: which ranges are told, what "covered" takes. Leaves to others: finding them (exposure), where the followers are.
 *
 * 1. Covered is what the log proves, or what so many members as each rule asks for are known to have durable at present.
 * 2. Who is not known to have it counts as not having it; only where nobody here can know, nothing is said (`unknown`).
 */
import type {
  Coverage,
  ExposedRange,
  Exposure,
  ExposureEntry,
  ExposureOptions,
  Lsn,
} from '@understudy/contracts'
import { rulesOf, type ExposureState } from './exposure.ts'

export interface Whereabouts {
  /** Up to where a member has the log durable; `undefined` when this node cannot know. */
  durable(name: string): Lsn | undefined
  /** The last LSN of which this node knows that it is acknowledged; for a rule of the level `applied` that it is shown. */
  readonly acked: Lsn
}

export function reportExposure(
  state: ExposureState,
  where: Whereabouts,
  { after, sinceMs, byChoice = false }: ExposureOptions = {},
): Exposure {
  const { knownFrom, at, forgotten, claim } = state
  const proof = claim !== undefined && proves(claim, where.acked) ? claim : undefined
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

/** What must be applied elsewhere is shown before it is acknowledged. */
function proves({ position, rule }: Coverage, acked: Lsn): boolean {
  return position.lsn <= acked && rulesOf({ asked: rule }).every(({ level }) => level !== 'applied')
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
