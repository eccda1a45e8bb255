/**
 * Who has what: from the acks of followers to the highest LSN that satisfies a rule.
 *
 * Decides: whether a member counts, which members of a FIRST set are chosen, how far a rule is satisfied, the sync state
 * of each follower. No input or output of its own. Leaves to others: the acks, time, what waits.
 *
 * Validity conditions:
 * 1. Only named members count, and only while they stream. What a member said on an earlier connection does not.
 * 2. With fewer than n streaming nothing more is satisfied; what was satisfied stays so.
 * 3. FIRST n: the chosen are, of those that stream and do not lag, the first n by the order of the names, except that one that does not
 *    stream for `settleMs` yet takes no place of another. A member that lags is chosen only when no other is left.
 */
import type { AckLevel, Lsn, ReceiptMember } from '@understudy/contracts'
import { formatRule, type AckRule, type AckSet } from './ack-rule.ts'

/** How far a follower is, as it said itself. */
export interface MemberProgress {
  readonly streams: boolean
  readonly received: Lsn
  readonly durable: Lsn
  readonly applied: Lsn
  /** Bytes sent and not reported durable. */
  readonly unackedBytes: number
}

/** `async`: of no set. `potential`: a member that does not count now. `sync`: chosen of a FIRST set. `quorum`: counts in an ANY set. */
export type SyncState = 'async' | 'potential' | 'sync' | 'quorum'

export interface TrackerLimits {
  readonly settleMs: number
  readonly lagMsMax: number
  readonly lagBytesMax: number
}

interface Member extends MemberProgress {
  /** Since when it streams and does not lag. */
  eligibleSinceMs: number | undefined
  /** A record that it lacked at that time, and lacks still. */
  lacks: { readonly lsn: Lsn; readonly sinceMs: number } | undefined
  /** Wall clock of its last ack that told of something newly durable. */
  durableAt: number | undefined
}

interface Standing {
  readonly rule: AckRule
  chosen: readonly string[]
  satisfied: Lsn
}

/** Rules of single writes are remembered for their chosen members; more than so many begin anew. */
const STANDINGS_MAX = 64

export class AckTracker {
  #limits: TrackerLimits
  readonly #members = new Map<string, Member>()
  readonly #standings = new Map<string, Standing>()
  /** The same ones by the rules that were asked for: mostly it is one, many times for each group, and its text costs more than the answer. */
  #byRule = new WeakMap<AckRule, Standing>()
  #end: Lsn = 0

  constructor(limits: TrackerLimits) {
    this.#limits = limits
  }

  set limits(limits: TrackerLimits) {
    this.#limits = limits
  }

