/**
 * A kept lease, as the thread sees it that writes under it.
 *
 * 1. `isValid` is true only while nobody else can have the lease, whatever happened since it was last asked: it compares a
 *    clock that runs on while the process is stopped.
 * 2. Once false it stays false.
 */
import type { UnderstudyError } from '@understudy/contracts'
import { leaseLost, type LossReason } from '../errors.ts'

export interface KeptLease {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  /**
   * Whether this node has the lease for at least `forMs` more milliseconds (default 0). Ask right before doing what
   * others can see, with the time that doing it may take. Costs about a tenth of a microsecond.
   */
  isValid(forMs?: number): boolean
  /** Milliseconds for which it is valid without another renewal; 0 when it is over. */
  validForMs(): number
  /** Aborts when it is over, with `LEASE_LOST` as its reason; `details.reason` says why. */
  readonly lost: AbortSignal
  /**
   * It is over from the first moment of this call; others may take it when the call resolves. Rejects with
   * `COORDINATOR_UNAVAILABLE`, `COORDINATOR_UNCERTAIN`: then they may after its time to live.
   */
  release(options?: { readonly timeoutMs?: number }): Promise<void>
}

/** Where its validity is kept: shared memory, or an object of this thread. */
export interface Validity {
  /** Milliseconds left; 0 or below: none. */
  leftMs(): number
  /** Why `leftMs` says that nothing is left. */
  whyOver(): LossReason
  /** Ended for good. */
  end(): void
}

export interface KeptParts {
  readonly terms: Pick<KeptLease, 'grant' | 'holder' | 'epoch' | 'ttlMs'>
  readonly validity: Validity
  /** No further renewals; with `release` it is given back. */
  drop(release: { readonly timeoutMs: number } | undefined): Promise<void>
}

const RELEASE_TIMEOUT_MS = 2000

export class Kept implements KeptLease {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  readonly #parts: KeptParts
  readonly #lost = new AbortController()
  #loss: UnderstudyError | undefined

  constructor(parts: KeptParts) {
    this.grant = parts.terms.grant
    this.holder = parts.terms.holder
    this.epoch = parts.terms.epoch
    this.ttlMs = parts.terms.ttlMs
    this.#parts = parts
  }

  isValid(forMs = 0): boolean {
    if (this.#loss !== undefined) return false
    const leftMs = this.#parts.validity.leftMs()
    if (leftMs <= 0) {
      this.ended(this.#parts.validity.whyOver())
      return false
    }
    return leftMs > forMs
  }

  validForMs(): number {
    return this.isValid() ? Math.max(0, this.#parts.validity.leftMs()) : 0
  }

  get lost(): AbortSignal {
    this.isValid()
    // Listeners hear of it in a turn of their own; whoever asks is told the truth at once.
    if (this.#loss !== undefined && !this.#lost.signal.aborted) this.#lost.abort(this.#loss)
    return this.#lost.signal
  }

  async release({ timeoutMs = RELEASE_TIMEOUT_MS }: { readonly timeoutMs?: number } = {}): Promise<void> {
    const isOver = !this.isValid()
    this.#finish('was released')
    if (isOver) return
    await this.#parts.drop({ timeoutMs })
  }

  /** Said by whoever renews it, or found out here. */
  ended(reason: LossReason): void {
    if (this.#finish(reason)) void this.#parts.drop(undefined)
  }

  #finish(reason: LossReason): boolean {
    if (this.#loss !== undefined) return false
    this.#loss = leaseLost(this, reason)
    this.#parts.validity.end()
    // Not from within `isValid`, which is asked in the middle of a write.
    queueMicrotask(() => this.#lost.abort(this.#loss))
    return true
  }
}
