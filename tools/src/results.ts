/**
 * Counts tests from the result files that one run left behind.
 *
 * Decides what a package's run amounts to; leaves running and printing to run-tests.ts. A package is
 * 1. `ran`: it left results that can be read;
 * 2. `cached`: nx took its success from the cache; nothing ran, nothing is counted;
 * 3. `none`: it has no test files;
 * 4. `broken`: it has test files, yet left no readable results. That is one failure.
 * A run that nx calls failed while its results show none (an error outside any test, a coverage limit) is one failure.
 */

/** How nx saw a package's test task; `undefined` when it had none. */
export type TaskOutcome = 'passed' | 'failed' | 'cached' | undefined

export interface PackageRun {
  readonly name: string
  readonly hasTests: boolean
  readonly outcome: TaskOutcome
  /** Text of the results file, `undefined` when there is none. */
  readonly results: string | undefined
}

export interface PackageCount {
  readonly name: string
  readonly state: 'ran' | 'cached' | 'none' | 'broken'
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly seconds: number
  /** What failed, one line each. */
  readonly failures: readonly string[]
}

export interface Totals {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** The part of vitest's JSON report (that of Jest) that counts. */
interface VitestReport {
  readonly startTime: number
  readonly testResults: readonly VitestFile[]
}

interface VitestFile {
  readonly name: string
  readonly status: string
  readonly message?: string
  readonly endTime?: number
  readonly assertionResults: readonly {
    readonly fullName: string
    readonly status: string
    readonly failureMessages?: readonly string[] | null
  }[]
}

export function countPackage(run: PackageRun): PackageCount {
  const nothing = { name: run.name, passed: 0, failed: 0, skipped: 0, seconds: 0, failures: [] }
  if (run.outcome === 'cached') return { ...nothing, state: 'cached' }
  if (run.results === undefined) {
    if (!run.hasTests && run.outcome !== 'failed') return { ...nothing, state: 'none' }
    return { ...nothing, state: 'broken', failed: 1, failures: ['left no results'] }
  }
  const report = parseReport(run.results)
  if (report === undefined)
    return { ...nothing, state: 'broken', failed: 1, failures: ['left results that cannot be read'] }
  return countReport(run, report)
}

function countReport(run: PackageRun, report: VitestReport): PackageCount {
  const assertions = report.testResults.flatMap((file) => file.assertionResults)
  const passed = assertions.filter((each) => each.status === 'passed').length
  const failedTests = assertions.filter((each) => each.status === 'failed')
  const failures = failedTests.map((each) => `${each.fullName}: ${firstLine(each.failureMessages?.[0])}`)
  for (const file of report.testResults)
    if (file.status === 'failed' && file.assertionResults.every((each) => each.status !== 'failed'))
      failures.push(`${file.name}: ${firstLine(file.message)}`)
  if (run.outcome === 'failed' && failures.length === 0) failures.push('the run failed outside of its tests')
  const end = Math.max(report.startTime, ...report.testResults.map((file) => file.endTime ?? 0))
  return {
    name: run.name,
    state: 'ran',
    passed,
    failed: failures.length,
    skipped: assertions.length - passed - failedTests.length,
    seconds: (end - report.startTime) / 1000,
    failures,
  }
}

function firstLine(message: string | undefined): string {
  return message?.split('\n', 1)[0] ?? 'no message'
}

/** `undefined` when the text is no report. */
function parseReport(text: string): VitestReport | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const report = value as Partial<VitestReport> | null
  if (typeof report !== 'object' || report === null || typeof report.startTime !== 'number') return undefined
  if (!Array.isArray(report.testResults)) return undefined
  const whole = report.testResults.every((file: Partial<VitestFile> | null) =>
    Array.isArray(file?.assertionResults),
  )
  return whole ? (report as VitestReport) : undefined
}

export function sumTotals(counts: readonly PackageCount[]): Totals {
  const sum = (of: (count: PackageCount) => number): number => counts.reduce((all, each) => all + of(each), 0)
  return {
    passed: sum((each) => each.passed),
    failed: sum((each) => each.failed),
    skipped: sum((each) => each.skipped),
  }
}

/** `12 passed, 0 failed`, with `, 1 skipped` when there is one. */
export function formatTotals({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Failures by package, then one row per package that has tests. */
export function formatTable(counts: readonly PackageCount[]): string {
  const rows = counts.filter((each) => each.state !== 'none')
  const width = Math.max(7, ...rows.map((each) => each.name.length))
  const cells = [8, 8, 8, 9] as const
  const line = (name: string, ...values: readonly string[]): string =>
    name.padEnd(width) + values.map((value, index) => value.padStart(cells[index] ?? 0)).join('')
  const failures = rows.flatMap((each) => each.failures.map((failure) => `FAILED  ${each.name}  ${failure}`))
  const body = rows.map((each) =>
    each.state === 'cached'
      ? `${each.name.padEnd(width)}  not run: unchanged since it passed, result from the cache`
      : line(each.name, `${each.passed}`, `${each.failed}`, `${each.skipped}`, each.seconds.toFixed(1)),
  )
  return [...failures, line('package', 'passed', 'failed', 'skipped', 'seconds'), ...body].join('\n')
}
