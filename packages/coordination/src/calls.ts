/**
 * Calls to a store with a deadline, an abort and an end.
 *
 * 1. A call settles at its deadline whatever the store does. What comes afterwards is dropped.
 * 2. A reading that did not end in time changed nothing; a change that did not is uncertain.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Clock,
  type CoordinatorCallOptions,
} from '@understudy/contracts'
import { aborted, closed, unavailable, uncertain } from './errors.ts'

const TIMEOUT_MS = 2000

export class Calls {
  readonly #kind: string
  readonly #clock: Clock
  readonly #open = new Set<(error: UnderstudyError) => void>()
  #closed = false

  constructor(kind: string, clock: Clock) {
    this.#kind = kind
    this.#clock = clock
  }

  get isClosed(): boolean {
    return this.#closed
  }

  reading<T>(options: CoordinatorCallOptions, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#call(options, unavailable, run)
  }

  changing<T>(options: CoordinatorCallOptions, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#call(options, uncertain, run)
  }

  close(): void {
    this.#closed = true
    for (const end of this.#open) end(closed(this.#kind))
  }

  async #call<T>(
    { signal, timeoutMs = TIMEOUT_MS }: CoordinatorCallOptions,
    late: (kind: string, why: string) => UnderstudyError,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#closed) throw closed(this.#kind)
    if (!(timeoutMs > 0))
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `timeoutMs (${timeoutMs}) must be above 0. Nothing was done.`,
      )
    if (signal?.aborted === true) throw aborted(this.#kind)
    const controller = new AbortController()
    const { promise: ended, reject } = Promise.withResolvers<never>()
    // Nobody may be listening any more when it ends.
    ended.catch(() => undefined)
    // The store hears of it first: it may know that nothing happened, or why.
    const end = (error: UnderstudyError): void => {
      controller.abort(error)
      this.#clock.schedule(0, () => reject(error))
    }
    const timer = this.#clock.schedule(timeoutMs, () =>
      end(late(this.#kind, `it did not answer within ${timeoutMs} ms`)),
    )
    const give = (): void => end(aborted(this.#kind))
    signal?.addEventListener('abort', give, { once: true })
    this.#open.add(end)
    try {
      return await Promise.race([run(controller.signal), ended])
    } catch (error) {
      const { aborted: isOver, reason } = controller.signal
      const isLate = isOver && isUnderstudyError(reason, late(this.#kind, '').code)
      if (isOver && !(isLate && isUnderstudyError(error))) throw reason
      if (isUnderstudyError(error)) throw error
      throw late(this.#kind, error instanceof Error ? error.message : String(error))
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', give)
      this.#open.delete(end)
    }
  }
}
