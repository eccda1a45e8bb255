import { Worker } from 'node:worker_threads'
import { processClock } from '@understudy/coordination'
import { expect, test } from 'vitest'
import { Hands } from './support/hands.ts'

test('the clock of the operating system is one for all threads, and performance.now is not', async () => {
  const program = `
    const { parentPort } = require('node:worker_threads')
    parentPort.on('message', () => parentPort.postMessage([process.hrtime.bigint(), performance.now()]))
  `
  const worker = new Worker(program, { eval: true })
  const clock = processClock()
  for (let round = 0; round < 50; round++) {
    const before = process.hrtime.bigint()
    const beforeMs = clock.monotonic()
    const [there] = await new Promise<[bigint, number]>((resolve) => {
      worker.once('message', resolve)
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(0)
    })
    expect(there).toBeGreaterThan(before)
    expect(there).toBeLessThan(process.hrtime.bigint())
    expect(Number(there) / 1e6).toBeGreaterThanOrEqual(beforeMs)
    expect(Number(there) / 1e6).toBeLessThanOrEqual(clock.monotonic())
  }
  await worker.terminate()
})

test('a suspension of the machine counts', () => {
  const hands = new Hands()
  const clock = processClock({ raw: hands })
  const startMs = clock.monotonic()
  hands.pass(50)
  expect(clock.monotonic() - startMs).toBe(50)
  // Asleep: the monotonic clock stands still, the others do not.
  hands.wallMs += 60_000
  hands.upMs += 60_000
  expect(clock.monotonic() - startMs).toBe(60_050)
  hands.pass(10)
  expect(clock.monotonic() - startMs).toBe(60_060)
  hands.wallMs += 500
  hands.upMs += 500
  expect(clock.monotonic() - startMs).toBe(60_560)
})

test('a wall clock that is set changes nothing, forwards or back, also before a suspension', () => {
  const hands = new Hands()
  const clock = processClock({ raw: hands })
  const startMs = clock.monotonic()
  for (const jumpMs of [3_600_000, -7_200_000, 50, -50]) {
    hands.wallMs += jumpMs
    expect(clock.monotonic() - startMs).toBe(0)
  }
  hands.wallMs += 1000
  hands.upMs += 1000
  expect(clock.monotonic() - startMs).toBe(1000)
})

test('a thread that lost the processor between two readings sees no suspension', () => {
  const hands = new Hands()
  const clock = processClock({ raw: hands })
  for (let round = 0; round < 5; round++) {
    hands.lateMs = 400
    const before = hands.monotonicMs
    expect(clock.monotonic()).toBe(before)
  }
  expect(clock.monotonic()).toBe(hands.monotonicMs)
})
