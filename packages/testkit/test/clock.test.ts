import { describe, expect, test } from 'vitest'
import { SeededRandom, SimulatedClock } from '@understudy/testkit'

describe('simulated clock', () => {
  test('runs calls by time, then by the order of scheduling', async () => {
    const clock = new SimulatedClock()
    const seen: string[] = []
    clock.schedule(20, () => seen.push('c'))
    clock.schedule(10, () => seen.push('a'))
    clock.schedule(10, () => seen.push('b'))
    await clock.advance(19)
    expect(seen).toEqual(['a', 'b'])
    expect(clock.monotonic()).toBe(1019)
    await clock.advance(1)
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  test('finishes every promise chain of one call before the next, however long', async () => {
    const clock = new SimulatedClock()
    const seen: string[] = []
    const chain = async (): Promise<void> => {
      for (let turn = 0; turn < 1000; turn++) await Promise.resolve()
      seen.push('chain')
    }
    clock.schedule(5, () => void chain())
    clock.schedule(5, () => seen.push('next'))
    await clock.advance(5)
    expect(seen).toEqual(['chain', 'next'])
  })

  test('runs what a call schedules meanwhile, when it is due within the time', async () => {
    const clock = new SimulatedClock()
    const times: number[] = []
    const tick = (): void => {
      times.push(clock.monotonic() - 1000)
      clock.schedule(10, tick)
    }
    clock.schedule(10, tick)
    await clock.advance(35)
    expect(times).toEqual([10, 20, 30])
    expect(clock.pending).toBe(1)
  })

  test('does not run what was cancelled, also when thousands are', async () => {
    const clock = new SimulatedClock()
    const seen: number[] = []
    const timers = Array.from({ length: 5000 }, (_, at) => clock.schedule(at % 7, () => seen.push(at)))
    for (const [at, timer] of timers.entries()) if (at % 1000 !== 0) timer.cancel()
    timers[0]?.cancel()
    timers[0]?.cancel()
    expect(clock.pending).toBe(4)
    await clock.advance(10)
    expect(seen.sort((a, b) => a - b)).toEqual([1000, 2000, 3000, 4000])
    expect(clock.pending).toBe(0)
  })

  test('a cancel after the call ran has no effect on the count of pending calls', async () => {
    const clock = new SimulatedClock()
    const timer = clock.schedule(1, () => undefined)
    clock.schedule(100, () => undefined)
    await clock.advance(1)
    timer.cancel()
    expect(clock.pending).toBe(1)
  })

  test('shuffles calls of one time by seed, and never calls of different times', async () => {
    const orders = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const runs = [0, 1].map(async () => {
        const clock = new SimulatedClock({ shuffle: new SeededRandom(seed) })
        const seen: number[] = []
        for (let at = 0; at < 6; at++) clock.schedule(at < 3 ? 1 : 2, () => seen.push(at))
        await clock.advance(2)
        expect(seen.slice(0, 3).sort((a, b) => a - b)).toEqual([0, 1, 2])
        return seen.join('')
      })
      const [first, second] = await Promise.all(runs)
      expect(first).toBe(second)
      orders.add(first ?? '')
    }
    expect(orders.size).toBeGreaterThan(5)
  })

  test('runUntil stops at the condition, and rejects in time or when nothing is left', async () => {
    const clock = new SimulatedClock()
    let count = 0
    const tick = (): void => {
      count += 1
      clock.schedule(10, tick)
    }
    clock.schedule(10, tick)
    await clock.runUntil(() => count === 3, { withinMs: 1000 })
    expect(clock.monotonic()).toBe(1030)
    await expect(clock.runUntil(() => count === 100, { withinMs: 50 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    expect(clock.monotonic()).toBe(1080)
    const idle = new SimulatedClock()
    await expect(idle.runUntil(() => false, { withinMs: 1e9 })).rejects.toThrow('nothing is scheduled')
    expect(idle.monotonic()).toBe(1000)
  })

  test('refuses to be driven from two places', async () => {
    const clock = new SimulatedClock()
    const first = clock.advance(10)
    await expect(clock.step()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await first
    await clock.advance(1)
  })

  test('passes a throw of a call to who drives it, and goes on afterwards', async () => {
    const clock = new SimulatedClock()
    clock.schedule(1, () => {
      throw new Error('boom')
    })
    await expect(clock.advance(5)).rejects.toThrow('boom')
    await clock.advance(5)
  })

  test('complete drives until the promise settles, with its value or its error', async () => {
    const clock = new SimulatedClock()
    const later = new Promise<string>((resolve) => {
      clock.schedule(500, () => resolve('done'))
    })
    expect(await clock.complete(later)).toBe('done')
    expect(clock.monotonic()).toBe(1500)
    await expect(clock.complete(Promise.reject(new Error('no')))).rejects.toThrow('no')
  })
})

describe('view of a node', () => {
  test('a paused node runs nothing, sees time go on, and runs what came due after it resumed', async () => {
    const clock = new SimulatedClock()
    const view = clock.view()
    const seen: number[] = []
    view.schedule(10, () => seen.push(view.monotonic()))
    view.pause()
    await clock.advance(100)
    expect(seen).toEqual([])
    expect(view.monotonic()).toBe(1100)
    view.resume()
    await clock.advance(0)
    expect(seen).toEqual([1100])
  })

  test('what is cancelled while it is held back does not run', async () => {
    const clock = new SimulatedClock()
    const view = clock.view()
    const seen: string[] = []
    const timer = view.schedule(10, () => seen.push('ran'))
    view.pause()
    await clock.advance(20)
    timer.cancel()
    view.resume()
    await clock.advance(20)
    expect(seen).toEqual([])
  })

  test('a stopped node never runs anything again', async () => {
    const clock = new SimulatedClock()
    const view = clock.view()
    const seen: string[] = []
    view.schedule(10, () => seen.push('before'))
    view.stop()
    view.schedule(10, () => seen.push('after'))
    await clock.advance(100)
    expect(seen).toEqual([])
  })

  test('its wall clock jumps without its monotonic clock', () => {
    const clock = new SimulatedClock({ wallMs: 5000 })
    const view = clock.view({ wallOffsetMs: 7 })
    expect(view.now()).toBe(5007)
    view.jump(-3_600_000)
    expect(view.now()).toBe(5007 - 3_600_000)
    expect(view.monotonic()).toBe(clock.monotonic())
    expect(clock.now()).toBe(5000)
  })

  test('a fast clock sees more time and fires earlier', async () => {
    const clock = new SimulatedClock()
    const view = clock.view({ rate: 2 })
    let firedAtMs = 0
    view.schedule(100, () => (firedAtMs = clock.monotonic()))
    await clock.advance(200)
    expect(firedAtMs).toBe(1050)
    expect(view.monotonic()).toBe(1400)
    expect(view.now() - clock.now()).toBe(200)
  })
})
