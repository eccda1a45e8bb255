/**
 * Profiles: one word for how a cluster protects what it acknowledges.
 *
 * Decides: which ack policy a word stands for, which other options contradict it. Leaves to others: keeping the policy (replication).
 *
 * Validity conditions:
 * 1. A profile is the whole choice: beside options that it decides, or without those that it needs, it is an error.
 * 2. `no-loss` asks for so many followers that, with the leader, more than half of the cluster has each write. No write is acknowledged
 *    by fewer, ever; so a new leader that asked more than half of the cluster knows of every acknowledged write.
 * 3. `balanced` asks for one follower, and does without for as long as there is none: a record says so, receipts say so, `exposure` lists
 *    what was written meanwhile.
 */
import { UnderstudyError } from '@understudy/contracts'
import {
  any,
  async,
  formatRule,
  parseRule,
  resolvePolicy,
  semiSync,
  type AckPolicy,
  type AckRule,
  type AckStatus,
} from '@understudy/replication'

export const PROFILES: readonly ['no-loss', 'balanced', 'fast'] = Object.freeze([
  'no-loss',
  'balanced',
  'fast',
] as const)
export type Profile = (typeof PROFILES)[number]

/** How long `balanced` waits for a follower before it goes on without: longer than one that fails is replaced by the next. */
export const BALANCED_ACK_TIMEOUT_MS = 3000

export interface ProfileOptions {
  readonly profile?: Profile | undefined
  readonly members?: readonly string[] | undefined
  readonly acks?: AckPolicy | undefined
}

/** The policy of a profile; `undefined` without one. Throws `INVALID_ARGUMENT`. */
export function profilePolicy({ profile, members, acks }: ProfileOptions): AckPolicy | undefined {
  if (profile === undefined) {
    if (members === undefined) return undefined
    throw invalid(
      'members belong to a profile, and there is none; add profile: "no-loss" or "balanced", or name the followers in acks.',
    )
  }
  if (!PROFILES.includes(profile))
    throw invalid(`profile is '${profile as string}'; use ${PROFILES.map((each) => `'${each}'`).join(', ')}.`)
  if (acks !== undefined)
    throw invalid(
      `profile '${profile}' and acks say the same thing twice; remove acks, or remove the profile and say all of it in acks.`,
    )
  if (profile === 'fast') {
    if (members !== undefined)
      throw invalid(
        "profile 'fast' waits for no follower, so that its members would be ignored; remove them.",
      )
    return async()
  }
  if (!Array.isArray(members) || members.length === 0) throw needsMembers(profile)
  if (profile === 'balanced')
    return semiSync(members, { onUnmet: 'degrade', ackTimeoutMs: BALANCED_ACK_TIMEOUT_MS })
  return { level: 'durable', of: any(Math.ceil(members.length / 2), members), onUnmet: 'block' }
}

/** What a profile survives, and what it costs. */
export function describeProfile(profile: Profile, members: readonly string[] = []): string {
  const names = members.join(', ')
  if (profile === 'fast')
    return 'A write is acknowledged once the leader has it. When the leader is lost, so is what no follower had received yet: usually the last milliseconds.'
  if (profile === 'balanced')
    return `A write is acknowledged once the leader and one of ${names} have it on disk. When none answers for ${BALANCED_ACK_TIMEOUT_MS / 1000} s, the leader goes on alone and says so, until one is back: what is written meanwhile is lost with the leader.`
  const needed = Math.ceil(members.length / 2)
  const spared = members.length - needed
  const lost = `It survives the loss of any ${needed === 1 ? 'one machine' : `${needed} machines`}, the leader too.`
  const blocks =
    spared === 0
      ? `While ${names} is away, no write is acknowledged: with one member the cluster needs both of its machines to write. Name a second member to write on when one is away.`
      : `With more than ${spared} of the members away no write is acknowledged.`
  return `A write is acknowledged once the leader and ${needed} of ${names} have it on disk, never by the leader alone. ${lost} ${blocks}`
}

/** The profile whose policy is in force as it was started; another policy may have taken its place. */
export function profileInForce(
  { profile, members }: ProfileOptions,
  acks: Pick<AckStatus, 'rule' | 'onUnmet' | 'visibility'>,
): Profile | undefined {
  const policy = profilePolicy({ profile, members })
  if (policy === undefined) return undefined
  const { rule, onUnmet, visibility } = resolvePolicy(policy)
  const isSame =
    inOneOrder(rule) === inOneOrder(parseRule(acks.rule)) &&
    onUnmet === acks.onUnmet &&
    visibility === acks.visibility
  return isSame ? profile : undefined
}

/** Whoever led before stands in the place of who leads now, so that the members are in another order there: they are the same. */
function inOneOrder({ level, of }: AckRule): string {
  return formatRule({ level, ...(of && { of: { ...of, names: of.names.toSorted() } }) })
}

function needsMembers(profile: 'no-loss' | 'balanced'): UnderstudyError {
  const cost =
    profile === 'no-loss'
      ? 'A leader alone cannot keep what it acknowledged when its machine is lost. With one member each write is on two machines, and none is acknowledged while either is away; with two, on two of three, and one may be away.'
      : 'Without a follower to wait for it would protect no better than fast. With one member a write is on two machines unless that one is away; with two, the other takes its place.'
  return invalid(
    `profile '${profile}' needs members, the names of the followers that count. ${cost} Name them: members: ["b", "c"].`,
  )
}

function invalid(message: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${message} Nothing was started.`)
}
