import { SeededRandom } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { CommitAges } from '../src/index.ts'

describe('the age of the oldest commit that is not applied', () => {
  test('counts from when it came, and is 0 once everything is applied', () => {
    const ages = new CommitAges(10, 1000)
    ages.note(12, 1500)
    ages.note(20, 1700)
    expect(ages.of(10, 2000)).toEqual({ ms: 500, isAtLeast: false })
    expect(ages.of(11, 2000)).toEqual({ ms: 500, isAtLeast: false })
    expect(ages.of(12, 2000)).toEqual({ ms: 300, isAtLeast: false })
    expect(ages.of(20, 2000)).toEqual({ ms: 0, isAtLeast: false })
  })

  test('is a least one for what was there before', () => {
    const ages = new CommitAges(10, 1000)
    expect(ages.of(9, 4000)).toEqual({ ms: 3000, isAtLeast: true })
    ages.note(11, 3999)
    expect(ages.of(9, 4000)).toEqual({ ms: 3000, isAtLeast: true })
  })

  test('a position that is no news changes nothing', () => {
    const ages = new CommitAges(10, 0)
    ages.note(10, 5)
    ages.note(12, 10)
    ages.note(12, 20)
    ages.note(11, 30)
    expect(ages.of(10, 40)).toEqual({ ms: 30, isAtLeast: false })
    expect(ages.of(12, 40)).toEqual({ ms: 0, isAtLeast: false })
  })

  test('over a month at changing rates it is never too low, and too high by 1 ms or 1/64 at most', () => {
    const random = new SeededRandom('ages')
    const ages = new CommitAges(0, 0)
    const cameAtMs = new Float64Array(400_000)
    let nowMs = 0
    let worst = 0
    for (let lsn = 1; lsn < cameAtMs.length; lsn++) {
      // From bursts of 20,000 commits a second to one in ten minutes.
      const isBurst = Math.floor(lsn / 5000) % 2 === 0
      nowMs += isBurst ? (random.uint32() % 100) / 1000 : lsn % 50 === 0 ? random.uint32() % 600_000 : 1.5
      cameAtMs[lsn] = nowMs
      ages.note(lsn, nowMs)
      if (lsn % 997 !== 0) continue
      for (let n = 0; n < 50; n++) {
        const applied = random.uint32() % lsn
        const { ms, isAtLeast } = ages.of(applied, nowMs)
        const real = nowMs - cameAtMs[applied + 1]!
        const excess = ms - real
        expect(isAtLeast).toBe(false)
        expect(excess).toBeGreaterThanOrEqual(0)
        expect(excess).toBeLessThanOrEqual(Math.max(1, real / 64) + 1e-6)
        worst = Math.max(worst, excess)
      }
    }
    expect(nowMs).toBeGreaterThan(5 * 24 * 3600_000)
    // It does merge: otherwise this shows nothing.
    expect(worst).toBeGreaterThan(1000)
  })
})
