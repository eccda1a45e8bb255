import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  checkAckedWrites,
  explainAckedWrites,
  type AckedWritesRule,
  type FinalRow,
} from '../../src/history/acked-writes.ts'
import type { Operation } from '../../src/history/linearizability.ts'
import { add, op } from './brute-force.ts'

interface Kept {
  operations: Operation[]
  rows: FinalRow[]
}

/** Each write takes ten milliseconds, four of them at once; the final order is the one in which they happened. */
function kept(count: number): Kept {
  const operations = Array.from({ length: count }, (_, n): Operation => {
    const position = `1/${n}`
    if (n % 50 === 7)
      return op({ kind: 'add', value: n, error: 'NOT_WRITTEN' }, n * 2.5, n * 2.5 + 10, 'fail')
    if (n % 50 === 9) return op({ kind: 'add', value: n }, n * 2.5)
    return op({ kind: 'add', value: n, position }, n * 2.5, n * 2.5 + 10)
  })
  const rows = operations
    .filter(({ outcome, value }) => outcome === 'ok' || (outcome === 'unknown' && Number(value) % 100 === 9))
    .map(({ value = null, position }) => ({ value, ...(position !== undefined && { position }) }))
  return { operations, rows }
}

test('a hundred thousand writes that are all there pass in a moment', () => {
  const { operations, rows } = kept(100_000)
  const begin = process.cpuUsage()
  const report = checkAckedWrites(operations, rows)
  const { user, system } = process.cpuUsage(begin)
  expect(report).toMatchObject({
    verdict: 'kept',
    acked: 96_000,
    denied: 2000,
    unknown: 2000,
    unknownKept: 1000,
    rows: 97_000,
  })
  expect((user + system) / 1e6).toBeLessThan(5)
})

const PLANTED: [AckedWritesRule, (kept: Kept) => void][] = [
  [
    'lost',
    ({ rows }) =>
      void rows.splice(
        rows.findIndex(({ value }) => value === 500),
        1,
      ),
  ],
  ['twice', ({ rows }) => void rows.push(rows[500]!)],
  ['denied', ({ rows }) => void rows.push({ value: 957 })],
  ['invented', ({ rows }) => void rows.push({ value: 'nobody' })],
  ['order', ({ rows }) => void rows.splice(100, 0, ...rows.splice(500, 1))],
  ['moved', ({ rows }) => void rows.splice(500, 1, { ...rows[500]!, position: '2/1' })],
  ['shared', ({ operations }) => void (operations[500] = { ...operations[500]!, position: '1/3' })],
]

test.for(PLANTED)('%s is caught', ([rule, plant]) => {
  const history = kept(1000)
  expect(checkAckedWrites(history.operations, history.rows).verdict).toBe('kept')
  plant(history)
  const report = checkAckedWrites(history.operations, history.rows)
  expect(report.verdict).toBe('broken')
  expect(report.counts[rule]).toBeGreaterThan(0)
  expect(explainAckedWrites(report)).toContain(`\n${rule}: `)
})

test('the order is exactly the one that no pair of rows contradicts', () => {
  const seen = new Set<string>()
  const writes = fc.array(fc.tuple(fc.nat(20), fc.integer({ min: 0, max: 6 })), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(writes, (times) => {
      const operations = times.map(([from, length], n) => add(n, from, from + length))
      const contradicted = operations.some((first, n) =>
        operations.slice(n + 1).some((second) => second.completedAtMs < first.invokedAtMs),
      )
      const report = checkAckedWrites(
        operations,
        operations.map(({ value = null }) => ({ value })),
      )
      seen.add(report.verdict)
      expect(report.verdict).toBe(contradicted ? 'broken' : 'kept')
    }),
    { numRuns: 2000 },
  )
  expect(seen.size).toBe(2)
})
