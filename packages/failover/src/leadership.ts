/**
 * Whether a leader may go on showing anything to anybody, right now.
 *
 * Decides: until when, and by whose word. Leaves to others: renewing a lease, asking followers, stopping.
 *
 * While the coordinator is gone a leader goes on as long as every member says that it follows it, and so promises nobody else
 * its help for as long: a candidate is a member too, so none can be promoted meanwhile.
 *
 * Validity conditions:
 * 1. Asked before each thing that others can see, after the work for it, with the clock read last: a node that was stopped in
 *    between must not show what it prepared before.
 * 2. Times count from before a request was sent, and end `marginMs` early.
 * 3. ALL members, not most: the one that is missing could be the one that is promoted.
 */

/** What a follower answered when the leader asked whether it follows it. */
export interface FollowGrant {
  readonly from: string
  /** When the leader sent the question, by its own clock. */
  readonly askedAtMs: number
  /** For how long the follower promises nobody else anything. */
  readonly forMs: number
}

export interface LeadershipInput {
  readonly nowMs: number
  /** `manual`: nobody gives leases; promises of the followers are what stops a leader. */
  readonly coordinator: 'manual' | 'lease'
  /** Until when the lease is valid for its holder. Absent: it has none. */
  readonly leaseValidUntilMs?: number
  /** A higher epoch was promised or seen here: whatever the lease says. */
  readonly superseded: boolean
  /** Every node that could be promoted, the leader not among them. */
  readonly members: readonly string[]
  readonly grants: readonly FollowGrant[]
  readonly marginMs: number
}

export interface Leadership {
  readonly may: boolean
  /** Until when, by the clock of the leader. `Infinity`: until a follower says otherwise. */
  readonly untilMs: number
  readonly by: 'lease' | 'followers' | 'manual' | 'nobody'
  readonly reason: string
}

/** Whether this leader may show anything, and for how long. */
export function mayLead(input: LeadershipInput): Leadership {
  const { nowMs, members } = input
  if (input.superseded)
    return { may: false, untilMs: nowMs, by: 'nobody', reason: 'a higher epoch was promised or seen' }
  if (input.coordinator === 'manual')
    return { may: true, untilMs: Infinity, by: 'manual', reason: 'a person decides who leads' }
  const leaseMs = input.leaseValidUntilMs ?? -Infinity
  if (leaseMs > nowMs)
    return {
      may: true,
      untilMs: leaseMs,
      by: 'lease',
      reason: `the lease is valid for ${Math.round(leaseMs - nowMs)} ms`,
    }
  const lapsed = 'its lease is over'
  if (members.length === 0)
    return { may: false, untilMs: nowMs, by: 'nobody', reason: `${lapsed}, and it has no followers to ask` }
  let untilMs = Infinity
  const missing: string[] = []
  for (const name of members) {
    const ends = input.grants
      .filter((grant) => grant.from === name)
      .map((grant) => grant.askedAtMs + grant.forMs - input.marginMs)
    const end = Math.max(-Infinity, ...ends)
    if (end <= nowMs) missing.push(name)
    untilMs = Math.min(untilMs, end)
  }
  if (missing.length > 0)
    return {
      may: false,
      untilMs: nowMs,
      by: 'nobody',
      reason: `${lapsed}, and ${missing.join(', ')} did not say that it follows`,
    }
  return {
    may: true,
    untilMs,
    by: 'followers',
    reason: `${lapsed}, and all of ${members.join(', ')} follow it`,
  }
}
