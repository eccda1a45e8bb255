/** The real clock and randomness: the defaults of everything that takes a `Clock` or a `Random`. */
import { randomFillSync } from 'node:crypto'
import type { Clock, Random, Timer } from '@understudy/contracts'

/** Longest delay that Node's timers honour; longer ones would fire at once. */
const DELAY_MAX_MS = 2 ** 31 - 1

/** Real time. Timers do not keep the process alive on their own: an open listener or connection does. */
export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    schedule(delayMs, run): Timer {
      const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), DELAY_MAX_MS))
      return { cancel: () => clearTimeout(timer) }
    },
  }
}

/** The operating system's random numbers, fetched a page at a time. */
export function systemRandom(): Random {
  const pool = new Uint32Array(256)
  let next = pool.length
  return {
    uint32(): number {
      if (next === pool.length) {
        randomFillSync(pool)
        next = 0
      }
      return pool[next++] as number
    },
  }
}

/** 64 random bits as 16 hexadecimal digits: run ids. */
export function randomId(random: Random): string {
  return [random.uint32(), random.uint32()].map((part) => part.toString(16).padStart(8, '0')).join('')
}
