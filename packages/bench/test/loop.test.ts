import { SimulatedClock } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { decode, encode, histogram, percentileMs, recordMs } from '../src/load/histogram.ts'
import { runLoop, type LoopOptions, type LoopResult } from '../src/load/loop.ts'

type Options = Partial<LoopOptions<{ name: string }>> & { readonly serviceMs: (atMs: number) => number }

/** Runs a loop on simulated time against a subject that takes `serviceMs` for an operation that begins at a time. */
async function simulated({ serviceMs, ...options }: Options): Promise<LoopResult & { begun: number[] }> {
  const clock = new SimulatedClock()
  const startMs = clock.monotonic()
  const begun: number[] = []
  const running = runLoop<{ name: string }>({
    clock,
    writers: 1,
    durationMs: 1000,
    next: () => ({ name: 'x' }),
    run: () => {
      const atMs = clock.monotonic() - startMs
      begun.push(atMs)
      return new Promise<void>((resolve) => void clock.schedule(serviceMs(atMs), resolve))
    },
    ...options,
  })
  return { ...(await clock.complete(running)), begun }
}

describe('an open loop', () => {
  test('charges a stall to every operation that had to wait for it, which a closed loop does not see', async () => {
    // One operation takes 500 ms, all others 1 ms.
    const stalls = (): ((atMs: number) => number) => {
      let stalled = false
      return (atMs) => {
        if (atMs < 200 || stalled) return 1
        stalled = true
        return 500
      }
    }
    const closed = await simulated({ serviceMs: stalls() })
    expect(percentileMs(closed.latency, 99)).toBeCloseTo(1, 1)
    const open = await simulated({ serviceMs: stalls(), rate: 100 })
    expect(open.operations).toBe(100)
    // 50 operations arrived while it stalled: half of them waited for 250 ms or more, which is a quarter of all.
    expect(percentileMs(open.latency, 75)).toBeGreaterThan(200)
    expect(percentileMs(open.latency, 99)).toBeGreaterThan(480)
    expect(open.lateMsMax).toBeGreaterThan(480)
  })

  test('begins each operation when it is due, whoever is free', async () => {
    const { begun, operations } = await simulated({ rate: 50, writers: 3, serviceMs: () => 45 })
    expect(operations).toBe(50)
    begun.forEach((atMs, index) => expect(atMs).toBeCloseTo(index * 20, 3))
  })

  test('carries out what arrived before the end, and counts it', async () => {
    const { operations, durationMs } = await simulated({ rate: 10, serviceMs: () => 300 })
    expect(operations).toBe(10)
    expect(durationMs).toBeCloseTo(3000, 0)
  })
})

describe('a closed loop', () => {
  test('has one operation for each writer under way', async () => {
    const { operations, latency } = await simulated({ writers: 4, serviceMs: () => 10 })
    expect(operations).toBe(400)
    expect(percentileMs(latency, 50)).toBeCloseTo(10, 1)
  })

  test('does not count its warm-up', async () => {
    const counted: boolean[] = []
    const { operations, latency } = await simulated({
      warmUpMs: 500,
      serviceMs: (atMs) => (atMs < 500 ? 100 : 10),
      answered: (_, isCounted) => counted.push(isCounted),
    })
    expect(operations).toBe(100)
    expect(percentileMs(latency, 100)).toBeCloseTo(10, 1)
    expect(counted.filter((each) => !each)).toHaveLength(5)
  })

  test('measures one operation at least, without the time that the warm-up still took', async () => {
    const { operations, durationMs, latency } = await simulated({ warmUpMs: 100, serviceMs: () => 3000 })
    expect(operations).toBe(1)
    expect(durationMs).toBeCloseTo(3000, 0)
    expect(percentileMs(latency, 100)).toBeCloseTo(3000, -1)
  })

  test('ends after so many operations', async () => {
    const { operations } = await simulated({ writers: 2, operationsMax: 3, serviceMs: () => 1 })
    expect(operations).toBe(3)
  })
})

test('a histogram that was written as text is the same one', () => {
  const made = histogram()
  for (let index = 1; index <= 1000; index++) recordMs(made, index)
  const read = decode(encode(made))
  expect(read.totalCount).toBe(1000)
  expect(percentileMs(read, 99)).toBe(percentileMs(made, 99))
  expect(percentileMs(read, 99)).toBeCloseTo(990, -1)
})
