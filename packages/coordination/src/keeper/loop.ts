/**
 * Keeps one lease: does what `Keeping` decides, in whatever thread it runs.
 *
 * 1. What is shared says "valid" only while the lease itself is.
 * 2. It ends once, with a reason, and touches the lease no more.
 */
import { isUnderstudyError, type Clock, type HeldLease, type Timer } from '@understudy/contracts'
import type { LossReason } from '../errors.ts'
import { Keeping, type KeepingTimes } from './keeping.ts'

export interface LoopParts {
  readonly lease: HeldLease
  readonly clock: Clock
  readonly times: KeepingTimes
  /** When the main thread last said that it lives, by `clock`. */
  aliveAtMs(): number
  /** The lease is valid for longer. False: it was ended on the other side. */
  extend(validUntilMs: number): boolean
  ended(reason: LossReason): void
}

export class KeepingLoop {
  readonly #parts: LoopParts
  readonly #keeping: Keeping
  #timer: Timer | undefined
  #ended = false

  constructor(parts: LoopParts) {
    this.#parts = parts
    this.#keeping = new Keeping(parts.times, parts.clock.monotonic())
    parts.lease.lost.addEventListener('abort', () => this.#step())
    this.#step()
  }

  /** No further renewals. The lease is as it is. */
  stop(): void {
    this.#ended = true
    this.#timer?.cancel()
  }

  #step(): void {
    if (this.#ended) return
    const { lease, clock } = this.#parts
    this.#timer?.cancel()
    if (lease.lost.aborted) {
      this.#end(this.#reason())
      return
    }
    const step = this.#keeping.next(this.#sight())
    if (step.kind === 'over') this.#end(this.#reason())
    else if (step.kind === 'wait') this.#timer = clock.schedule(step.delayMs, () => this.#step())
    else void this.#renew(step.timeoutMs)
  }

  #sight(): { nowMs: number; aliveAtMs: number; validUntilMs: number } {
    const { lease, clock } = this.#parts
    return { nowMs: clock.monotonic(), aliveAtMs: this.#parts.aliveAtMs(), validUntilMs: lease.validUntilMs }
  }

  async #renew(timeoutMs: number): Promise<void> {
    const { lease, clock } = this.#parts
    try {
      await lease.renew({ timeoutMs })
      if (!this.#ended && !this.#parts.extend(lease.validUntilMs)) this.#end('ran out')
    } catch {
      // What it is does not matter: the lease itself knows whether it is lost, and otherwise it is tried again.
      this.#keeping.failed(clock.monotonic())
    }
    this.#step()
  }

  #reason(): LossReason {
    const { nowMs, aliveAtMs } = this.#sight()
    const { reason } = this.#parts.lease.lost
    const known = isUnderstudyError(reason, 'LEASE_LOST') ? reason.details['reason'] : undefined
    if (known === 'was taken' || known === 'was released') return known
    return nowMs - aliveAtMs > this.#parts.times.stallMs ? 'stalled' : 'ran out'
  }

  #end(reason: LossReason): void {
    if (this.#ended) return
    this.stop()
    this.#parts.ended(reason)
  }
}
