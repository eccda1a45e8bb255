import { SeededRandom } from '@understudy/testkit/random'
import { describe, expect, test } from 'vitest'
import { FailureDetector, resolveDetector } from '../src/index.ts'
import { deviationsAt, IntervalWindow } from '../src/detector/accrual.ts'

const INTERVAL_MS = 100
const TICK_MS = 50

/** Feeds heartbeats at these times, ticks in between, and asks at each tick; returns when the peer was first not alive. */
function watch(
  beats: readonly number[],
  untilMs: number,
  options: {
    readonly pauses?: readonly (readonly [number, number])[]
    readonly detector?: FailureDetector
  } = {},
): { readonly suspectedAtMs: number | undefined; readonly detector: FailureDetector } {
  const { pauses = [], detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS }) } =
    options
  const events = beats.map((atMs) => ({ atMs, isBeat: true }))
  for (let atMs = 0; atMs <= untilMs; atMs += TICK_MS) events.push({ atMs, isBeat: false })
  events.sort((a, b) => a.atMs - b.atMs)
  let suspectedAtMs: number | undefined
  detector.expect('a', 0)
  for (const { atMs, isBeat } of events) {
    // What comes while this node is stopped is read when it goes on; ticks are not made up for.
    const pause = pauses.find(([from, to]) => atMs >= from && atMs < to)
    if (pause !== undefined && !isBeat) continue
    const nowMs = pause === undefined ? atMs : pause[1]
    if (isBeat) detector.heartbeat('a', nowMs)
    else detector.tick(nowMs)
    if (suspectedAtMs === undefined && detector.suspicion('a', nowMs).state !== 'alive') suspectedAtMs = nowMs
  }
  return { suspectedAtMs, detector }
}

function rhythm(random: SeededRandom, untilMs: number, interval: () => number): number[] {
  const beats: number[] = []
  for (let atMs = random.below(INTERVAL_MS); atMs < untilMs; atMs += interval()) beats.push(atMs)
  return beats
}

const SEEDS = Array.from({ length: 100 }, (_, seed) => seed)

