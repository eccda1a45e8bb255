import { expect, test } from 'vitest'
import { leftBy, type Peer } from '../src/abandoned.ts'

const alive: Peer['suspicion'] = { state: 'alive', silentMs: 50 }
const silent: Peer['suspicion'] = { state: 'suspected', cause: 'silence', silentMs: 2000 }
const never: Peer['suspicion'] = { state: 'unreachable', cause: 'silence', silentMs: Infinity }
const gone: Peer['suspicion'] = { state: 'unreachable', cause: 'connection-refused', silentMs: 2000 }

test.for<[string, Omit<Peer, 'name'>[], string]>([
  ['both are silent', [{ suspicion: silent }, { suspicion: silent }], 'b c'],
  ['one is silent', [{ suspicion: silent }, { suspicion: alive }], ''],
  [
    'one is silent, the other one says that it hears nothing',
    [{ suspicion: silent }, { suspicion: alive, hears: false }],
    'b c',
  ],
  [
    'both are heard, and hear nothing',
    [
      { suspicion: alive, hears: false },
      { suspicion: alive, hears: false },
    ],
    'b c',
  ],
  [
    'both hear',
    [
      { suspicion: alive, hears: true },
      { suspicion: alive, hears: true },
    ],
    '',
  ],
  ['both were never there', [{ suspicion: never }, { suspicion: never }], ''],
  ['both are down', [{ suspicion: gone }, { suspicion: gone }], ''],
  ['one is down, one silent', [{ suspicion: gone }, { suspicion: silent }], ''],
  [
    'two of four are silent',
    [{ suspicion: silent }, { suspicion: silent }, { suspicion: alive }, { suspicion: alive }],
    '',
  ],
  [
    'three of four are silent',
    [{ suspicion: silent }, { suspicion: silent }, { suspicion: silent }, { suspicion: alive }],
    'b c d',
  ],
  ['nobody else is a member', [], ''],
])('%s', ([, peers, left]) => {
  const named = peers.map((peer, index) => ({ name: 'bcde'[index] ?? '', ...peer }))
  expect(leftBy(named, 'majority').join(' ')).toBe(left)
})

test('a quorum of all needs all, one of one is enough for one', () => {
  const peers = [
    { name: 'b', suspicion: silent },
    { name: 'c', suspicion: alive },
  ]
  expect(leftBy(peers, 'all')).toEqual([])
  expect(leftBy(peers, 1)).toEqual(['b'])
})
