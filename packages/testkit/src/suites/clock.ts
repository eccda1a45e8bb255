/**
 * What every `Clock` must do. Call `clockSuite` from a test file; see `ClockUnderTest` for what it needs.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from '@understudy/contracts'

export interface ClockSuiteOptions {
  readonly name: string
  create(): ClockUnderTest
}

export interface ClockUnderTest {
  readonly clock: Clock
  /** Lets at least this much time pass: waits, or advances a simulated clock. */
  pass(ms: number): Promise<void>
  dispose?(): void
}

export function clockSuite(options: ClockSuiteOptions): void {
  describe(`clock suite: ${options.name}`, () => {
    let under: ClockUnderTest
    let clock: Clock

    beforeEach(() => {
      under = options.create()
      clock = under.clock
    })
    afterEach(() => under.dispose?.())

    test('monotonic time only grows, and grows as time passes', async () => {
      let last = clock.monotonic()
      for (let reading = 0; reading < 10_000; reading++) {
        const next = clock.monotonic()
        expect(next).toBeGreaterThanOrEqual(last)
        last = next
      }
      await under.pass(20)
      // A millisecond of tolerance: timers of an operating system round.
      expect(clock.monotonic() - last).toBeGreaterThanOrEqual(19)
    })

    test('the wall clock is milliseconds since the Unix epoch', () => {
      expect(clock.now()).toBeGreaterThan(Date.UTC(2020, 0, 1))
      expect(clock.now()).toBeLessThan(Date.UTC(2200, 0, 1))
    })

    test('never calls synchronously, also without a delay', async () => {
      let called = 0
      clock.schedule(0, () => called++)
      clock.schedule(0, () => called++)
      expect(called).toBe(0)
      await under.pass(20)
      expect(called).toBe(2)
    })

    test('calls once, and not before its time', async () => {
      const startMs = clock.monotonic()
      const calledAtMs: number[] = []
      clock.schedule(15, () => calledAtMs.push(clock.monotonic()))
      await under.pass(60)
      expect(calledAtMs).toHaveLength(1)
      expect((calledAtMs[0] ?? 0) - startMs).toBeGreaterThanOrEqual(14)
    })

    test('calls in the order of their times', async () => {
      const order: string[] = []
      clock.schedule(40, () => order.push('late'))
      clock.schedule(5, () => order.push('early'))
      clock.schedule(20, () => order.push('middle'))
      await under.pass(100)
      expect(order).toEqual(['early', 'middle', 'late'])
    })

    test('a cancelled call does not come; cancelling twice or late has no effect', async () => {
      const called: string[] = []
      const cancelled = clock.schedule(5, () => called.push('cancelled'))
      const kept = clock.schedule(5, () => called.push('kept'))
      cancelled.cancel()
      cancelled.cancel()
      await under.pass(30)
      kept.cancel()
      expect(called).toEqual(['kept'])
    })

    test('a call may cancel another one that is due at the same time, and schedule more', async () => {
      const called: string[] = []
      const timers = [
        clock.schedule(5, () => {
          called.push('first')
          timers[1]?.cancel()
          clock.schedule(0, () => called.push('more'))
        }),
        clock.schedule(30, () => called.push('second')),
      ]
      await under.pass(60)
      expect(called).toEqual(['first', 'more'])
    })

    test('delays beyond 2^31 ms do not come at once', async () => {
      const called: string[] = []
      const timer = clock.schedule(2 ** 32, () => called.push('far'))
      await under.pass(20)
      timer.cancel()
      expect(called).toEqual([])
    })
  })
}
