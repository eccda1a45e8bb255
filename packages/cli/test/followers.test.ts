import { expect, test } from 'vitest'
import { describeLag, duration, followersOf } from '../src/followers.ts'

test('a lag reads as three numbers, and as unknown where it is', () => {
  const lag = { records: 12, bytes: 3174, ageMs: 40.2, ageIsAtLeast: false }
  expect(describeLag(lag)).toBe('12 records, 3.1 KiB, 40 ms')
  expect(describeLag({ ...lag, records: 1, ageMs: 3210, ageIsAtLeast: true })).toBe(
    '1 record, 3.1 KiB, ≥ 3.2 s',
  )
  expect(describeLag({ ...lag, bytes: undefined })).toBe('12 records, bytes unknown, 40 ms')
  expect(describeLag({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })).toBe('none')
  // JSON has no undefined.
  expect([describeLag(undefined), describeLag(null)]).toEqual(['unknown', 'unknown'])
})

test('durations are as coarse as they are long', () => {
  expect([0.4, 999, 59_900, 150_000, 7_200_000, 200_000_000].map(duration)).toEqual([
    '0 ms',
    '999 ms',
    '59.9 s',
    '3 min',
    '2 h',
    '2 d',
  ])
})

test('a node without followers has no tables', () => {
  expect(followersOf({ node: 'a' } as Parameters<typeof followersOf>[0])).toEqual([])
})
