/** What a person sees of rows that differ. */
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { showDifferences } from '../src/differences.ts'
import { showDivergence } from '../src/divergence.ts'

function lines(show: (output: { out(line: string): void; error(line: string): void }) => void): string[] {
  const shown: string[] = []
  show({
    out: (line) => void shown.push(stripVTControlCharacters(line)),
    error: (line) => void shown.push(line),
  })
  return shown
}

test('rows of each side with names of columns, types told apart, and a count of the rest', () => {
  const side = {
    table: 'note',
    node: 'b',
    key: ['id'],
    columns: ['id', 'v'],
    onlyLeader: { count: 3, rows: [{ types: 'ir', values: [1, 1] }] },
    onlyNode: { count: 1, rows: [{ types: 'ib', values: [2, Uint8Array.of(255)] }] },
    complete: true,
  }
  expect(lines((output) => showDifferences([side], output))).toEqual([
    'note on b (by id): 3 rows only on the leader, 1 only on b',
    '  - id=1 v=1.0',
    '  - and 2 more',
    "  + id=2 v=x'ff'",
  ])
  const [head] = lines((output) => showDifferences([{ ...side, key: [], complete: false }], output))
  expect(head).toBe(
    'note on b (whole rows, there is no key): at least 3 rows only on the leader, at least 1 only on b',
  )
})

test('a divergence names statements, tables and own rows, at most ten for a person and all as JSON', () => {
  const changes = Array.from({ length: 12 }, (_, i) => ({
    operation: 'insert' as const,
    before: [],
    after: [i, `row ${i}`],
  }))
  const report = {
    message: 'no',
    statements: ['insert into t'],
    tables: [{ table: 't', leaderRows: 11, ownRows: 12, changes }],
  }
  const text = lines((output) => showDivergence(report, output, false))
  expect(text.slice(1, 4)).toEqual([
    '  insert into t',
    '  t: 11 rows changed on the leader, 12 here',
    '    insert [0,"row 0"]',
  ])
  expect(text.at(-1)).toBe('    and 2 more')
  expect(JSON.parse(lines((output) => showDivergence(report, output, true))[0] ?? '')).toEqual({
    kind: 'divergence',
    ...report,
  })
})
