/** Waiting for the first of several things, with the timers and listeners of the others taken back. */
import { UnderstudyError, type Clock } from '@understudy/contracts'

/** Resolves after `ms`, at the next news, or when the signal aborts. Never rejects. */
export function pause(clock: Clock, ms: number, signal: AbortSignal | undefined, news?: News): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel()
      deafen?.()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.schedule(ms, done)
    const deafen = news?.listen(done)
    signal?.addEventListener('abort', done, { once: true })
    if (signal?.aborted === true) done()
  })
}

/** What the promise does, or `late()` after `ms`, or `aborted()` once the signal aborts. The promise goes on by itself. */
export function within<R>(
  clock: Clock,
  promise: Promise<R>,
  ms: number,
  errors: { late(): UnderstudyError; aborted(): UnderstudyError },
  signal: AbortSignal,
): Promise<R> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', onAbort)
    }
    const timer = clock.schedule(ms, () => {
      end()
      reject(errors.late())
    })
    const onAbort = (): void => {
      end()
      reject(errors.aborted())
    }
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(
      (value) => {
        end()
        resolve(value)
      },
      (error: unknown) => {
        end()
        // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the reason of another promise goes on as it is.
        reject(error)
      },
    )
    if (signal.aborted) onAbort()
  })
}

/** Something that happens again and again, and can be waited for. */
export class News {
  readonly #listeners = new Set<() => void>()

  /** Calls `listener` each time, until the function that it returns is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

export interface InTurn<C, R> {
  readonly clock: Clock
  /** When the one that was started last has not answered for so long, the next one is started beside it. */
  readonly hedgeMs: number
  start(candidate: C, signal: AbortSignal, isLast: boolean): Promise<R>
  /** Whether the error ends the whole. */
  isFinal(error: unknown): boolean
  readonly signal: AbortSignal
}

/** Running at once, at most: one that is slow, and one beside it. */
const BESIDE_MAX = 2

/**
 * The first answer of the candidates: each is started when the one before it failed, or is slow. The others are aborted then. Rejects with
 * a final error, or with that of the last candidate.
 */
export function inTurn<C, R>(candidates: readonly C[], options: InTurn<C, R>): Promise<R> {
  const { clock, hedgeMs, signal } = options
  const abort = new AbortController()
  const both = AbortSignal.any([signal, abort.signal])
  return new Promise((resolve, reject) => {
    let next = 0
    let running = 0
    let timer: { cancel(): void } | undefined
    let isOver = false
    const end = (settle: () => void): void => {
      isOver = true
      timer?.cancel()
      settle()
      abort.abort()
    }
    const startNext = (): void => {
      timer?.cancel()
      const candidate = candidates[next] as C
      next += 1
      running += 1
      const isLast = next === candidates.length
      if (!isLast && running < BESIDE_MAX) timer = clock.schedule(hedgeMs, startNext)
      options.start(candidate, both, isLast).then(
        (value) => {
          if (!isOver) end(() => resolve(value))
        },
        (error: unknown) => {
          running -= 1
          if (isOver) return
          const isMore = next < candidates.length
          // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the reason of another promise goes on as it is.
          if (options.isFinal(error) || (!isMore && running === 0)) end(() => reject(error))
          else if (isMore) startNext()
        },
      )
    }
    startNext()
  })
}