  /** The leader's log is durable up to here. */
  advance(end: Lsn, nowMs: number): void {
    if (end <= this.#end) return
    this.#end = end
    for (const member of this.#members.values()) this.#judge(member, nowMs)
  }

  /** What a follower said; `undefined`: its connection ended. */
  note(name: string, progress: MemberProgress | undefined, nowMs: number, wallMs: number): void {
    if (progress === undefined) {
      this.#members.delete(name)
      return
    }
    const before = this.#members.get(name)
    const isNewer = before === undefined || progress.durable > before.durable
    const member: Member = {
      ...progress,
      eligibleSinceMs: before?.eligibleSinceMs,
      lacks: before?.lacks,
      durableAt: isNewer ? wallMs : before.durableAt,
    }
    this.#members.set(name, member)
    this.#judge(member, nowMs)
  }

  /** Highest LSN that satisfies the rule; never lower than before. */
  satisfied(rule: AckRule, nowMs: number): Lsn {
    if (rule.of === undefined) return this.#end
    const standing = this.#standingOf(rule)
    this.#choose(standing, nowMs)
    standing.satisfied = Math.max(standing.satisfied, this.#reached(rule.of, rule.level, standing.chosen))
    return standing.satisfied
  }

  /** Whether as many members as a rule asks for have `lsn` at a level now; asked of levels below the rule's own. */
  holds(rule: AckRule, level: AckLevel, lsn: Lsn, nowMs: number): boolean {
    if (rule.of === undefined) return false
    const standing = this.#standingOf(rule)
    this.#choose(standing, nowMs)
    return this.#reached(rule.of, level, standing.chosen) >= lsn
  }

  /** Whether enough members stream, and have done so for `settleMs` without lagging, to satisfy the rule from now on. */
  isReady(rule: AckRule, nowMs: number): boolean {
    if (rule.of === undefined) return true
    const settled = rule.of.names.filter((name) => this.#isSettled(this.#members.get(name), nowMs))
    return settled.length >= rule.of.count
  }

  /** Members of the rule's set that have `lsn`. */
  holders(rule: AckRule, lsn: Lsn): ReceiptMember[] {
    return this.#having(rule.of?.names ?? [], 'received', lsn)
  }

  /** Followers of whatever name that stream and have `lsn` at a level. */
  having(level: AckLevel, lsn: Lsn): ReceiptMember[] {
    return this.#having(this.#members.keys(), level, lsn)
  }

  #having(names: Iterable<string>, level: AckLevel, lsn: Lsn): ReceiptMember[] {
    const found: ReceiptMember[] = []
    for (const name of names) {
      const member = this.#members.get(name)
      if (member === undefined || !member.streams || levelOf(member, level) < lsn) continue
      const isDurable = member.durable >= lsn && member.durableAt !== undefined
      found.push(isDurable ? { name, durableAt: member.durableAt as number } : { name })
    }
    return found
  }

  /** Members of the rule's set that do not stream, when fewer than it asks for do. */
  absent({ of }: AckRule): string[] {
    if (of === undefined) return []
    const absent = of.names.filter((name) => this.#members.get(name)?.streams !== true)
    return of.names.length - absent.length < of.count ? absent : []
  }

  /** Members of the rule's set that lack `lsn` at its level, when fewer than it asks for have it. */
  lacking({ of, level }: AckRule, lsn: Lsn): string[] {
    if (of === undefined) return []
    const lacking = of.names.filter((name) => {
      const member = this.#members.get(name)
      return member?.streams !== true || levelOf(member, level) < lsn
    })
    return of.names.length - lacking.length < of.count ? lacking : []
  }

  syncState(rule: AckRule, name: string, nowMs: number): SyncState {
    if (rule.of === undefined || !rule.of.names.includes(name)) return 'async'
    if (this.#members.get(name)?.streams !== true) return 'potential'
    if (rule.of.kind === 'any') return 'quorum'
    const standing = this.#standingOf(rule)
    this.#choose(standing, nowMs)
    return standing.chosen.includes(name) ? 'sync' : 'potential'
  }

  /** When time alone may change what is satisfied: a chosen member begins to lag, or another has settled. */
  dueMs(rule: AckRule, nowMs: number): number {
    let due = Number.POSITIVE_INFINITY
    for (const name of rule.of?.names ?? []) {
      const member = this.#members.get(name)
      if (member === undefined || !member.streams) continue
      const dates = [
        member.lacks && member.lacks.sinceMs + this.#limits.lagMsMax,
        member.eligibleSinceMs !== undefined && member.eligibleSinceMs + this.#limits.settleMs,
      ]
      for (const at of dates) if (typeof at === 'number' && at > nowMs) due = Math.min(due, at)
    }
    return due
  }

  /** Least LSN that as many members as the set asks for have. */
  #reached({ kind, count, names }: AckSet, level: AckLevel, chosen: readonly string[]): Lsn {
    const counting =
      kind === 'any' ? names.filter((name) => this.#members.get(name)?.streams === true) : chosen
    if (counting.length < count) return 0
    const reached = counting.map((name) => levelOf(this.#members.get(name), level)).sort((a, b) => b - a)
    return reached[count - 1] ?? 0
  }

  #choose(standing: Standing, nowMs: number): void {
    const { of } = standing.rule
    if (of?.kind !== 'first') return
    const ranked: { readonly name: string; readonly rank: number }[] = []
    for (const name of of.names) {
      const member = this.#members.get(name)
      if (member?.streams !== true) continue
      this.#judge(member, nowMs)
      const keepsPlace = standing.chosen.includes(name) || this.#isSettled(member, nowMs)
      ranked.push({ name, rank: member.eligibleSinceMs === undefined ? 2 : keepsPlace ? 0 : 1 })
    }
    // A stable sort: within a rank the order of the names decides.
    ranked.sort((a, b) => a.rank - b.rank)
    standing.chosen = ranked.slice(0, of.count).map(({ name }) => name)
  }

  #isSettled(member: Member | undefined, nowMs: number): boolean {
    if (member?.streams !== true) return false
    this.#judge(member, nowMs)
    return member.eligibleSinceMs !== undefined && nowMs - member.eligibleSinceMs >= this.#limits.settleMs
  }

  /** Whether it streams and does not lag, and since when. A record that it lacks is remembered until it has it. */
  #judge(member: Member, nowMs: number): void {
    const { lagMsMax, lagBytesMax } = this.#limits
    if (member.lacks === undefined || member.durable >= member.lacks.lsn)
      member.lacks = member.durable < this.#end ? { lsn: this.#end, sinceMs: nowMs } : undefined
    const lags =
      (member.lacks !== undefined && nowMs - member.lacks.sinceMs >= lagMsMax) ||
      member.unackedBytes > lagBytesMax
    if (!member.streams || lags) member.eligibleSinceMs = undefined
    else member.eligibleSinceMs ??= nowMs
  }

  #standingOf(rule: AckRule): Standing {
    const before = this.#byRule.get(rule)
    if (before !== undefined) return before
    const key = formatRule(rule)
    const known = this.#standings.get(key)
    if (known === undefined && this.#standings.size >= STANDINGS_MAX) {
      this.#standings.clear()
      this.#byRule = new WeakMap()
    }
    const standing = known ?? { rule, chosen: [], satisfied: 0 }
    this.#standings.set(key, standing)
    this.#byRule.set(rule, standing)
    return standing
  }
}

function levelOf(member: Member | undefined, level: AckLevel): Lsn {
  if (member === undefined || level === 'local') return 0
  return member[level]
}
