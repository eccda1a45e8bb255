import { describe, expect, test } from 'vitest'
import { compareRounds, compareResults, type Compared } from '../src/compare/compare.ts'
import { permutationP, smallestP } from '../src/compare/resample.ts'
import { seededRandom, unit } from '../src/workloads/random.ts'
import { cellResult, resultsOf } from './results-made.ts'

const rates = (before: readonly number[], after: readonly number[]): Compared =>
  compareRounds('x', 'operations per second', before, after) as Compared

describe('a comparison of rounds', () => {
  test('says how much faster, where the rounds leave no doubt', () => {
    const { verdict, text, ratio } = rates([100, 102, 98, 101, 99], [110, 113, 109, 112, 108])
    expect(verdict).toBe('faster')
    expect(text).toMatch(/^faster by \d+–\d+ %$/)
    expect(ratio).toBeCloseTo(1.104, 2)
    expect(rates([110, 113, 109, 112, 108], [100, 102, 98, 101, 99]).verdict).toBe('slower')
  })

  test('sees no difference in noise', () => {
    const { verdict, text, ratio } = rates([100, 140, 90, 120, 80], [115, 105, 140, 95, 135])
    expect([verdict, text]).toEqual(['same', 'no difference seen'])
    // It would matter, if it were one.
    expect(ratio).toBeGreaterThan(1.05)
  })

  test('says that a difference is too small to matter', () => {
    const { verdict, text } = rates([1000, 1001, 1002, 1000, 1001], [1010, 1011, 1012, 1010, 1011])
    expect([verdict, text]).toEqual(['same', 'no difference that matters (1 %)'])
  })

  test('says when no result of so few rounds could exclude chance', () => {
    expect(rates([100, 101, 102], [200, 201, 202]).text).toBe('too few rounds to say')
    expect(rates([100, 101, 102, 103], [200, 201, 202, 203]).verdict).toBe('faster')
  })

  test('knows that a lower latency is the faster one', () => {
    const before = [10, 11, 10.5, 10.2]
    const after = [5, 5.5, 5.2, 5.1]
    expect(compareRounds('x', 'p99 latency', before, after)?.verdict).toBe('faster')
  })

  test('of the same thing twice is wrong no more often than it says', () => {
    const random = seededRandom(12)
    const draw = (): number[] => Array.from({ length: 5 }, () => 100 * (1 + 0.2 * (unit(random) - 0.5)))
    const wrong = Array.from({ length: 400 }, () => permutationP(draw(), draw())).filter((p) => p <= 0.05)
    // 5 % of 400 are 20, and 34 are more than three standard deviations above.
    expect(wrong.length).toBeLessThan(34)
    expect(wrong.length).toBeGreaterThan(5)
  })

  test('is exact: the two most distant of all ways to deal out', () => {
    expect(permutationP([1, 2, 3, 4], [10, 20, 30, 40])).toBeCloseTo(2 / 70)
    expect(smallestP(4, 4)).toBeCloseTo(2 / 70)
    expect(smallestP(2, 4)).toBeCloseTo(1 / 15)
    // Too many ways to walk them all.
    const many = (factor: number): number[] => Array.from({ length: 12 }, (_, at) => factor * (100 + at))
    expect(permutationP(many(1), many(2))).toBeLessThan(0.001)
  })
})

describe('a comparison of runs', () => {
  test('matches cells by what they are, and names those that one run alone has', () => {
    const before = resultsOf([
      cellResult({ writers: 1 }, [1, 1, 1, 1, 1]),
      cellResult({ writers: 4 }, [5, 5, 5, 5, 5]),
    ])
    const after = resultsOf([
      cellResult({ writers: 4 }, [9, 9.1, 9.2, 9, 9]),
      cellResult({ writers: 16 }, [1]),
    ])
    const { compared, onlyBefore, onlyAfter } = compareResults(before, after)
    expect(compared.map(({ key, measure, verdict }) => [key.includes('| 4 |'), measure, verdict])).toEqual([
      [true, 'operations per second', 'faster'],
      [true, 'p99 latency', 'same'],
    ])
    expect(onlyBefore).toHaveLength(1)
    expect(onlyAfter).toHaveLength(1)
  })

  test('warns when bare SQLite moved too, and can compare what is left beside it', () => {
    const sqlite = { subject: 'sqlite', variant: { synchronous: 'full' } }
    const before = resultsOf([
      cellResult(sqlite, [10, 10.1, 10, 10.2, 9.9]),
      cellResult({}, [50, 51, 50, 50, 49]),
    ])
    const after = resultsOf([
      cellResult(sqlite, [20, 20.1, 20, 20.2, 19.9]),
      cellResult({}, [100, 101, 100, 101, 99]),
    ])
    const plain = compareResults(before, after)
    expect(plain.warnings.join()).toMatch(/Bare SQLite itself is faster by/)
    const relative = compareResults(before, after, { relative: true })
    const ours = relative.compared.find(
      ({ key, measure }) => key.startsWith('understudy') && measure !== 'p99 latency',
    )
    expect(ours?.verdict).toBe('same')
  })
})
