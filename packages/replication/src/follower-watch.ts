/**
 * Tells when a connected follower's state, or what it is to the ack rule, changes.
 *
 * Decides: what counts as a change. Leaves to others: when to look; time alone can change what a follower is to a rule, so
 * that somebody looks in every heartbeat.
 */
import type { SyncState } from './ack-tracker.ts'
import type { FollowerState } from './sender-machine.ts'

/** Where a follower stands. */
export interface FollowerStanding {
  readonly name: string
  readonly state: FollowerState
  readonly syncState: SyncState
}

export class FollowerWatch {
  readonly #changed: (standing: FollowerStanding) => void
  readonly #known = new Map<string, FollowerStanding>()

  constructor(changed: (standing: FollowerStanding) => void) {
    this.#changed = changed
  }

  /** All followers that are connected. A new one is told of too. */
  look(standings: readonly FollowerStanding[]): void {
    for (const standing of standings) {
      const before = this.#known.get(standing.name)
      if (before?.state === standing.state && before.syncState === standing.syncState) continue
      this.#known.set(standing.name, standing)
      this.#changed(standing)
    }
  }

  /** Its connection ended. */
  forget(name: string): void {
    this.#known.delete(name)
  }
}
