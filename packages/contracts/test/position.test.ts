import { expect, test } from 'vitest'
import { comparePositions, epochAt, formatPosition, parsePosition, type EpochEntry } from '../src/index.ts'

test('a position is written as epoch/lsn and read back', () => {
  expect(formatPosition({ epoch: 3, lsn: 1042 })).toBe('3/1042')
  expect(parsePosition('3/1042')).toEqual({ epoch: 3, lsn: 1042 })
  expect(parsePosition('0/0')).toEqual({ epoch: 0, lsn: 0 })
  for (const text of [
    '',
    '3',
    '3/',
    '/1',
    '3/-1',
    '3/1.5',
    ' 3/1',
    '3/1 ',
    '3/1/1',
    `1/${'9'.repeat(16)}`,
    '0x3/1',
  ])
    expect({ text, position: parsePosition(text) }).toEqual({ text, position: undefined })
})

test('positions are compared by epoch, then by LSN', () => {
  const inOrder = [
    { epoch: 1, lsn: 5 },
    { epoch: 1, lsn: 6 },
    { epoch: 2, lsn: 6 },
    { epoch: 10, lsn: 7 },
  ]
  for (const [i, a] of inOrder.entries())
    for (const [j, b] of inOrder.entries()) expect(Math.sign(comparePositions(a, b))).toBe(Math.sign(i - j))
})

test('the epoch of a record is the last that began at or before it', () => {
  const entry = (number: number, firstLsn: number): EpochEntry => ({
    number,
    firstLsn,
    runId: '00c0ffee00c0ffee',
    leader: 'a',
    crcBefore: 0,
  })
  const history = [entry(1, 3), entry(4, 10)]
  expect([2, 3, 9, 10, 99].map((lsn) => epochAt(history, lsn)?.number)).toEqual([undefined, 1, 1, 4, 4])
  expect(epochAt([], 1)).toBeUndefined()
})
