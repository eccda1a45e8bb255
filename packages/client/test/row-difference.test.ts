/** The difference of two streams against a plain comparison of multisets, in any interleaving of pages. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Value } from '@understudy/protocol'
import { KEPT_BYTES_MAX, RowDifference } from '../src/row-difference.ts'

const typed = fc.oneof(
  fc.constantFrom<readonly [string, Value]>(['n', null], ['i', 1], ['r', 1], ['r', -0], ['r', 0], ['i', 0]),
  fc.string({ maxLength: 2 }).map((s): readonly [string, Value] => ['t', Buffer.from(s)]),
  fc.uint8Array({ maxLength: 2 }).map((b): readonly [string, Value] => ['b', b]),
)
const row = fc.tuple(typed, typed).map(([a, b]): readonly Value[] => [a[0] + b[0], a[1], b[1]])
const identity = (value: readonly Value[]): string =>
  JSON.stringify(value.map((v) => (v instanceof Uint8Array ? [...v] : Object.is(v, -0) ? 'minus zero' : v)))

function minus(from: readonly string[], what: readonly string[]): string[] {
  const left = [...from]
  for (const each of what) {
    const at = left.indexOf(each)
    if (at >= 0) left.splice(at, 1)
  }
  return left.sort()
}

test('what is left on each side is the difference of the multisets, however the streams interleave', () => {
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 30 }),
      fc.array(fc.nat(5), { maxLength: 30 }),
      fc.infiniteStream(fc.boolean()),
      row,
      (rows, fates, turns, extra) => {
        // Both sides come from one ordered list, with rows missing, doubled or put in.
        const sides = { leader: [] as (readonly Value[])[], node: [] as (readonly Value[])[] }
        rows.forEach((each, i) => {
          const fate = fates[i] ?? 5
          if (fate !== 0) sides.leader.push(each)
          if (fate !== 1) sides.node.push(each)
          if (fate === 2) sides.node.push(each)
          if (fate === 3) sides.leader.push(extra)
        })
        const difference = new RowDifference()
        const at = { leader: 0, node: 0 }
        while (at.leader < sides.leader.length || at.node < sides.node.length) {
          const wanted = turns.next().value === true ? 'leader' : 'node'
          const side = at[wanted] < sides[wanted].length ? wanted : wanted === 'leader' ? 'node' : 'leader'
          difference.add(side, sides[side][at[side]++] as readonly Value[])
        }
        const [a, b] = [sides.leader.map(identity), sides.node.map(identity)]
        for (const [side, left] of [
          ['leader', minus(a, b)],
          ['node', minus(b, a)],
        ] as const) {
          const only = difference.only(side, 1000)
          expect(only.count).toBe(left.length)
          const shown = only.rows.map(({ types, values }) =>
            identity([types, ...values.map((v, i) => (types[i] === 't' ? Buffer.from(String(v)) : v))]),
          )
          expect(shown.sort()).toEqual(left)
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('integers, reals, texts and blobs of the same look differ; a limit shows the first and counts all', () => {
  const difference = new RowDifference()
  difference.add('leader', ['i', 1])
  difference.add('node', ['r', 1])
  for (let id = 2; id < 10; id++) difference.add('node', ['i', id])
  expect(difference.only('leader', 100)).toEqual({ count: 1, rows: [{ types: 'i', values: [1] }] })
  const { count, rows } = difference.only('node', 2)
  expect([count, rows]).toEqual([
    9,
    [
      { types: 'r', values: [1] },
      { types: 'i', values: [2] },
    ],
  ])
})

test('rows that would be too many bytes to keep are counted and not shown', () => {
  const difference = new RowDifference()
  const big = Buffer.alloc(KEPT_BYTES_MAX / 2)
  for (let id = 0; id < 3; id++) difference.add('leader', ['ib', id, big])
  const { count, rows } = difference.only('leader', 100)
  expect([count, rows.length]).toEqual([3, 1])
  difference.add('node', ['ib', 0, big])
  difference.add('leader', ['ib', 9, big])
  expect(difference.only('leader', 100).rows.map(({ values }) => values[0])).toEqual([9])
})
