/** Tokens of a session as text, and what a session keeps of several epochs. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatToken, highestOfEach, parseToken, Session, type Token } from '../src/tokens.ts'

const hex = fc.integer({ min: 0, max: 0xffffffff }).map((word) => word.toString(16).padStart(8, '0'))
const token: fc.Arbitrary<Token> = fc.record({
  cluster: fc.tuple(hex, hex).map((words) => words.join('')),
  epoch: fc.nat(5),
  lsn: fc.integer({ min: 1, max: 999_999_999_999_999 }),
  crc: fc.integer({ min: 0, max: 0xffffffff }),
  runId: fc.constantFrom('00000000000000aa', 'ffffffffffffffff'),
})

const at = (epoch: number, lsn: number, runId = '00000000000000aa'): Token => ({
  cluster: 'c',
  epoch,
  lsn,
  crc: lsn,
  runId,
})

test('a token comes back from its text as it was, and fits into a cookie', () => {
  fc.assert(
    fc.property(token, (given) => {
      const text = formatToken(given)
      expect(text).toMatch(/^[\w.-]{1,80}$/)
      expect(parseToken(text)).toEqual(given)
    }),
  )
})

test.each([
  '',
  'u1',
  'u2.c.1.2.00000003.00000000000000aa',
  'u1.c.1.2.3.00000000000000aa',
  'u1.c.1.2.00000003.xx',
  'u1.c d.1.2.00000003.00000000000000aa',
])('%j is no token', (text) =>
  expect(() => parseToken(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' })),
)

test('of each epoch the highest is kept, in order; another run of it is another epoch', () => {
  const other = 'ffffffffffffffff'
  expect(highestOfEach([at(2, 5), at(1, 9), at(2, 3), at(1, 2)])).toEqual([at(1, 9), at(2, 5)])
  expect(highestOfEach([at(1, 9), at(1, 4, other)])).toEqual([at(1, 4, other), at(1, 9)])
})

test('a session never forgets a position before a node has said that it is implied', () => {
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), (seen) => {
      const session = new Session()
      for (const each of seen) session.saw(each)
      for (const each of seen) {
        const above = session.tokens.find(({ epoch, runId }) => epoch === each.epoch && runId === each.runId)
        expect(above?.lsn).toBeGreaterThanOrEqual(each.lsn)
      }
      expect(session.tokens.length).toBeLessThanOrEqual(12)
    }),
  )
})

test('what is implied goes, what is highest stays, and a reset begins anew', () => {
  const session = new Session()
  for (const each of [at(1, 9), at(2, 4), at(2, 7)]) session.saw(each)
  expect(session.token).toEqual(at(2, 7))
  session.implied([session.tokens[0] as Token])
  expect(session.tokens).toEqual([at(2, 7)])
  session.reset(at(1, 1))
  expect(session.tokens).toEqual([at(1, 1)])
  session.reset()
  expect(session.token).toBeUndefined()
})
