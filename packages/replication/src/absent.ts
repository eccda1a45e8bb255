/**
 * Followers that are gone: a retention slot is kept for each, and nobody of that name is connected.
 *
 * Decides: who is gone, for how long, why. Leaves to others: the slots, who is connected.
 *
 * 1. Whoever has a slot and no connection is listed, also one that this leader has never seen: the slot is what holds the log
 *    back. One without a slot is not: nothing is kept for it.
 * 2. Nothing is remembered of one whose slot is gone, so that there are never more than slots.
 */
import { LOCAL_SLOT, type Clock, type Log, type Slot, type UnderstudyError } from '@understudy/contracts'
import { DIVERGENCES } from './failures.ts'

/** A follower whose slot is kept while it is not connected. */
export interface AbsentFollower {
  readonly name: string
  /** `diverged`: it left because it could not apply a record. */
  readonly state: 'disconnected' | 'diverged'
  readonly error: UnderstudyError | undefined
  /** Milliseconds since it left. */
  readonly sinceMs: number
  /** It did not connect since this leader began: it is gone for longer than `sinceMs`. */
  readonly sinceIsAtLeast: boolean
  /** What is kept for it. */
  readonly slot: Slot
}

interface Departure {
  readonly error: UnderstudyError | undefined
  readonly atMs: number
}

export class AbsentFollowers {
  readonly #log: Log
  readonly #clock: Clock
  readonly #beganAtMs: number
  readonly #departures = new Map<string, Departure>()

  constructor(log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
    this.#beganAtMs = clock.monotonic()
  }

  left(name: string, error: UnderstudyError | undefined): void {
    this.#departures.set(name, { error, atMs: this.#clock.monotonic() })
  }

  /** It came back, or is to be forgotten. */
  delete(name: string): void {
    this.#departures.delete(name)
  }

  list(isConnected: (name: string) => boolean): AbsentFollower[] {
    const { slots } = this.#log
    for (const name of this.#departures.keys())
      if (slots.get(name) === undefined) this.#departures.delete(name)
    const nowMs = this.#clock.monotonic()
    return slots
      .list()
      .filter(({ name }) => name !== LOCAL_SLOT && !isConnected(name))
      .map((slot) => {
        const departure = this.#departures.get(slot.name)
        const error = departure?.error
        return {
          name: slot.name,
          state: error !== undefined && DIVERGENCES.has(error.code) ? 'diverged' : 'disconnected',
          error,
          sinceMs: nowMs - (departure?.atMs ?? this.#beganAtMs),
          sinceIsAtLeast: departure === undefined,
          slot,
        }
      })
  }
}
