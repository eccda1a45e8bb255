import { expect, test } from 'vitest'
import { featureTable, replaceTable } from '../src/feature-table.ts'

const result = (run: string, title: string, status: string) => ({
  ancestorTitles: [run],
  title,
  status,
})

test('each feature is a row, each run of the suite a column', () => {
  const assertionResults = [
    result('log format suite: row', 'triggers', 'passed'),
    result('log format suite: wal', 'triggers', 'failed'),
    result('log format suite: wal', 'FTS5', 'skipped'),
    result('another suite', 'noise', 'passed'),
  ]
  expect(featureTable({ testResults: [{ assertionResults }] })).toBe(
    [
      '| feature | row | wal |',
      '| --- | :-: | :-: |',
      '| triggers | yes | **no** |',
      '| FTS5 |  | not run |',
    ].join('\n'),
  )
})

test('results without the suite make no empty table', () => {
  expect(() => featureTable({ testResults: [] })).toThrow(/run npm test first/)
})

test('only what stands between the marks changes', () => {
  const text =
    'a\n<!-- features: begin, written by npm run feature-table -->\nold\n<!-- features: end -->\nb\n'
  expect(replaceTable(text, 'new')).toBe(
    'a\n<!-- features: begin, written by npm run feature-table -->\n\nnew\n\n<!-- features: end -->\nb\n',
  )
  expect(() => replaceTable('nothing', 'new')).toThrow(/lacks the lines/)
})
