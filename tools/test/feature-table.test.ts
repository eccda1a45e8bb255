import { expect, test } from 'vitest'
import { featureTable, replaceTable } from '../src/feature-table.ts'

const passed = (run: string, title: string, group?: string) => result(run, title, 'passed', group)

function result(run: string, title: string, status: string, group?: string) {
  return { ancestorTitles: [run, ...(group === undefined ? [] : [group])], title, status }
}

const row = 'log format suite: row'
const wal = 'log format suite: wal, 1024-byte pages'
const refuse = 'log format suite: statement, unsafe: refuse'
const asRows = 'log format suite: statement, unsafe: row'

const table = (...assertionResults: ReturnType<typeof result>[]): string[] =>
  featureTable({ testResults: [{ assertionResults }] })
    .split('\n')
    .slice(2)

test('each feature is a row, each format a column, in the order of this repository', () => {
  const assertionResults = [
    passed(wal, 'triggers'),
    passed(asRows, 'triggers'),
    passed('another suite', 'noise'),
    passed(wal, 'a base cannot be applied', 'physical'),
    passed(row, 'triggers'),
  ]
  expect(featureTable({ testResults: [{ assertionResults }] })).toBe(
    [
      '| feature | row | statement | wal |',
      '| --- | :-: | :-: | :-: |',
      '| triggers | yes | yes | yes |',
    ].join('\n'),
  )
})

test('a refusal is told by its code, and fails with the first of its tests that fails', () => {
  const group = 'refuses keys with NULL_IN_PRIMARY_KEY'
  expect(
    table(passed(wal, 'keys'), passed(row, 'on insert', group), passed(row, 'on update', group)),
  ).toEqual(['| keys | refused: NULL_IN_PRIMARY_KEY | yes |'])
  expect(
    table(passed(wal, 'keys'), result(row, 'on insert', 'failed', group), passed(row, 'on update', group)),
  ).toEqual(['| keys | **no** | yes |'])
})

test('variants of a format share its column, and are named where they differ', () => {
  const group = 'refuses chance with STATEMENT_UNSAFE'
  expect(
    table(
      passed(refuse, 'triggers'),
      passed(asRows, 'triggers'),
      passed(refuse, 'in a value', group),
      passed(asRows, 'chance'),
    ),
  ).toEqual([
    '| triggers | yes |',
    '| chance | refused: STATEMENT_UNSAFE (unsafe: refuse), yes (unsafe: row) |',
  ])
})

test('what failed, was skipped or is nothing for a format is said', () => {
  expect(
    table(
      result(row, 'triggers', 'failed'),
      result(row, 'views', 'skipped'),
      passed(wal, 'triggers'),
      passed(wal, 'equal files'),
    ),
  ).toEqual([
    '| triggers | **no** | yes |',
    '| views | not run | not by nature |',
    '| equal files | not by nature | yes |',
  ])
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
