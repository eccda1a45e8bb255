/** A keeper without a thread of its own, for coordinators that live in one: those of simulations. */
import { UnderstudyError, type Coordinator } from '@understudy/contracts'
import type { KeeperSettings, KeepRequest, LeaseKeeper } from './keeper.ts'
import { Kept, type KeptLease } from './kept-lease.ts'
import { KeepingLoop } from './loop.ts'

export class InlineKeeper implements LeaseKeeper {
  readonly #coordinator: Coordinator
  readonly #settings: KeeperSettings
  readonly #kept = new Map<Kept, KeepingLoop>()
  #closed = false

  constructor(coordinator: Coordinator, settings: KeeperSettings) {
    this.#coordinator = coordinator
    this.#settings = settings
  }

  async acquire(request: KeepRequest): Promise<KeptLease> {
    if (this.#closed) throw new UnderstudyError('CLOSED', 'The keeper is closed. Start another one.')
    const { ttlMs, marginMs, stallMs, clock } = this.#settings
    const lease = await this.#coordinator.acquire({ ...request, ttlMs, marginMs })
    let untilMs = lease.validUntilMs
    const kept: Kept = new Kept({
      terms: { grant: lease.grant, holder: lease.holder, epoch: lease.epoch, ttlMs },
      validity: {
        leftMs: () => untilMs - clock.monotonic(),
        whyOver: () => 'ran out',
        end() {
          untilMs = Number.NEGATIVE_INFINITY
        },
      },
      drop: async (release) => {
        this.#kept.get(kept)?.stop()
        this.#kept.delete(kept)
        if (release !== undefined) await lease.release(release)
      },
    })
    const loop = new KeepingLoop({
      lease,
      clock,
      times: { ttlMs, stallMs },
      // The thread that would be stuck is this one.
      aliveAtMs: () => clock.monotonic(),
      extend(validUntilMs) {
        if (!kept.isValid()) return false
        untilMs = Math.max(untilMs, validUntilMs)
        return true
      },
      ended: (reason) => kept.ended(reason),
    })
    this.#kept.set(kept, loop)
    return kept
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const kept of this.#kept.keys()) kept.ended('was closed')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
