/** Real time: the default of `connect`. Its timers keep the process alive, for someone waits for each of them. */
import type { Clock, Timer } from '@understudy/contracts'

export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    schedule(delayMs, run): Timer {
      const timer = setTimeout(run, delayMs)
      return { cancel: () => clearTimeout(timer) }
    },
  }
}
