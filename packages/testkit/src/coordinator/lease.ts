/** A lease of the simulated coordinator, in the hands of its holder. */
import {
  UnderstudyError,
  type Clock,
  type CoordinatorCallOptions,
  type HeldLease,
  type Timer,
} from '@understudy/contracts'
import type { CoordinatorLink } from './link.ts'
import type { CoordinatorPlace, PlacedLease } from './place.ts'

export class SimulatedLease implements HeldLease {
  readonly grant: string
  readonly holder: string
  readonly epoch: number
  readonly ttlMs: number
  readonly #number: number
  readonly #spanMs: number
  readonly #clock: Clock
  readonly #link: CoordinatorLink
  readonly #place: CoordinatorPlace
  readonly #over = new AbortController()
  #untilMs: number
  #timer: Timer | undefined

  constructor(
    placed: PlacedLease,
    times: { readonly sentAtMs: number; readonly spanMs: number },
    world: { readonly clock: Clock; readonly link: CoordinatorLink; readonly place: CoordinatorPlace },
  ) {
    this.grant = String(placed.grant)
    this.holder = placed.holder
    this.epoch = placed.epoch
    this.ttlMs = placed.ttlMs
    this.#number = placed.grant
    this.#spanMs = times.spanMs
    this.#clock = world.clock
    this.#link = world.link
    this.#place = world.place
    this.#untilMs = times.sentAtMs + times.spanMs
    this.#wake()
  }

  get validUntilMs(): number {
    return this.#untilMs
  }

  get lost(): AbortSignal {
    if (this.#clock.monotonic() >= this.#untilMs) this.#end('it ran out')
    return this.#over.signal
  }

  async renew(options: CoordinatorCallOptions = {}): Promise<void> {
    if (this.lost.aborted) throw this.lost.reason
    const sentAtMs = this.#clock.monotonic()
    const inForce = await this.#link.call(() => this.#place.beat(this.#number), true, options)
    if (!inForce) this.#end('it was taken')
    if (this.lost.aborted) throw this.lost.reason
    this.#untilMs = Math.max(this.#untilMs, sentAtMs + this.#spanMs)
  }

  async release(options: CoordinatorCallOptions = {}): Promise<void> {
    this.#end('it was released')
    await this.#link.call(() => this.#place.release(this.#number), true, options)
  }

  #wake(): void {
    this.#timer = this.#clock.schedule(Math.max(0, this.#untilMs - this.#clock.monotonic()), () => {
      if (!this.lost.aborted) this.#wake()
    })
  }

  #end(why: string): void {
    if (this.#over.signal.aborted) return
    this.#timer?.cancel()
    this.#untilMs = Math.min(this.#untilMs, this.#clock.monotonic())
    const message = `${this.holder} has lost the lease of epoch ${this.epoch}: ${why}.`
    this.#over.abort(new UnderstudyError('LEASE_LOST', message, { holder: this.holder, epoch: this.epoch }))
  }
}
