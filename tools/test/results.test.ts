import { describe, expect, test } from 'vitest'
import { countPackage, formatTable, formatTotals, sumTotals, type PackageRun } from '../src/results.ts'

const report = (...files: object[]): string =>
  JSON.stringify({ startTime: 1000, numPassedTests: 99, testResults: files })

const file = (status: string, ...assertions: string[]): object => ({
  name: '/x/test/a.test.ts',
  status,
  message: status === 'failed' ? 'SyntaxError: boom\n  at line 1' : '',
  endTime: 3500,
  assertionResults: assertions.map((each, index) => ({
    fullName: `case ${index}`,
    status: each,
    failureMessages: each === 'failed' ? ['expected 1 to be 2\n  at line 7'] : [],
  })),
})

const run = (change: Partial<PackageRun>): PackageRun => ({
  name: 'p',
  hasTests: true,
  outcome: 'passed',
  results: report(file('passed', 'passed')),
  ...change,
})

describe('counting one package', () => {
  test('passed, failed and skipped tests come from the assertions, not from the summary', () => {
    const results = report(file('failed', 'passed', 'failed', 'skipped'), file('passed', 'passed', 'todo'))
    expect(countPackage(run({ outcome: 'failed', results }))).toEqual({
      name: 'p',
      state: 'ran',
      passed: 2,
      failed: 1,
      skipped: 2,
      seconds: 2.5,
      failures: ['case 1: expected 1 to be 2'],
    })
  })

  test('a file that could not be loaded is one failure', () => {
    const count = countPackage(run({ outcome: 'failed', results: report(file('failed')) }))
    expect(count.failed).toBe(1)
    expect(count.failures).toEqual(['/x/test/a.test.ts: SyntaxError: boom'])
  })

  test('a file whose hook failed after its tests had passed is one failure', () => {
    const count = countPackage(run({ outcome: 'failed', results: report(file('failed', 'passed')) }))
    expect([count.passed, count.failed]).toEqual([1, 1])
  })

  test('a run that failed although each test passed is one failure', () => {
    const count = countPackage(run({ outcome: 'failed' }))
    expect([count.passed, count.failed, count.failures]).toEqual([
      1,
      1,
      ['the run failed outside of its tests'],
    ])
  })

  test('test files without results are one failure', () => {
    expect(countPackage(run({ results: undefined }))).toMatchObject({ state: 'broken', failed: 1 })
    expect(countPackage(run({ results: undefined, outcome: undefined }))).toMatchObject({ state: 'broken' })
  })

  test.each([
    '',
    '{',
    'null',
    '[]',
    '{"startTime":1}',
    '{"startTime":1,"testResults":[{}]}',
    '{"startTime":1,"testResults":[null]}',
  ])('results that are %j are one failure', (results) => {
    expect(countPackage(run({ results }))).toMatchObject({ state: 'broken', passed: 0, failed: 1 })
  })

  test('a success from the cache counts nothing, even beside an old results file', () => {
    expect(countPackage(run({ outcome: 'cached' }))).toMatchObject({ state: 'cached', passed: 0, failed: 0 })
  })

  test('a package without test files is nothing, unless its task failed', () => {
    const without = run({ hasTests: false, results: undefined })
    expect(countPackage({ ...without, outcome: undefined })).toMatchObject({ state: 'none', failed: 0 })
    expect(countPackage({ ...without, outcome: 'failed' })).toMatchObject({ state: 'broken', failed: 1 })
  })
})

describe('the report', () => {
  test('totals add up and name skipped tests only when there are some', () => {
    const counts = [
      countPackage(run({ results: report(file('passed', 'passed', 'passed')) })),
      countPackage(run({ outcome: 'failed', results: report(file('failed', 'passed', 'failed')) })),
    ]
    expect(formatTotals(sumTotals(counts))).toBe('3 passed, 1 failed')
    expect(formatTotals({ passed: 3, failed: 0, skipped: 2 })).toBe('3 passed, 0 failed, 2 skipped')
  })

  test('the table names failures first and a cached package as not run', () => {
    const table = formatTable([
      countPackage(
        run({
          name: '@understudy/log',
          outcome: 'failed',
          results: report(file('failed', 'passed', 'failed')),
        }),
      ),
      countPackage(run({ name: '@understudy/node', outcome: 'cached' })),
      countPackage(run({ name: '@understudy/cli', hasTests: false, outcome: undefined, results: undefined })),
    ])
    expect(`\n${table}\n`).toBe(`
FAILED  @understudy/log  case 1: expected 1 to be 2
package           passed  failed skipped  seconds
@understudy/log        1       1       0      2.5
@understudy/node  not run: unchanged since it passed, result from the cache
`)
  })
})
