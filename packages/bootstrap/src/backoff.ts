/** Waiting between attempts: doubling with full jitter of the upper half, so that followers that lost one leader do not return together. */
import { UnderstudyError, type Clock, type Random } from '@understudy/contracts'

const FIRST_MS = 100
const LONGEST_MS = 5000

/** Delay before attempt number `failures` + 1, for failures ≥ 1: between half and all of 100 ms × 2^(failures-1), at most 5 s. */
export function backoffMs(failures: number, random: Random): number {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 16))
  return whole / 2 + (whole / 2) * (random.uint32() / 2 ** 32)
}

/** Waits; rejects with `ABORTED` as soon as `signal` aborts. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(aborted(signal))
    const onAbort = (): void => {
      timer.cancel()
      reject(aborted(signal))
    }
    const timer = clock.schedule(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

export function aborted(signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    'The bootstrap was stopped by its caller. What was received is kept beside the target; another call with the same target goes on from there.',
    { cause: signal?.reason },
  )
}
