/**
 * The real clock and randomness: the one default of everything that takes a `Clock` or a `Random`. They live beside
 * their contracts because every package needs them, from the lowest on.
 */
import type { Clock, Random, Timer } from './clock.ts'

/** Longest delay that Node's timers honour; longer ones would fire at once. */
const DELAY_MAX_MS = 2 ** 31 - 1

/** Real time. `background`: its timers do not keep the process alive, for work that nobody waits for. */
export function systemClock(options: { readonly background?: boolean } = {}): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    schedule(delayMs, run): Timer {
      const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), DELAY_MAX_MS))
      if (options.background === true) timer.unref()
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
        crypto.getRandomValues(pool)
        next = 0
      }
      return pool[next++] as number
    },
  }
}

/** 64 random bits as 16 lower-case hexadecimal digits: run ids, cluster ids. */
export function randomId(random: Random): string {
  const word = (): string => random.uint32().toString(16).padStart(8, '0')
  return word() + word()
}
