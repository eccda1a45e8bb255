/**
 * A clock whose `monotonic` is the same for all threads of a process, and on Linux for all processes of a machine.
 *
 * 1. It goes on while the process is stopped (SIGSTOP). The clock of the operating system beneath it stands still while the whole
 *    machine is suspended; that time is added once it is noticed, at the next reading.
 * 2. Suspension shows as the wall clock running ahead of the monotonic one. Because a wall clock can be set, that only leads to a
 *    look at the time since the machine came up, which counts suspensions (`os.uptime`).
 *
 * `performance.now()` does not serve: it begins anew in each thread.
 */
import { uptime } from 'node:os'
import { systemClock, type Clock } from '@understudy/contracts'

/** Differences of the clocks below this are no suspension: the uptime has hundredths of a second. */
const NOTICED_MS = 100
/** Readings this close together are of one moment. */
const CLOSE_MS = 20

/** The clocks of the operating system, in milliseconds. */
export interface RawClocks {
  monotonic(): number
  wall(): number
  /** Since the machine came up, suspensions included. */
  uptime(): number
}

export const RAW_CLOCKS: RawClocks = Object.freeze({
  monotonic: () => Number(process.hrtime.bigint()) / 1e6,
  wall: () => Date.now(),
  uptime: () => uptime() * 1000,
})

/** How far the other clocks are ahead of the monotonic one. */
interface Ahead {
  readonly wallMs: number
  readonly upMs: number
}

/**
 * Notices that the machine was suspended.
 *
 * A thread that loses the processor between two readings sees clocks apart that are not: what is measured is measured between
 * two readings of the monotonic clock that are close together.
 */
export class Suspension {
  readonly #clocks: RawClocks
  #ahead: Ahead
  #totalMs = 0

  constructor(clocks: RawClocks = RAW_CLOCKS) {
    this.#clocks = clocks
    this.#ahead = this.#measured()
  }

  /** Milliseconds of suspension since it was made. `monotonicMs`: of now, or a little before. */
  totalMs(monotonicMs: number): number {
    const wallMs = this.#clocks.wall() - monotonicMs
    if (Math.abs(wallMs - this.#ahead.wallMs) > NOTICED_MS) this.#look()
    return this.#totalMs
  }

  #look(): void {
    const { wallMs, upMs } = this.#measured()
    const suspendedMs = upMs - this.#ahead.upMs
    const isSuspension = suspendedMs > NOTICED_MS
    if (isSuspension) this.#totalMs += suspendedMs
    this.#ahead = { wallMs, upMs: isSuspension ? upMs : this.#ahead.upMs }
  }

  #measured(): Ahead {
    for (;;) {
      const beforeMs = this.#clocks.monotonic()
      const wallMs = this.#clocks.wall()
      const upMs = this.#clocks.uptime()
      const afterMs = this.#clocks.monotonic()
      if (afterMs - beforeMs < CLOSE_MS) return { wallMs: wallMs - afterMs, upMs: upMs - afterMs }
    }
  }
}

/** `background`: its timers do not keep the process alive. */
export function processClock(
  options: { readonly background?: boolean; readonly raw?: RawClocks } = {},
): Clock {
  const { raw = RAW_CLOCKS } = options
  const suspension = new Suspension(raw)
  const system = systemClock(options)
  return {
    now: () => raw.wall(),
    monotonic(): number {
      const monotonicMs = raw.monotonic()
      return monotonicMs + suspension.totalMs(monotonicMs)
    },
    schedule: (delayMs, run) => system.schedule(delayMs, run),
  }
}
