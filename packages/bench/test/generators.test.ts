import { describe, expect, test } from 'vitest'
import { fnv64, fnv64Modulo, fnv64Text } from '../src/workloads/fnv.ts'
import { below, seededRandom, text, unit } from '../src/workloads/random.ts'
import {
  Latest,
  SCRAMBLED_ITEMS,
  SCRAMBLED_ZETA,
  ScrambledZipfian,
  Zipfian,
  ZIPFIAN_CONSTANT,
} from '../src/workloads/zipfian.ts'
import { AcknowledgedCounter } from '../src/workloads/acknowledged-counter.ts'

/** The definition, in integers of any size. */
function reference(value: number): bigint {
  let hash = 0xcbf29ce484222325n
  let rest = BigInt(value)
  for (let octet = 0; octet < 8; octet++) {
    hash ^= rest & 0xffn
    rest >>= 8n
    hash = BigInt.asUintN(64, hash * 1099511628211n)
  }
  const signed = BigInt.asIntN(64, hash)
  return signed < 0n ? -signed : signed
}

/** Pearson's statistic of counts against shares that are expected, those of fewer than five taken together. */
function chiSquare(
  counts: readonly number[],
  shares: readonly number[],
): { statistic: number; freedom: number } {
  const total = counts.reduce((sum, count) => sum + count, 0)
  let statistic = 0
  let cells = 0
  let restSeen = 0
  let restExpected = 0
  counts.forEach((count, index) => {
    const expected = total * (shares[index] as number)
    if (expected < 5) {
      restSeen += count
      restExpected += expected
      return
    }
    statistic += (count - expected) ** 2 / expected
    cells++
  })
  if (restExpected > 0) {
    statistic += (restSeen - restExpected) ** 2 / restExpected
    cells++
  }
  return { statistic, freedom: cells - 1 }
}

describe('the hash of keys', () => {
  test('is that of the definition, for small numbers, large ones and those around powers of two', () => {
    const random = seededRandom(7)
    const values = [0, 1, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]
    for (let index = 0; index < 2000; index++) values.push(Math.floor(unit(random) * 2 ** 53))
    for (const value of values) {
      expect(fnv64Text(value)).toBe(String(reference(value)))
      for (const items of [1, 10, 1000, 1_000_003, 93_000_000])
        expect(fnv64Modulo(value, items)).toBe(Number(reference(value) % BigInt(items)))
    }
  })

  test('is never negative: the half below zero is turned round', () => {
    for (let value = 0; value < 1000; value++) expect(fnv64(value).high).toBeLessThan(2 ** 31)
  })
})

describe('numbers', () => {
  test('of one seed are the same, of another they are others, and all of a range are as likely', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed)
      return Array.from({ length: 20 }, () => below(random, 1000))
    }
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1)).not.toEqual(draw(2))
    const random = seededRandom(3)
    const counts = Array.from({ length: 50 }, () => 0)
    for (let index = 0; index < 100_000; index++) counts[below(random, 50)]!++
    // 49 degrees of freedom: above 85.4 in one of a thousand samples; the seed is fixed.
    expect(
      chiSquare(
        counts,
        counts.map(() => 1 / 50),
      ).statistic,
    ).toBeLessThan(85.4)
  })

  test('a text has its length and no character twice as often as another', () => {
    const made = text(seededRandom(5), 36_000)
    expect(made).toMatch(/^[0-9a-z]{36000}$/)
    const counts = [...Map.groupBy(made, (character) => character).values()].map(({ length }) => length)
    expect(Math.max(...counts) / Math.min(...counts)).toBeLessThan(2)
  })
})

describe('zipfian keys', () => {
  test('have the published constants', () => {
    expect(ZIPFIAN_CONSTANT).toBe(0.99)
    expect(SCRAMBLED_ITEMS).toBe(10_000_000_000)
    expect(SCRAMBLED_ZETA).toBe(26.46902820178302)
  })

  test('are as likely as 1 / rank^0.99 says: the first two exactly, the others within what the method of Gray gives', () => {
    const items = 1000
    const zeta = Array.from({ length: items }, (_, at) => 1 / (at + 1) ** 0.99).reduce((a, b) => a + b)
    const zipfian = new Zipfian(items)
    const random = seededRandom(11)
    const draws = 400_000
    const counts = Array.from({ length: items }, () => 0)
    for (let index = 0; index < draws; index++) counts[zipfian.next(random)]!++
    const share = (rank: number): number => 1 / (rank + 1) ** 0.99 / zeta
    for (const rank of [0, 1]) {
      const expected = draws * share(rank)
      // Four standard deviations.
      expect(Math.abs(counts[rank]! - expected)).toBeLessThan(4 * Math.sqrt(expected))
    }
    // The method approximates the ranks from the third on; in tens of them it is within a few percent.
    for (let from = 10; from < items; from *= 2) {
      const ranks = Array.from({ length: Math.min(from, items - from) }, (_, at) => from + at)
      const seen = ranks.reduce((sum, rank) => sum + counts[rank]!, 0)
      const expected = draws * ranks.reduce((sum, rank) => sum + share(rank), 0)
      expect(seen / expected).toBeGreaterThan(0.9)
      expect(seen / expected).toBeLessThan(1.1)
    }
    expect(counts.reduce((a, b) => a + b)).toBe(draws)
  })

  test('adding items gives the same numbers as having had them from the start', () => {
    const grown = new Zipfian(100)
    const whole = new Zipfian(5000)
    const [first, second] = [seededRandom(2), seededRandom(2)]
    for (let index = 0; index < 1000; index++) expect(grown.next(first, 5000)).toBe(whole.next(second))
  })

  test('scrambled ones are spread over all records, and the most popular one is where the hash puts rank 0', () => {
    const items = 1000
    const scrambled = new ScrambledZipfian(items)
    const random = seededRandom(4)
    const counts = Array.from({ length: items }, () => 0)
    for (let index = 0; index < 200_000; index++) counts[scrambled.next(random)]!++
    expect(counts.indexOf(Math.max(...counts))).toBe(Number(reference(0) % 1000n))
    expect(counts.filter((count) => count > 0)).toHaveLength(items)
    // Rank 0 of ten billion is drawn once in 26.469.
    expect(Math.max(...counts) / 200_000).toBeCloseTo(1 / SCRAMBLED_ZETA, 2)
  })

  test('latest ones are the newest most often, and never one that is not there', () => {
    const latest = new Latest(10)
    const random = seededRandom(6)
    const counts = new Map<number, number>()
    for (let index = 0; index < 20_000; index++) {
      const newest = 999 + Math.floor(index / 1000)
      const ago = newest - latest.next(random, newest)
      expect(ago).toBeGreaterThanOrEqual(0)
      expect(ago).toBeLessThanOrEqual(newest)
      counts.set(ago, (counts.get(ago) ?? 0) + 1)
    }
    expect([...counts].sort((a, b) => b[1] - a[1])[0]?.[0]).toBe(0)
  })
})

test('a record counts as there once it and all before it were answered', () => {
  const counter = new AcknowledgedCounter(10)
  expect([counter.next(), counter.next(), counter.next(), counter.newest]).toEqual([10, 11, 12, 9])
  counter.acknowledge(11)
  counter.acknowledge(12)
  expect(counter.newest).toBe(9)
  counter.acknowledge(10)
  expect(counter.newest).toBe(12)
})
