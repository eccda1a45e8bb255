import { expect, test } from 'vitest'
import { randomId, systemClock, systemRandom } from '../src/index.ts'

test('the real clock calls once, later, and not after cancel', async () => {
  const clock = systemClock()
  const calls: string[] = []
  const over = Promise.withResolvers<void>()
  clock.schedule(0, () => calls.push('cancelled')).cancel()
  clock.schedule(0, () => calls.push('once'))
  clock.schedule(-5, () => calls.push('at once'))
  clock.schedule(2, () => over.resolve())
  expect(calls).toEqual([])
  await over.promise
  expect(calls.toSorted()).toEqual(['at once', 'once'])
  // A delay that Node's timers cannot hold would come at once.
  clock.schedule(2 ** 40, () => calls.push('too early')).cancel()
  const before = clock.monotonic()
  expect(clock.monotonic()).toBeGreaterThanOrEqual(before)
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000)
})

test('random numbers are 32-bit integers that differ, ids 16 hexadecimal digits', () => {
  const random = systemRandom()
  const numbers = Array.from({ length: 600 }, () => random.uint32())
  expect(numbers.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32)).toBe(true)
  expect(new Set(numbers).size).toBeGreaterThan(590)
  expect(randomId(random)).toMatch(/^[0-9a-f]{16}$/)
  expect(randomId({ uint32: () => 10 })).toBe('0000000a0000000a')
})
