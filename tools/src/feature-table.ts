/**
 * Writes the table of SQLite features into README.md from the results of a test run:
 * `npm run feature-table` after `npm test`, `-- --check` to compare only.
 *
 * Decides how the log-format suite's results read as a table: one row per feature, one column per run of the suite
 * (a log format with its options). Leaves running the suite to the tests.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './workspace.ts'

/** The part of vitest's JSON report that the table is made of. */
export interface SuiteReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[]
      readonly title: string
      readonly status: string
    }[]
  }[]
}

const BEGIN = '<!-- features: begin, written by npm run feature-table -->'
const END = '<!-- features: end -->'
const SUITE = /^log format suite: (.+)$/
const MARKS: Readonly<Record<string, string>> = {
  passed: 'yes',
  failed: '**no**',
  skipped: 'not run',
  pending: 'not run',
}

/** The table as Markdown. Throws when the report holds no run of the suite. */
export function featureTable(report: SuiteReport): string {
  const runs: string[] = []
  const features = new Map<string, Map<string, string>>()
  for (const { ancestorTitles, title, status } of report.testResults.flatMap(
    (file) => file.assertionResults,
  )) {
    const run = SUITE.exec(ancestorTitles[0] ?? '')?.[1]
    if (run === undefined) continue
    if (!runs.includes(run)) runs.push(run)
    const cells = features.get(title) ?? new Map<string, string>()
    cells.set(run, MARKS[status] ?? status)
    features.set(title, cells)
  }
  if (runs.length === 0)
    throw new Error('the results hold no run of the log format suite: run npm test first')
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    row(['feature', ...runs]),
    row(['---', ...runs.map(() => ':-:')]),
    ...[...features].map(([feature, cells]) => row([feature, ...runs.map((run) => cells.get(run) ?? '')])),
  ].join('\n')
}

/** `text` with what stands between the marks replaced. Throws when the marks are missing. */
export function replaceTable(text: string, table: string): string {
  const begin = text.indexOf(BEGIN)
  const end = text.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`README.md lacks the lines '${BEGIN}' and '${END}'`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${text.slice(end)}`
}

if (import.meta.main) {
  const results = join(repositoryRoot(), 'packages/integration-tests/.vitest/results.json')
  const readme = join(repositoryRoot(), 'README.md')
  const before = readFileSync(readme, 'utf8')
  const after = replaceTable(before, featureTable(JSON.parse(readFileSync(results, 'utf8')) as SuiteReport))
  if (!process.argv.includes('--check')) writeFileSync(readme, after)
  else if (after !== before) {
    console.error('the table of features in README.md is not that of the last run; run npm run feature-table')
    process.exitCode = 1
  }
}
