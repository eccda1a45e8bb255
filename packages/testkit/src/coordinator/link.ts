/**
 * The way between one node and the place of a simulated coordinator, with its faults.
 *
 * 1. A request arrives after a delay, is done at once, and is answered after a delay; each end of it may be lost.
 * 2. A fault holds from when it is set; requests that arrived before are done.
 */
import { UnderstudyError, type Clock, type CoordinatorCallOptions } from '@understudy/contracts'
import { drawSpan, type SeededRandom, type Span } from '../random.ts'

export interface LinkFaults {
  /** Requests do not arrive: `COORDINATOR_UNAVAILABLE` at once, as from a closed port. */
  refused?: boolean
  /** Requests do not arrive, and nobody says so. */
  silent?: boolean
  /** Requests arrive and are done; answers do not come. */
  answersLost?: boolean
  /** Requests arrive and are done; answers come when the faults are mended. */
  answersHeld?: boolean
  /** Milliseconds for a request, and for its answer. */
  delayMs?: Span
}

const TIMEOUT_MS = 2000

export class CoordinatorLink {
  readonly faults: LinkFaults = {}
  readonly #clock: Clock
  readonly #network: Clock
  readonly #random: SeededRandom
  readonly #open = new Set<(error: UnderstudyError) => void>()
  readonly #held: (() => void)[] = []
  #closed = false

  /** `clock` of the node, `network` of the world: what is under way moves while the node stands still. */
  constructor(clock: Clock, network: Clock, random: SeededRandom) {
    this.#clock = clock
    this.#network = network
    this.#random = random
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Ends all faults; answers that were held come. */
  mend(): void {
    for (const fault of ['refused', 'silent', 'answersLost', 'answersHeld'] as const)
      this.faults[fault] = false
    for (const hear of this.#held.splice(0)) hear()
  }

  close(): void {
    this.#closed = true
    for (const fail of this.#open) fail(new UnderstudyError('CLOSED', 'The coordinator was closed.'))
  }

  /** Reject with what a call that changes something rejects with where `changes`. */
  call<T>(
    run: () => T,
    changes: boolean,
    { signal, timeoutMs = TIMEOUT_MS }: CoordinatorCallOptions,
  ): Promise<T> {
    if (this.#closed) return Promise.reject(new UnderstudyError('CLOSED', 'The coordinator was closed.'))
    if (signal?.aborted === true) return Promise.reject(new UnderstudyError('ABORTED', 'The caller gave up.'))
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const unanswered = changes ? 'COORDINATOR_UNCERTAIN' : 'COORDINATOR_UNAVAILABLE'
    const timer = this.#clock.schedule(timeoutMs, () =>
      fail(new UnderstudyError(unanswered, `No answer within ${timeoutMs} ms.`)),
    )
    const settle = (): void => {
      timer.cancel()
      this.#open.delete(fail)
      signal?.removeEventListener('abort', abort)
    }
    const fail = (error: UnderstudyError): void => {
      settle()
      reject(error)
    }
    const abort = (): void => fail(new UnderstudyError('ABORTED', 'The caller gave up.'))
    this.#open.add(fail)
    signal?.addEventListener('abort', abort, { once: true })
    if (this.faults.refused === true)
      this.#clock.schedule(0, () => fail(new UnderstudyError('COORDINATOR_UNAVAILABLE', 'Nobody is there.')))
    else
      this.#travel(() => {
        if (this.faults.silent === true || this.faults.refused === true) return
        const answer = run()
        if (this.faults.answersLost === true) return
        // The node may stand still: it hears the answer when it goes on.
        const hear = (): void => {
          this.#clock.schedule(0, () => {
            settle()
            resolve(answer)
          })
        }
        if (this.faults.answersHeld === true) this.#held.push(hear)
        else this.#travel(hear)
      })
    return promise
  }

  /** A notice of the place; lost where answers would be. */
  notice(run: () => void): void {
    this.#travel(() => {
      const { refused, silent, answersLost } = this.faults
      if (refused === true || silent === true || answersLost === true || this.#closed) return
      this.#clock.schedule(0, run)
    })
  }

  #travel(run: () => void): void {
    this.#network.schedule(drawSpan(this.#random, this.faults.delayMs ?? { min: 0.1, max: 1 }), run)
  }
}
