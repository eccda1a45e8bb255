/**
 * A node's time as leader: its lease, what its followers said, and whether it may show anything right now.
 *
 * Decides: nothing of its own: `mayLead` does. Leaves to others: giving it up.
 */
import type { Clock } from '@understudy/contracts'
import type { KeptLease } from '@understudy/coordination'
import { mayLead, type FollowGrant, type Leadership } from '../leadership.ts'
import { supersedes } from '../promotion/voter.ts'
import type { Promised } from '../decide/observations.ts'

export interface ReignOptions {
  readonly promise: Promised
  /** Absent: there is no coordinator. */
  readonly lease: KeptLease | undefined
  /** The others that could be promoted. */
  readonly members: readonly string[]
  readonly clock: Clock
  readonly marginMs: number
  /** The newest promise of this node. */
  readonly promised: () => Promised | undefined
}

export class Reign {
  readonly #options: ReignOptions
  #grants: FollowGrant[] = []
  /** It takes writes; before that its epoch only begins. */
  isOpen = false

  constructor(options: ReignOptions) {
    this.#options = options
  }

  get promise(): Promised {
    return this.#options.promise
  }

  get lease(): KeptLease | undefined {
    return this.#options.lease
  }

  /** A follower said that it follows, when it was asked at `askedAtMs` of this node's clock. */
  granted(grant: FollowGrant): void {
    this.#grants = [
      ...this.#grants.filter(({ from, askedAtMs }) => from !== grant.from || askedAtMs > grant.askedAtMs),
      grant,
    ]
  }

  /** Whether anything may be shown right now: asked for each group of commits. */
  may(): boolean {
    const { lease, promised, promise } = this.#options
    const newest = promised()
    if (newest !== undefined && supersedes(newest, promise)) return false
    if (lease === undefined || lease.isValid()) return true
    return this.leadership().may
  }

  leadership(): Leadership {
    const { lease, promised, promise, members, clock, marginMs } = this.#options
    const nowMs = clock.monotonic()
    const newest = promised()
    return mayLead({
      nowMs,
      coordinator: lease === undefined ? 'manual' : 'lease',
      ...(lease && { leaseValidUntilMs: nowMs + lease.validForMs() }),
      superseded: newest !== undefined && supersedes(newest, promise),
      members,
      grants: this.#grants,
      marginMs,
    })
  }

  /** It is over: others need not wait for the end of its lease. */
  end(): void {
    void this.lease?.release().catch(() => {})
  }
}