describe('failure detector', () => {
  test('a peer that dies is suspected within the bound, unreachable soon after', () => {
    const { silenceMsMax } = resolveDetector({ intervalMs: INTERVAL_MS })
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed)
      const spread = random.fraction() * 20
      const beats = rhythm(random, 5000, () => INTERVAL_MS * (1 + spread * random.fraction()))
      const diedAtMs = beats.at(-1) as number
      const detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS })
      watch(beats, diedAtMs, { detector })
      const { suspectedFromMs } = detector.suspicion('a', diedAtMs)
      let nowMs = diedAtMs
      while (detector.suspicion('a', nowMs).state === 'alive') detector.tick((nowMs += 10))
      expect(nowMs - diedAtMs, `seed ${seed}`).toBeLessThanOrEqual(
        Math.min(suspectedFromMs, silenceMsMax) + 10,
      )
      while (detector.suspicion('a', nowMs).state !== 'unreachable') detector.tick((nowMs += 10))
      expect(nowMs - diedAtMs, `seed ${seed}`).toBeLessThanOrEqual(2 * silenceMsMax + 10)
    }
  })

  test('a quiet peer is suspected about 1.2 s after its last heartbeat of every 100 ms', () => {
    const beats = Array.from({ length: 50 }, (_, at) => at * INTERVAL_MS)
    const { suspectedAtMs } = watch(beats, 8000)
    expect((suspectedAtMs as number) - 4900).toBeGreaterThan(10 * INTERVAL_MS)
    expect((suspectedAtMs as number) - 4900).toBeLessThan(1300)
  })

  test('intervals up to ten times as long suspect nobody, from the first one on', () => {
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed)
      const beats = rhythm(random, 20_000, () => INTERVAL_MS * (1 + 9 * random.fraction()))
      expect(watch(beats, beats.at(-1) as number).suspectedAtMs, `seed ${seed}`).toBeUndefined()
    }
  })

  test('load that stretches intervals raises the threshold, and quiet lowers it again', () => {
    const detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS })
    const thresholdAt = (nowMs: number): number => detector.suspicion('a', nowMs).suspectedFromMs
    let nowMs = 0
    const beat = (times: number, interval: (at: number) => number): number => {
      for (let at = 0; at < times; at++) {
        const next = nowMs + interval(at)
        while (nowMs + TICK_MS < next) detector.tick((nowMs += TICK_MS))
        detector.heartbeat('a', (nowMs = next))
      }
      return thresholdAt(nowMs)
    }
    const quiet = beat(100, () => INTERVAL_MS)
    const loaded = beat(50, (at) => INTERVAL_MS * (at % 2 === 0 ? 1 : 9))
    const after = beat(100, () => INTERVAL_MS)
    expect(loaded).toBeGreaterThan(1.5 * quiet)
    expect(after).toBeCloseTo(quiet, 6)
  })

  test('an outage that ended is no rhythm: the next one is suspected as soon', () => {
    const beats = Array.from({ length: 50 }, (_, at) => at * INTERVAL_MS)
    const again = beats.map((atMs) => atMs + 9000)
    const { suspectedAtMs } = watch(beats, 8000)
    const detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS })
    watch([...beats, ...again], 13_900, { detector })
    let nowMs = 13_900
    while (detector.suspicion('a', nowMs).state === 'alive') detector.tick((nowMs += 10))
    expect(nowMs - 13_900).toBeLessThanOrEqual((suspectedAtMs as number) - 4900 + TICK_MS)
  })

  test('a pause of the observer is never held against a peer that goes on, whether its heartbeats are read or lost', () => {
    for (const seed of SEEDS) {
      const random = new SeededRandom(seed)
      const from = random.between(2000, 3000)
      const pause = [from, from + random.between(200, 60_000)] as const
      const isLost = random.chance(0.5)
      const beats = rhythm(random, pause[1] + 5000, () => INTERVAL_MS * (0.8 + 0.4 * random.fraction()))
      const kept = isLost ? beats.filter((atMs) => atMs < pause[0] || atMs >= pause[1]) : beats
      const { suspectedAtMs, detector } = watch(kept, pause[1] + 4900, { pauses: [pause] })
      expect(suspectedAtMs, `seed ${seed}`).toBeUndefined()
      expect(detector.missedMs, `seed ${seed}`).toBeGreaterThan(0)
    }
  })

  test('a pause does not hide a peer that died: it is suspected as long after as without it', () => {
    const beats = Array.from({ length: 30 }, (_, at) => at * INTERVAL_MS)
    const without = watch(beats, 10_000).suspectedAtMs as number
    const paused = watch(beats, 20_000, { pauses: [[3300, 9300]] }).suspectedAtMs as number
    expect(paused - 6000 - without).toBeGreaterThanOrEqual(0)
    expect(paused - 6000 - without).toBeLessThanOrEqual(3 * INTERVAL_MS)
  })

  test('its own view says nothing right after a pause', () => {
    const { detector } = watch([0, 100, 200], 200)
    expect(detector.stalled(210)).toBe(false)
    detector.tick(2000)
    expect(detector.stalled(2010)).toBe(true)
    for (let nowMs = 2050; nowMs <= 2300; nowMs += 50) detector.tick(nowMs)
    expect(detector.stalled(2310)).toBe(false)
  })

  test('connections say more than silence: lost is suspected at once, refused is unreachable, a heartbeat ends both', () => {
    const detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS })
    detector.heartbeat('a', 0)
    detector.connectionLost('a', 10)
    expect(detector.suspicion('a', 20)).toMatchObject({ state: 'suspected', cause: 'connection-lost' })
    detector.connectionRefused('a', 30)
    expect(detector.suspicion('a', 40)).toMatchObject({ state: 'unreachable', cause: 'connection-refused' })
    detector.heartbeat('a', 50)
    expect(detector.suspicion('a', 60).state).toBe('alive')
    expect(detector.suspicion('b', 60)).toMatchObject({
      state: 'unreachable',
      reason: 'nothing was ever heard of b',
    })
  })

  test('a leader that is new has not been silent yet', () => {
    const detector = new FailureDetector({ intervalMs: INTERVAL_MS, tickMs: TICK_MS })
    detector.heartbeat('a', 0)
    for (let nowMs = 0; nowMs <= 5000; nowMs += TICK_MS) detector.tick(nowMs)
    expect(detector.suspicion('a', 5000).state).not.toBe('alive')
    detector.beginsToLead('a', 5000)
    expect(detector.suspicion('a', 5000)).toMatchObject({ state: 'alive', silentMs: 0 })
  })

  test('options that contradict themselves are refused', () => {
    expect(() => new FailureDetector({ intervalMs: 0 })).toThrow(/intervalMs is 0/)
    expect(() => new FailureDetector({ suspectAt: 9, unreachableAt: 8 })).toThrow(/a peer is suspected first/)
    expect(() => new FailureDetector({ intervalMs: 100, silenceMsMax: 100 })).toThrow(/allow several/)
  })
})

describe('accrual', () => {
  const settings = { intervalMs: 100, deviationMsMin: 20, intervalMsMax: 3000, windowSize: 10 }

  test('φ follows the normal distribution: 0.3 at the mean, 8 at 5.6 deviations, and has no end', () => {
    const window = new IntervalWindow(settings)
    expect(window.phi(100)).toBeCloseTo(0.301, 2)
    expect(window.silenceAt(deviationsAt(8))).toBeGreaterThan(100 + 5 * 20)
    expect(window.silenceAt(deviationsAt(8))).toBeLessThan(100 + 6.2 * 20)
    expect(window.phi(window.silenceAt(deviationsAt(8)))).toBeCloseTo(8, 6)
    expect(window.phi(1e9)).toBeGreaterThan(1e6)
  })

  test('the window is bounded, and one outage counts no more than the longest interval', () => {
    const window = new IntervalWindow(settings)
    window.add(1e9)
    expect(window.meanMs).toBe(3000)
    for (let at = 0; at < 10; at++) window.add(100)
    expect(window.meanMs).toBe(100)
    expect(window.deviationMs).toBe(20)
  })
})
