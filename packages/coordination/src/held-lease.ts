/**
 * A lease in the hands of its holder.
 *
 * 1. It counts from before the request that wrote it was sent, and ends `marginMs` before its time to live.
 * 2. It is over for good: no answer, however true, extends a lease that ran out before the answer came.
 * 3. Whoever asks after it ran out is told the truth, whether or not a timer came through.
 */
import type { Clock, CoordinatorCallOptions, CoordinatorStore, HeldLease, Timer } from '@understudy/contracts'
import type { Calls } from './calls.ts'
import { leaseLost, type LossReason } from './errors.ts'

export interface LeaseParts {
  readonly store: CoordinatorStore
  readonly calls: Calls
  readonly clock: Clock
}

export interface Granted {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  readonly marginMs: number
  /** Before the request that wrote it was sent. */
  readonly sentAtMs: number
}

export class StoreLease implements HeldLease {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  readonly #parts: LeaseParts
  readonly #marginMs: number
  readonly #lost = new AbortController()
  #validUntilMs: number
  #timer: Timer | undefined

  constructor(granted: Granted, parts: LeaseParts) {
    this.grant = granted.grant
    this.holder = granted.holder
    this.epoch = granted.epoch
    this.ttlMs = granted.ttlMs
    this.#marginMs = granted.marginMs
    this.#parts = parts
    this.#validUntilMs = this.#endOf(granted.sentAtMs)
    this.#await()
  }

  get validUntilMs(): number {
    return this.#validUntilMs
  }

  get lost(): AbortSignal {
    this.#check()
    return this.#lost.signal
  }

  async renew(options: CoordinatorCallOptions = {}): Promise<void> {
    const { store, calls, clock } = this.#parts
    this.#check()
    if (this.#lost.signal.aborted) throw this.#lost.signal.reason
    const sentAtMs = clock.monotonic()
    const inForce = await calls.changing(options, (signal) => store.beat(this.grant, signal))
    if (!inForce) this.#end('was taken')
    this.#check()
    if (this.#lost.signal.aborted) throw this.#lost.signal.reason
    this.#validUntilMs = Math.max(this.#validUntilMs, this.#endOf(sentAtMs))
    this.#await()
  }

  async release(options: CoordinatorCallOptions = {}): Promise<void> {
    this.#end('was released')
    const { store, calls } = this.#parts
    // Not in force any more: somebody else was faster, and that is as good.
    await calls.changing(options, (signal) => store.release(this.grant, signal))
  }

  #endOf(sentAtMs: number): number {
    return sentAtMs + this.ttlMs - this.#marginMs
  }

  #check(): void {
    if (this.#parts.clock.monotonic() >= this.#validUntilMs) this.#end('ran out')
  }

  #await(): void {
    this.#timer?.cancel()
    const { clock } = this.#parts
    this.#timer = clock.schedule(Math.max(0, this.#validUntilMs - clock.monotonic()), () => {
      this.#check()
      // Timers may come a moment early.
      if (!this.#lost.signal.aborted) this.#await()
    })
  }

  #end(reason: LossReason): void {
    if (this.#lost.signal.aborted) return
    this.#timer?.cancel()
    this.#validUntilMs = Math.min(this.#validUntilMs, this.#parts.clock.monotonic())
    this.#lost.abort(leaseLost(this, reason))
  }
}
