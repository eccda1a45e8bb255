/**
 * When a lease is renewed, and when it is left alone: the decisions of a keeper, without input or output.
 *
 * 1. A renewal begins a quarter of the time to live after the one before was begun, so that three fit into a lease.
 * 2. None begins while the main thread has not said for `stallMs` that it lives. The lease then runs out by itself; a main
 *    thread that comes back before is not punished.
 * 3. After a failure it is tried again soon, and no try takes longer than a quarter of the time to live.
 */
export interface KeepingTimes {
  readonly ttlMs: number
  readonly stallMs: number
}

/** What a keeper sees of its lease, in milliseconds of one clock. */
export interface Sight {
  readonly nowMs: number
  /** When the main thread last said that it lives. */
  readonly aliveAtMs: number
  readonly validUntilMs: number
}

export type Step =
  | { readonly kind: 'renew'; readonly timeoutMs: number }
  /** Look again after so long. `stalled`: because of the main thread. */
  | { readonly kind: 'wait'; readonly delayMs: number; readonly stalled: boolean }
  | { readonly kind: 'over'; readonly stalled: boolean }

const RENEWALS_PER_LEASE = 4
/** After a failure, and while the main thread is silent. */
const RETRIES_PER_LEASE = 40

export class Keeping {
  readonly #times: KeepingTimes
  #nextAtMs: number

  constructor(times: KeepingTimes, acquiredAtMs: number) {
    this.#times = times
    this.#nextAtMs = acquiredAtMs + times.ttlMs / RENEWALS_PER_LEASE
  }

  next({ nowMs, aliveAtMs, validUntilMs }: Sight): Step {
    const { ttlMs, stallMs } = this.#times
    const stalled = nowMs - aliveAtMs > stallMs
    const leftMs = validUntilMs - nowMs
    if (leftMs <= 0) return { kind: 'over', stalled }
    if (stalled) return { kind: 'wait', delayMs: Math.min(ttlMs / RETRIES_PER_LEASE, leftMs), stalled }
    const delayMs = this.#nextAtMs - nowMs
    if (delayMs > 0) return { kind: 'wait', delayMs: Math.min(delayMs, leftMs), stalled }
    this.#nextAtMs = nowMs + ttlMs / RENEWALS_PER_LEASE
    return { kind: 'renew', timeoutMs: Math.min(ttlMs / RENEWALS_PER_LEASE, leftMs) }
  }

  failed(nowMs: number): void {
    this.#nextAtMs = Math.min(this.#nextAtMs, nowMs + this.#times.ttlMs / RETRIES_PER_LEASE)
  }
}
