/**
 * Simulated time: nothing happens but what was scheduled, and hours pass in milliseconds.
 *
 * Decides: in which order scheduled calls run, and that all promise reactions of one call are done before the next.
 * Leaves to others: what is scheduled; work that real threads do (a simulation must not use them).
 *
 * 1. Calls run by (virtual time, order of scheduling). With `shuffle`, calls due at the same time run in an order drawn
 *    from it: code that relies on the order of two timers of one time is wrong, and this finds it.
 * 2. Before the first and after each call the event loop turns once (`setImmediate`), which completes every chain of
 *    promises and `process.nextTick`; a chain that itself uses `setImmediate` or real timers is not waited for.
 * 3. Virtual time moves only in `step`, `advance`, `runUntil` and `drive`; these must not run at the same time.
 * 4. A call that throws makes the driving method reject; the clock stays usable.
 */
import { UnderstudyError, type Clock, type Timer } from '@understudy/contracts'
import { EventHeap, type ScheduledEvent } from './event-heap.ts'
import type { SeededRandom } from './random.ts'

export interface SimulatedClockOptions {
  /** Wall clock at the start, milliseconds since the Unix epoch. Default 2025-01-01T00:00:00Z. */
  readonly wallMs?: number
  /** Value of `monotonic()` at the start. Default 1,000. */
  readonly monotonicMs?: number
  /** Draws the order of calls due at the same time. Without it they run as they were scheduled. */
  readonly shuffle?: SeededRandom
}

export class SimulatedClock implements Clock {
  readonly #heap = new EventHeap()
  readonly #shuffle: SeededRandom | undefined
  readonly #wallOffsetMs: number
  #timeMs: number
  #sequence = 0
  #running = false

  constructor(options: SimulatedClockOptions = {}) {
    this.#timeMs = options.monotonicMs ?? 1000
    this.#wallOffsetMs = (options.wallMs ?? Date.UTC(2025, 0, 1)) - this.#timeMs
    this.#shuffle = options.shuffle
  }

  now(): number {
    return this.#wallOffsetMs + this.#timeMs
  }

  monotonic(): number {
    return this.#timeMs
  }

  schedule(delayMs: number, run: () => void): Timer {
    if (!(delayMs >= 0)) {
      throw new UnderstudyError('INVALID_ARGUMENT', `schedule(${delayMs}): the delay must be at least 0.`)
    }
    const tie = this.#shuffle?.uint32() ?? 0
    const event: ScheduledEvent = { atMs: this.#timeMs + delayMs, tie, sequence: this.#sequence++, run }
    this.#heap.push(event)
    return { cancel: () => this.#heap.cancel(event) }
  }

  /** Scheduled calls that have neither run nor been cancelled. */
  get pending(): number {
    return this.#heap.size
  }

  /** Monotonic time of the next call; `undefined` when none is scheduled. */
  get nextAtMs(): number | undefined {
    return this.#heap.peek()?.atMs
  }

  /** Lets all promise reactions finish; no time passes. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }

  /** Moves to the next scheduled call and runs it. False when there is none. */
  async step(): Promise<boolean> {
    return this.#exclusively(async () => {
      await this.settle()
      return this.#stepUpTo(Number.POSITIVE_INFINITY)
    })
  }

