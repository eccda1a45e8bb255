/**
 * When each beat of the lease was first seen: what a taker waits from.
 *
 * 1. A beat counts from when an answer with it came, not from when it was asked for: its holder may have written it meanwhile.
 * 2. Seeing the same beat again changes nothing. Only the newest is kept.
 */
import type { SeenLease, StoredLease } from '@understudy/contracts'

export class Sightings {
  #last: SeenLease | undefined
  /** By somebody else; it may be older or newer than what was seen here. */
  #learned: SeenLease | undefined

  /** `nowMs`: when the answer with `lease` came. */
  note(lease: StoredLease, nowMs: number): SeenLease {
    const { grant, beat, holder, epoch, ttlMs, released, ageMs = 0 } = lease
    const since = [this.#last, this.#learned].map((seen) =>
      seen?.grant === grant && seen.beat === beat ? seen.seenAtMs : Infinity,
    )
    const seenAtMs = Math.min(nowMs - ageMs, ...since)
    const freeAtMs = released ? seenAtMs : seenAtMs + ttlMs
    this.#last = { grant, beat, holder, epoch, ttlMs, released, seenAtMs, freeAtMs }
    return this.#last
  }

  /** Takes over what somebody else on the same clock has seen. */
  learn(seen: SeenLease): void {
    this.#learned = seen
  }
}
