/** The monotonic clock of the machine, which all its processes read alike; that of `performance` begins anew in each. */
import { systemClock, type Clock } from '@understudy/contracts'

export function sharedClock(): Clock {
  const clock = systemClock()
  return {
    now: () => clock.now(),
    monotonic: () => Number(process.hrtime.bigint()) / 1e6,
    schedule: (delayMs, run) => clock.schedule(delayMs, run),
  }
}
