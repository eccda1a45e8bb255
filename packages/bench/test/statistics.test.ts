import { describe, expect, test } from 'vitest'
import { median, ratios, summarize } from '../src/index.ts'

describe('statistics', () => {
  test('the median of an odd number of values is one of them, of an even number the mean of the middle two', () => {
    expect(median([30, 1, 2])).toBe(2)
    expect(median([4, 1, 100, 2])).toBe(3)
    expect(median([])).toBeNaN()
  })

  test('a summary keeps the order of its values', () => {
    expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, values: [3, 1, 2] })
  })

  test('ratios are taken within a round, so that a slow round does not move their median', () => {
    expect(median(ratios([80, 8, 81], [100, 10, 100]))).toBe(0.8)
    expect(() => ratios([1], [1, 2])).toThrow(RangeError)
  })
})
