import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { runLoad, runPaced } from '../src/processes/load.ts'

test('callers in a closed loop have one write each under way, and each counts when it is answered', async () => {
  const stop = new AbortController()
  let underWay = 0
  let most = 0
  let answered = 0
  const result = await runLoad({
    writers: 8,
    signal: stop.signal,
    write: async () => {
      most = Math.max(most, ++underWay)
      await delay(1)
      underWay--
      if (++answered >= 100) stop.abort()
    },
  })
  expect(most).toBe(8)
  expect(result.commits).toBe(answered)
  expect(underWay).toBe(0)
  expect(result.latency.p50).toBeGreaterThan(0)
})

test('paced callers never begin a write before its time', async () => {
  const stop = new AbortController()
  const startMs = performance.now()
  const begun: number[] = []
  await runPaced({
    writers: 4,
    perSecond: 1000,
    signal: stop.signal,
    write: async () => {
      begun.push(performance.now() - startMs)
      if (begun.length === 50) stop.abort()
    },
  })
  begun.forEach((atMs, index) => expect(atMs).toBeGreaterThanOrEqual(index - 0.01))
})
