/** Waits by a clock, which may be a real one: its timers may fire a moment early. */
import type { Clock } from '@understudy/contracts'

/** Resolves once the clock says `atMs`. */
export function until(clock: Clock, atMs: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      const leftMs = atMs - clock.monotonic()
      if (leftMs <= 0) resolve()
      else clock.schedule(leftMs, look)
    }
    look()
  })
}
