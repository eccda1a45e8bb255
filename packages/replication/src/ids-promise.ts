/**
 * What a follower knows of the newest ceilings of ids, by the word of its leader, and by the rule of acks.
 *
 * Decides: until when the leader's word stands, whether a node may lead without a leap. No input or output of its own. Leaves to others:
 * when the leader gives its word (id-gate), whether a node has all that was acknowledged (the election).
 *
 * Validity conditions:
 * 1. The leader counts from the end of the connection, so from after it sent its word; a follower from before that: from when the
 *    leader had heard of it, by the follower's own clock, which the leader sends back. Clocks may differ in speed by a tenth.
 * 2. A word ends with the epoch in which it was given: the next leader gives its own.
 * 3. A follower that starts again has none.
 */
import type { Heartbeat } from '@understudy/protocol'
import { rulesInForce, type AckState } from './ack-change.ts'

/** How much of what was promised is counted on. */
const SHARE = 0.9

export class IdsPromise {
  #epoch = 0
  #untilMs: number | undefined

  /** Until when it has every ceiling that is in force, on its monotonic clock; `undefined` when it has no word. */
  get untilMs(): number | undefined {
    return this.#untilMs
  }

  /** The epoch that is followed. */
  epoch(epoch: number): void {
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#untilMs = undefined
  }

  heard({ epoch, idsPromiseMs, echoMs }: Pick<Heartbeat, 'epoch' | 'idsPromiseMs' | 'echoMs'>): void {
    this.epoch(epoch)
    // Without an echo it does not know of any time before the word was given.
    if (idsPromiseMs === undefined || !(echoMs > 0)) return
    this.#untilMs = Math.max(this.#untilMs ?? 0, echoMs + SHARE * idsPromiseMs)
  }
}

export interface IdsProofOptions {
  /** The leader's word stands. */
  readonly isPromised: boolean
  /** What this node's own log says of the rule of acks (`ackStateOf`). */
  readonly acks: AckState
  /** A coordinator was read that the leader publishes its ceilings in; they are handed over at the promotion. */
  readonly isPublished?: boolean
}

/**
 * Whether a node can lead without giving an id twice, provided that it has all that was acknowledged: under a rule of acks a ceiling is in
 * force only once its record satisfies the rule, so whoever has every commit has every ceiling. A node that is promoted although it may
 * lack commits of such a rule must leap all the same.
 */
export function idsProven({ isPromised, acks, isPublished = false }: IdsProofOptions): boolean {
  return isPublished || isPromised || rulesInForce(acks).length > 0
}
