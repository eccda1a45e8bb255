/**
 * Whether a leader is gone: what the followers say together.
 *
 * Decides: from what each member hears of the leader, and from what the coordinator saw, `alive`, `undecided` or `dead`. Leaves to
 * others: what each one hears (detector), what is done (decide).
 *
 * Validity conditions:
 * 1. One member that hears the leader is enough for `alive`: a leader that some follower hears is cut off from others, not dead.
 * 2. `dead` needs a quorum of the members, the leader not among them: silence about a silent leader is no vote.
 * 3. A view counts while it is fresh, and not when its owner missed time itself.
 * 4. A leader that says itself that it does not lead, because it was started again or gave up, needs no quorum.
 * 5. A lease that is not free yet is a sign of life that no silence outweighs.
 */

/** What one member hears of the leader. */
export interface LeaderView {
  /** Who says so. The leader too: `hears` says then whether it leads. */
  readonly from: string
  readonly hears: boolean
  /** Since when it does not, in milliseconds; 0 when it does. */
  readonly silentMs: number
  /** By what. */
  readonly by: 'heartbeat' | 'silence' | 'connection-lost' | 'connection-refused'
  /** It is sure, not only suspicious. */
  readonly isCertain: boolean
  /** It was stopped or blocked itself so recently that its silence says nothing. */
  readonly stalled: boolean
  /** How old this view is for the observer, in milliseconds. */
  readonly ageMs: number
}

/** How many members must agree. */
export type ConfirmQuorum = 'majority' | 'all' | number

export interface ConfirmInput {
  readonly nowMs: number
  readonly leader: string
  /** Names of the followers whose views count. */
  readonly members: readonly string[]
  /** The latest of each, the observer's own among them, and what the leader says of itself. */
  readonly views: readonly LeaderView[]
  readonly quorum: ConfirmQuorum
  /** Older views do not count. */
  readonly viewMsMax: number
  /** From when the coordinator lets somebody else lead. Absent: there is no lease, or the coordinator is not reached. */
  readonly leaseFreeAtMs?: number
}

export interface LeaderVerdict {
  readonly verdict: 'alive' | 'undecided' | 'dead'
  /** How long the member that heard it last has not, in milliseconds; 0 when it is heard. */
  readonly silentMs: number
  readonly reasons: readonly string[]
}

/** What the cluster says of its leader. */
export function confirm(input: ConfirmInput): LeaderVerdict {
  const { leader, members, viewMsMax } = input
  const reasons: string[] = []
  const counted = new Map<string, LeaderView>()
  let denial: string | undefined
  for (const view of input.views) {
    if (view.from === leader) {
      // Its own word that it leads is none: it could be cut off from everybody.
      if (!view.hears && !view.stalled && view.ageMs <= viewMsMax)
        denial = `${leader} says that it does not lead`
      continue
    }
    if (!members.includes(view.from)) continue
    if (view.ageMs > viewMsMax) reasons.push(`${view.from} said nothing for ${Math.round(view.ageMs)} ms`)
    else counted.set(view.from, view)
  }
  const hearing = [...counted.values()].filter((view) => view.hears)
  if (hearing.length > 0)
    return {
      verdict: 'alive',
      silentMs: 0,
      reasons: hearing.map((view) => `${view.from} hears ${leader}`),
    }
  const agreeing: LeaderView[] = []
  for (const view of counted.values()) {
    if (view.stalled) reasons.push(`${view.from} was stopped or blocked itself`)
    else {
      agreeing.push(view)
      reasons.push(
        `${view.from} hears nothing of ${leader} for ${Math.round(view.silentMs)} ms (${view.by}${view.isCertain ? ', certain' : ''})`,
      )
    }
  }
  const needed = neededOf(input.quorum, members.filter((name) => name !== leader).length)
  const silentMs = agreeing.length === 0 ? 0 : Math.min(...agreeing.map((view) => view.silentMs))
  if (denial !== undefined) reasons.push(denial)
  else if (agreeing.length < needed)
    return {
      verdict: 'undecided',
      silentMs,
      reasons: [
        ...reasons,
        `${agreeing.length} of the ${needed} members that must agree hear nothing of ${leader}`,
      ],
    }
  const { leaseFreeAtMs } = input
  if (leaseFreeAtMs !== undefined && leaseFreeAtMs > input.nowMs)
    return {
      verdict: 'undecided',
      silentMs,
      reasons: [
        ...reasons,
        `the lease of ${leader} may be in force for ${Math.ceil(leaseFreeAtMs - input.nowMs)} ms`,
      ],
    }
  return { verdict: 'dead', silentMs, reasons }
}

/** How many of so many members are a quorum; at least one. */
export function neededOf(quorum: ConfirmQuorum, members: number): number {
  if (quorum === 'all') return Math.max(1, members)
  if (quorum === 'majority') return Math.floor(members / 2) + 1
  return Math.max(1, quorum)
}