  /** Lets `ms` pass: runs every call that comes due within, those included that are scheduled meanwhile. */
  async advance(ms: number): Promise<void> {
    await this.#exclusively(async () => {
      const endMs = this.#timeMs + ms
      await this.settle()
      while (await this.#stepUpTo(endMs));
      this.#timeMs = endMs
    })
  }

  /**
   * Runs calls until `reached` is true (asked before the first and after each). Rejects with `TIMEOUT` when it is not
   * after `withinMs` of virtual time, or as soon as nothing is scheduled any more.
   */
  async runUntil(
    reached: () => boolean,
    options: { readonly withinMs: number; readonly what?: string },
  ): Promise<void> {
    await this.#exclusively(async () => {
      const endMs = this.#timeMs + options.withinMs
      await this.settle()
      while (!reached()) {
        if (await this.#stepUpTo(endMs)) continue
        const idle = this.#heap.size === 0 ? ', and nothing is scheduled any more' : ''
        if (!idle) this.#timeMs = endMs
        throw new UnderstudyError(
          'TIMEOUT',
          `${options.what ?? 'The condition'} was not reached within ${options.withinMs} ms of simulated time${idle}.`,
        )
      }
    })
  }

  /** Drives the clock while `promise` is pending, and returns what it settles to. `TIMEOUT` as for `runUntil`. */
  async complete<T>(
    promise: Promise<T>,
    options: { readonly withinMs?: number; readonly what?: string } = {},
  ): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    promise.then(mark, mark)
    await this.runUntil(() => settled, {
      withinMs: options.withinMs ?? 60_000,
      what: options.what ?? 'The promise',
    })
    return promise
  }

  /**
   * Runs calls in the background as fast as they come, for tests written against real time. A call that throws becomes
   * an uncaught exception. Dispose of it to stop.
   */
  drive(): Disposable {
    this.#claim()
    let stopped = false
    const turn = (): void => {
      if (stopped) return
      setImmediate(turn)
      this.#runNext()
    }
    setImmediate(turn)
    return {
      [Symbol.dispose]: () => {
        if (!stopped) this.#running = false
        stopped = true
      },
    }
  }

  /** A node's own view of this clock. */
  view(options: ClockViewOptions = {}): ClockView {
    return new ClockView(this, options)
  }

  async #stepUpTo(endMs: number): Promise<boolean> {
    const nextAtMs = this.#heap.peek()?.atMs
    if (nextAtMs === undefined || nextAtMs > endMs) return false
    this.#runNext()
    await this.settle()
    return true
  }

  #runNext(): void {
    const event = this.#heap.pop()
    if (event === undefined) return
    this.#timeMs = Math.max(this.#timeMs, event.atMs)
    event.run?.()
  }

  async #exclusively<T>(run: () => Promise<T>): Promise<T> {
    this.#claim()
    try {
      return await run()
    } finally {
      this.#running = false
    }
  }

  #claim(): void {
    if (this.#running) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'The simulated clock is driven from two places at once; await the first call.',
      )
    }
    this.#running = true
  }
}

export interface ClockViewOptions {
  /** Offset of this node's wall clock to the others', in milliseconds. Default 0. */
  readonly wallOffsetMs?: number
  /** Speed of this node's clocks: 1.01 gains 10 ms a second. Default 1. */
  readonly rate?: number
}

/**
 * One node's clock: can be stopped like a process that got SIGSTOP, can have its wall clock set, and dies with its node.
 * Give it to everything of that node, its disk and its side of the network included.
 */
export class ClockView implements Clock {
  readonly #clock: SimulatedClock
  readonly #rate: number
  readonly #originMs: number
  readonly #held: (() => void)[] = []
  #wallOffsetMs: number
  #state: 'running' | 'paused' | 'stopped' = 'running'

  constructor(clock: SimulatedClock, options: ClockViewOptions) {
    this.#clock = clock
    this.#rate = options.rate ?? 1
    this.#wallOffsetMs = options.wallOffsetMs ?? 0
    this.#originMs = clock.monotonic()
  }

  now(): number {
    return this.#clock.now() + this.#wallOffsetMs + this.monotonic() - this.#clock.monotonic()
  }

  monotonic(): number {
    return this.#originMs + (this.#clock.monotonic() - this.#originMs) * this.#rate
  }

  schedule(delayMs: number, run: () => void): Timer {
    if (this.#state === 'stopped') return { cancel: () => undefined }
    let cancelled = false
    const fire = (): void => {
      if (cancelled || this.#state === 'stopped') return
      if (this.#state === 'paused') this.#held.push(fire)
      else run()
    }
    const timer = this.#clock.schedule(delayMs / this.#rate, fire)
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      },
    }
  }

  /** The node stands still: nothing of it runs, time goes on. What comes due is kept until `resume`. */
  pause(): void {
    if (this.#state === 'running') this.#state = 'paused'
  }

  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'running'
    for (const fire of this.#held.splice(0)) this.#clock.schedule(0, fire)
  }

  get paused(): boolean {
    return this.#state === 'paused'
  }

  /** Sets the node's wall clock forward, or back when negative; monotonic time does not notice. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs
  }

  /** The node is dead: nothing that it scheduled, or schedules from now on, ever runs. */
  stop(): void {
    this.#state = 'stopped'
    this.#held.length = 0
  }
}
