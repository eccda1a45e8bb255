/** Waiting in the demo: every wait ends when the demo is told to stop, and knows what it waited for. */
import { UnderstudyError, type Clock } from '@understudy/contracts'

const LOOK_MS = 20

/** Resolves after `ms`; rejects with the signal's reason. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    const stop = (): void => {
      timer.cancel()
      reject(signal.reason as Error)
    }
    const timer = clock.schedule(ms, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    signal.addEventListener('abort', stop, { once: true })
  })
}

/** Resolves once `holds` does. Throws `TIMEOUT`, saying `what` was waited for. */
export async function waitUntil(
  holds: () => boolean,
  what: string,
  { clock, signal, timeoutMs }: { clock: Clock; signal: AbortSignal; timeoutMs: number },
): Promise<void> {
  const deadline = clock.monotonic() + timeoutMs
  while (!holds()) {
    if (clock.monotonic() >= deadline)
      throw new UnderstudyError('TIMEOUT', `It took longer than ${timeoutMs / 1000} s until ${what}.`)
    await pause(clock, LOOK_MS, signal)
  }
}
