/**
 * What a node promises about epochs: the fence that needs no coordinator.
 *
 * Decides: whether a promise is given, whether an ack may leave, whether a leader may be followed. Leaves to others: writing the
 * promise down (the driver), asking for it (promotion).
 *
 * Validity conditions:
 * 1. One promise per epoch, to one run. Numbers only go up.
 * 2. From the moment it is asked, before it is written even, nothing is acknowledged in a lower epoch; the answer leaves after it is
 *    durable. So no node acknowledges in an epoch after it promised a higher one, whenever it crashes.
 * 3. A node that hears its leader, or said that it follows it, promises nobody else anything meanwhile, except where the leader
 *    itself takes part.
 * 4. What it said before it crashed is not durable; so after a start it promises nothing for as long as that could have been for.
 */
import type { Promised } from '../decide/observations.ts'

/**
 * Whether a promise that some node gave ends what `own` is: it is of a higher epoch, or of the same one to another run. A leader
 * that hears of such a one stops leading, and is chosen again in a higher epoch: that node follows nothing else.
 */
export function supersedes(
  promised: Promised,
  own: { readonly epoch: number; readonly runId: string },
): boolean {
  return promised.epoch > own.epoch || (promised.epoch === own.epoch && promised.runId !== own.runId)
}

export interface PromiseRequest extends Promised {
  /** The leader takes part, and promises too: what a node said to it binds nobody against it. */
  readonly isPlanned: boolean
}

export type PromiseAnswer =
  /** It is durable: answer. */
  | { readonly kind: 'granted'; readonly promised: Promised }
  /** Write it down, then `persisted`, then answer. */
  | { readonly kind: 'persist'; readonly promised: Promised }
  /** Answer with the reason; `promised`: what stands against it, if that is a promise. */
  | { readonly kind: 'refused'; readonly reason: string; readonly promised?: Promised }

export interface VoterSettings {
  /** What was durable at the start. */
  readonly promised?: Promised
  readonly startedAtMs: number
  /** Longest time for which it says that it follows a leader. 0: it never says so. */
  readonly grantMsMax: number
}

export class Voter {
  readonly #settings: VoterSettings
  /** The newest that was asked for: binds from there on. */
  #bound: Promised | undefined
  #durable: Promised | undefined
  #followsUntilMs = -Infinity

  constructor(settings: VoterSettings) {
    this.#settings = settings
    this.#bound = settings.promised
    this.#durable = settings.promised
  }

  /** What is durable. */
  get promised(): Promised | undefined {
    return this.#durable
  }

  /** Somebody wants to lead a new epoch. */
  ask(request: PromiseRequest, nowMs: number, hearsLeader: boolean): PromiseAnswer {
    const { isPlanned, epoch, runId, candidate } = request
    const bound = this.#bound
    if (bound !== undefined && epoch < bound.epoch)
      return {
        kind: 'refused',
        reason: `it promised the epoch ${bound.epoch} to ${bound.candidate}`,
        promised: bound,
      }
    if (bound !== undefined && epoch === bound.epoch && runId !== bound.runId)
      return {
        kind: 'refused',
        reason: `it promised the same epoch to ${bound.candidate}, of another run`,
        promised: bound,
      }
    if (!isPlanned) {
      if (hearsLeader) return { kind: 'refused', reason: 'it hears the leader' }
      const restsUntilMs = this.#settings.startedAtMs + this.#settings.grantMsMax
      if (Math.max(this.#followsUntilMs, this.#settings.grantMsMax > 0 ? restsUntilMs : -Infinity) > nowMs)
        return {
          kind: 'refused',
          reason: 'it said that it follows the leader, or may have before it started',
        }
    }
    return this.#take({ epoch, runId, candidate })
  }

  /** The driver wrote this promise down. */
  persisted(promised: Promised): void {
    if (this.#durable === undefined || promised.epoch > this.#durable.epoch) this.#durable = promised
  }

  /** Whether an ack of something in this epoch may leave: asked last, right before it is sent. */
  mayAck(epoch: number, runId: string): boolean {
    const bound = this.#bound
    if (bound === undefined || epoch > bound.epoch) return bound === undefined
    return epoch === bound.epoch && runId === bound.runId
  }

  /** A leader of this epoch shows itself. As a promise: nothing lower after it, and one run per number. */
  follow(leader: Promised): PromiseAnswer {
    const bound = this.#bound
    if (bound !== undefined && leader.epoch < bound.epoch)
      return { kind: 'refused', reason: `the epoch ${bound.epoch} was promised`, promised: bound }
    if (bound !== undefined && leader.epoch === bound.epoch && leader.runId !== bound.runId)
      return { kind: 'refused', reason: `the epoch ${bound.epoch} has another run`, promised: bound }
    return this.#take(leader)
  }

  /**
   * The leader asks whether it is still followed, because its coordinator is gone. Returns for how long nobody else is
   * promised anything, in milliseconds; 0: it is not followed here.
   */
  grant(leader: Promised, forMs: number, nowMs: number, hearsLeader: boolean): number {
    const durable = this.#durable
    const isBound = this.#bound?.epoch === durable?.epoch && this.#bound?.runId === durable?.runId
    const isFollowed = isBound && durable?.epoch === leader.epoch && durable.runId === leader.runId
    if (!isFollowed || !hearsLeader) return 0
    const grantedMs = Math.min(forMs, this.#settings.grantMsMax)
    this.#followsUntilMs = Math.max(this.#followsUntilMs, nowMs + grantedMs)
    return grantedMs
  }

  #take({ epoch, runId, candidate }: Promised): PromiseAnswer {
    const durable = this.#durable
    if (durable?.epoch === epoch && durable.runId === runId) return { kind: 'granted', promised: durable }
    const bound = this.#bound
    // Asked again before it was written down: the same promise.
    if (bound?.epoch !== epoch || bound.runId !== runId)
      this.#bound = {
        epoch,
        runId,
        candidate,
        ...(bound && { previous: { epoch: bound.epoch, runId: bound.runId } }),
      }
    return { kind: 'persist', promised: this.#bound as Promised }
  }
}
