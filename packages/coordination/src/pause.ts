/** A wait between two tries. */
import type { Clock } from '@understudy/contracts'

/** Resolves after `delayMs`, or earlier when the signal aborts. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = clock.schedule(delayMs, () => {
      signal.removeEventListener('abort', done)
      resolve()
    })
    const done = (): void => {
      timer.cancel()
      resolve()
    }
    signal.addEventListener('abort', done, { once: true })
  })
}
