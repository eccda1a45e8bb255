/**
 * Writes the table of SQLite features into README.md from the results of a test run:
 * `npm run feature-table` after `npm test`, `-- --check` to compare only.
 *
 * Decides how the log-format suite's results read as a table: one row per feature, one column per log format. Leaves
 * running the suite to the tests.
 *
 * 1. A run of the suite is named `format` or `format, variant`. Variants share the column; where they differ, each
 *    outcome is followed by the variants that it holds for.
 * 2. A feature is refused where the tests that the format says so, with this code, passed.
 * 3. Other groups of tests within a run are no features.
 * 4. A feature that a run neither carried nor refused is none that the format can have: not by nature.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './workspace.ts'

interface Assertion {
  readonly ancestorTitles: readonly string[]
  readonly title: string
  readonly status: string
}

/** The part of vitest's JSON report that the table is made of. */
export interface SuiteReport {
  readonly testResults: readonly { readonly assertionResults: readonly Assertion[] }[]
}

/** What one run of the suite says, by feature. */
type Outcomes = Map<string, string>

const BEGIN = '<!-- features: begin, written by npm run feature-table -->'
const END = '<!-- features: end -->'
const SUITE = /^log format suite: (.+)$/
const REFUSES = /^refuses (.+) with ([A-Z_]+)$/
const NOT_RUN: ReadonlySet<string> = new Set(['skipped', 'pending', 'todo'])
const BY_NATURE = 'not by nature'

/** The table as Markdown. Throws when the report holds no run of the suite. */
export function featureTable(report: SuiteReport): string {
  const runs = readRuns(report)
  if (runs.size === 0) throw new Error('the results hold no run of the log format suite: run npm test first')
  const features = new Set([...runs.values()].flatMap((outcomes) => [...outcomes.keys()]))
  const formats = [...new Set([...runs.keys()].map(formatOf))].sort(inOrder)
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    row(['feature', ...formats]),
    row(['---', ...formats.map(() => ':-:')]),
    ...[...features].map((feature) =>
      row([feature, ...formats.map((format) => cell(runs, format, feature))]),
    ),
  ].join('\n')
}

function readRuns(report: SuiteReport): Map<string, Outcomes> {
  const runs = new Map<string, Outcomes>()
  for (const { ancestorTitles, title, status } of report.testResults.flatMap(
    (file) => file.assertionResults,
  )) {
    const run = SUITE.exec(ancestorTitles[0] ?? '')?.[1]
    const group = ancestorTitles[1]
    const refused = group === undefined ? null : REFUSES.exec(group)
    if (run === undefined || (group !== undefined && refused === null)) continue
    const outcomes = runs.get(run) ?? new Map<string, string>()
    runs.set(run, outcomes)
    const feature = refused?.[1] ?? title
    const outcome = refused === null ? 'yes' : `refused: ${refused[2] ?? ''}`
    outcomes.set(feature, worst(outcomes.get(feature), status === 'passed' ? outcome : failing(status)))
  }
  return runs
}

function failing(status: string): string {
  return NOT_RUN.has(status) ? 'not run' : '**no**'
}

/** Of several tests of one feature, the one that failed counts. */
function worst(a: string | undefined, b: string): string {
  for (const bad of ['**no**', 'not run']) if (a === bad || b === bad) return bad
  return b
}

function cell(runs: ReadonlyMap<string, Outcomes>, format: string, feature: string): string {
  const variants = new Map<string, string[]>()
  for (const [run, outcomes] of runs) {
    if (formatOf(run) !== format) continue
    const outcome = outcomes.get(feature) ?? BY_NATURE
    variants.set(outcome, [...(variants.get(outcome) ?? []), run.slice(format.length + 2)])
  }
  const [only, ...others] = variants.keys()
  if (only !== undefined && others.length === 0) return only
  return [...variants].map(([outcome, names]) => `${outcome} (${names.join('; ')})`).join(', ')
}

function formatOf(run: string): string {
  return run.split(', ')[0] ?? run
}

const ORDER = ['row', 'statement', 'wal']

/** The formats of this repository first, any other after them by name. */
function inOrder(a: string, b: string): number {
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  return place(a) - place(b) || (a < b ? -1 : 1)
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
