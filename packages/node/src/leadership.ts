/**
 * What a node says of who leads, and telling those who wait for a change of it.
 *
 * Decides: who leads as far as this node knows, how old its reads may be, when a change is told. Leaves to others: making somebody lead.
 * `leadershipOf` is the one place where a node forms that opinion: by its role, its options and its own history.
 *
 * 1. `takesWrites` is said only by a node that leads and would run a write at this moment.
 * 2. An age of reads is said only where it is proven: `undefined` without a link to the leader, while that is silent, or where what is not
 *    applied may be older than this node has heard.
 * 3. Whoever waits is answered once: at a change, at the end of its time, or when the node closes.
 */
import type { Clock, EpochHistory, EpochStamp, LogPoint, Timer } from '@understudy/contracts'
import type { Leadership, MemberAddress } from '@understudy/protocol'
import type { FollowerReport } from '@understudy/replication'
import type { Role } from './options.ts'

export interface LeadershipView {
  readonly name: string
  readonly cluster: string
  readonly role: Role
  /** Where the node listens. */
  readonly address: string | undefined
  /** The leader that it follows. */
  readonly leaderAddress: string | undefined
  readonly leaderName: string | undefined
  /** Of the cluster, as the options have them. */
  readonly members: readonly MemberAddress[]
  readonly forwardsWrites: boolean
  readonly takesWrites: boolean
  readonly history: EpochHistory
  readonly applied: LogPoint
  /** A follower's. */
  readonly report: FollowerReport | undefined
}

export function leadershipOf(view: LeadershipView): Leadership {
  const { name, cluster, role, takesWrites, forwardsWrites, history, applied } = view
  const address = ownAddress(view)
  const epoch = newestEpoch(history)
  const leader = leaderOf(view)
  const stalenessMs = stalenessOf(view)
  const self: MemberAddress[] = address === undefined ? [] : [{ name, address }]
  const other = leader === undefined || leader.name === name || leader.address === '' ? [] : [leader]
  return {
    node: name,
    cluster,
    role,
    takesWrites,
    forwardsWrites: forwardsWrites && !takesWrites,
    ...(epoch && { epoch }),
    applied: { epoch: applied.epoch, lsn: applied.lsn, crc: applied.crc },
    ...(stalenessMs !== undefined && { stalenessMs }),
    ...(leader && { leader }),
    members: view.members.length > 0 ? view.members.map(placeOf) : [...self, ...other],
  }
}

function placeOf({ name, address }: MemberAddress): MemberAddress {
  return { name, address }
}

export function newestEpoch(history: EpochHistory): EpochStamp | undefined {
  const newest = history.at(-1)
  return newest && { number: newest.number, runId: newest.runId }
}

/** Where others reach this node; `undefined` when it listens on every address of its machine, none of which it can name. */
function ownAddress({ name, address, members }: LeadershipView): string | undefined {
  const told = members.find((member) => member.name === name)?.address
  if (told !== undefined) return told
  return address !== undefined && /^[a-z]+:\/\/(0\.0\.0\.0|\[::\])(:|\/|$)/i.test(address)
    ? undefined
    : address
}

function leaderOf(view: LeadershipView): MemberAddress | undefined {
  const { name, role, takesWrites, leaderAddress, leaderName, history } = view
  if (role === 'leader') return takesWrites ? { name, address: ownAddress(view) ?? '' } : undefined
  if (leaderAddress === undefined) return undefined
  const last = leaderName ?? history.at(-1)?.leader ?? ''
  // A node that led before and follows now does not know its leader's name before that one wrote.
  return { name: last === name ? '' : last, address: leaderAddress }
}

/**
 * How old what readers see may be, in milliseconds. What the leader said last came `heardMs` ago, or, where something of it is not applied,
 * that was heard `ageMs` ago; before that it was on its way for a round trip at most.
 */
function stalenessOf({ role, takesWrites, report }: LeadershipView): number | undefined {
  if (role === 'leader') return takesWrites ? 0 : undefined
  const { lag, heardMs, rttMs } = report ?? {}
  if (lag === undefined || heardMs === undefined || rttMs === undefined || lag.ageIsAtLeast) return undefined
  return Math.max(lag.ageMs, heardMs) + rttMs
}

/** How often a node that somebody waits at looks for an epoch that no event has told of. */
const LOOK_MS = 250

interface Waiting {
  readonly unless: EpochStamp
  settle(): void
}

/** Those who wait for another leader. */
export class LeadershipWatch {
  readonly #clock: Clock
  readonly #current: () => Leadership
  readonly #waiting = new Set<Waiting>()
  #timer: Timer | undefined
  #isClosed = false

  constructor(clock: Clock, current: () => Leadership) {
    this.#clock = clock
    this.#current = current
  }

  /** At once, or, while no other epoch than `unless` is known and its leader is there, after `waitMs` at the latest. Never rejects. */
  async next(unless: EpochStamp | undefined, waitMs: number, signal?: AbortSignal): Promise<Leadership> {
    if (unless !== undefined && waitMs > 0 && !this.#isClosed && this.#isSame(unless))
      await this.#change(unless, waitMs, signal)
    return this.#current()
  }

  /** Something happened in the node. */
  look(): void {
    for (const waiting of this.#waiting) if (!this.#isSame(waiting.unless)) waiting.settle()
  }

  /** The node closes: whoever waits is told. */
  close(): void {
    this.#isClosed = true
    for (const waiting of this.#waiting) waiting.settle()
  }

  #isSame(unless: EpochStamp): boolean {
    const { epoch, leader } = this.#current()
    return epoch?.number === unless.number && epoch.runId === unless.runId && leader !== undefined
  }

  #change(unless: EpochStamp, waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(waitMs, () => waiting.settle())
      const onAbort = (): void => waiting.settle()
      const waiting: Waiting = {
        unless,
        settle: () => {
          this.#waiting.delete(waiting)
          timer.cancel()
          signal?.removeEventListener('abort', onAbort)
          if (this.#waiting.size === 0) this.#timer?.cancel()
          resolve()
        },
      }
      this.#waiting.add(waiting)
      signal?.addEventListener('abort', onAbort, { once: true })
      if (signal?.aborted === true) waiting.settle()
      else if (this.#waiting.size === 1) this.#lookLater()
    })
  }

  #lookLater(): void {
    this.#timer = this.#clock.schedule(LOOK_MS, () => {
      this.look()
      if (this.#waiting.size > 0) this.#lookLater()
    })
  }
}
