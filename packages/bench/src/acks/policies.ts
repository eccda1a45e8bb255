/** The ack policies that are compared, by name: a leader and two followers, `b` and `c`. */
import { any, async, semiSync, sync, type AckPolicy } from '@understudy/node'
import { exportedFactory, isPath } from '../own-modules.ts'

export const FOLLOWER_NAMES = ['b', 'c'] as const
export type FollowerName = (typeof FOLLOWER_NAMES)[number]

/** In the order in which they are measured: `async` first, which the others are compared with. */
export const POLICY_NAMES = ['async', 'received', 'durable', 'any1', 'sync', 'applied'] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

/** For people. */
export const POLICY_TITLES: Readonly<Record<PolicyName, string>> = {
  async: 'asynchronous',
  received: 'semi-synchronous, received',
  durable: 'semi-synchronous, durable',
  any1: 'any 1, durable',
  sync: 'both, durable',
  applied: 'both, applied',
}

export function policyOf(name: PolicyName): AckPolicy {
  return policyFor(ACK_OF[name], FOLLOWER_NAMES)
}

/** What the matrix calls them. */
export const ACK_OF: Readonly<Record<PolicyName, AckName>> = {
  async: 'async',
  received: 'received',
  durable: 'semi-sync',
  any1: 'any1',
  sync: 'sync',
  applied: 'sync-applied',
}

/** As the matrix names them: what is measured when nothing else is said comes first. */
export const ACK_NAMES = ['async', 'semi-sync', 'sync', 'sync-applied', 'received', 'any1'] as const
export const ACKS_DEFAULT = ['async', 'semi-sync', 'sync', 'sync-applied'] as const
export type AckName = (typeof ACK_NAMES)[number]

/** The policy of a name of the matrix, for followers of these names. Without followers nobody can be waited for. */
export function policyFor(name: AckName, followers: readonly string[]): AckPolicy {
  if (followers.length === 0) return async()
  switch (name) {
    case 'async':
      return async()
    case 'semi-sync':
      return semiSync(followers)
    case 'sync':
      return sync(followers)
    case 'sync-applied':
      return sync(followers, { level: 'applied' })
    case 'received':
      return semiSync(followers, { level: 'received' })
    case 'any1':
      return { level: 'durable', of: any(1, followers) }
  }
}

/** The same, or that of a module of the user's own: it exports `acks`, a function that gets the names of the followers. Throws `INVALID_ARGUMENT`. */
export async function policyFrom(name: string, followers: readonly string[]): Promise<AckPolicy> {
  if (!isPath(name)) return policyFor(name as AckName, followers)
  return (await exportedFactory(name, 'acks'))(followers) as AckPolicy
}

/** Callers at once. */
export const WRITERS = [1, 64, 256] as const
export type Writers = (typeof WRITERS)[number]
/** Where every commit waits for a round trip, one caller measures the round trip alone. */
export const DELAYED_WRITERS: readonly [64, 256] = [64, 256]
