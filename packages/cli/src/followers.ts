/** A leader's followers as tables: those that are connected, and those that are gone. What is not known reads `unknown`. */
import type { NodeStatus } from '@understudy/node'
import { bytes, table } from './output.ts'

type Connected = NonNullable<NodeStatus['followers']>[number]
type Gone = NonNullable<NodeStatus['absentFollowers']>[number]
type Lag = NonNullable<Connected['lag']>

/** What `status` shows beneath a node; nothing for one without followers. */
export function followersOf({ node, followers = [], absentFollowers = [] }: NodeStatus): string[] {
  const lines: string[] = []
  if (followers.length > 0) lines.push(`followers of ${node}`, connectedTable(followers))
  if (absentFollowers.length > 0) lines.push(`gone, with slots of ${node}`, goneTable(absentFollowers))
  return lines
}

/** Records, bytes and age, such as `12 records, 3.1 KiB, 40 ms`; `none`, or `unknown`. */
export function describeLag(lag: Lag | null | undefined): string {
  if (lag === undefined || lag === null) return 'unknown'
  if (lag.records === 0) return 'none'
  const size = lag.bytes === undefined ? 'bytes unknown' : bytes(lag.bytes)
  const records = `${lag.records} record${lag.records === 1 ? '' : 's'}`
  return `${records}, ${size}, ${lag.ageIsAtLeast ? '≥ ' : ''}${duration(lag.ageMs)}`
}

/** Milliseconds for people: `40 ms`, `3.2 s`, `5 min`, `7 h`, `3 d`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

function connectedTable(followers: readonly Connected[]): string {
  const head = [
    'name',
    'state',
    'acks',
    'sent',
    'received',
    'durable',
    'applied',
    'lag',
    'round trip',
    'heard',
  ]
  return table(
    head,
    followers.map((follower) => [
      follower.name,
      `${follower.state} for ${duration(follower.sinceMs)}`,
      follower.syncState,
      follower.sent,
      follower.received,
      follower.durable,
      follower.applied ?? 'unknown',
      describeLag(follower.lag),
      follower.rttMs === undefined ? '' : `${follower.rttMs.toFixed(2)} ms`,
      follower.heardMs === undefined ? '' : `${duration(follower.heardMs)} ago`,
    ]),
  )
}

function goneTable(gone: readonly Gone[]): string {
  const head = ['name', 'state', 'for', 'has everything to', 'slot', 'holds back', 'until lost', 'why']
  return table(
    head,
    gone.map(({ name, state, sinceMs, sinceIsAtLeast, slot, error }) => [
      name,
      state,
      `${sinceIsAtLeast ? '≥ ' : ''}${duration(sinceMs)}`,
      slot.lsn,
      slot.state,
      bytes(slot.heldBytes),
      slot.safeBytes === undefined ? 'never' : bytes(slot.safeBytes),
      error?.code ?? '',
    ]),
  )
}
