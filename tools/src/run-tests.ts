/**
 * `npm test`: runs the tests of every package through nx and ends with a line of totals.
 *
 *   npm test -- [--json] [--fresh] [--failed-before step]… [package …]
 *
 * `--json` makes the last line one JSON object instead; `--fresh` ignores nx's cache. Each
 * `--failed-before` names a step that failed before the tests, which counts as one failure. The cache stands inside the
 * checkout, so that another checkout's success is never taken for this one's; the totals are counted from result files
 * that this run wrote, the old ones being removed first. Exit code 1 on any failure, on a package with test files that
 * left no results, or on results that cannot be read.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  countPackage,
  formatTable,
  formatTotals,
  sumTotals,
  type PackageCount,
  type TaskOutcome,
} from './results.ts'
import { readWorkspace, repositoryRoot, sourceFiles, type Package } from './workspace.ts'

const RESULTS = '.vitest/results.json'

/** What nx writes about its last run. */
interface NxRun {
  readonly tasks: readonly {
    readonly projectName: string
    readonly target: string
    readonly cacheStatus: string
    readonly status: number
  }[]
}

function hasTests(owner: Package): boolean {
  return sourceFiles(owner.folder).some(
    (file) => file.startsWith('test/') && file.endsWith('.test.ts') && !file.endsWith('.slow.test.ts'),
  )
}

function outcomeOf(run: NxRun | undefined, name: string): TaskOutcome {
  const task = run?.tasks.find((each) => each.projectName === name && each.target === 'test')
  if (task === undefined) return undefined
  if (task.cacheStatus !== 'cache-miss') return 'cached'
  return task.status === 0 ? 'passed' : 'failed'
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

function failedStep(name: string, failure: string): PackageCount {
  return { name, state: 'broken', passed: 0, failed: 1, skipped: 0, seconds: 0, failures: [failure] }
}

/** The packages asked for by name, with or without scope; all when none is named. */
function choose(packages: readonly Package[], names: readonly string[]): Package[] {
  const shortName = (each: Package): string => each.name.split('/').at(-1) ?? ''
  const unknown = names.filter((name) =>
    packages.every((each) => each.name !== name && shortName(each) !== name),
  )
  if (unknown.length > 0) throw new Error(`no package is called ${unknown.join(' or ')}`)
  return packages.filter(
    (each) => names.length === 0 || names.includes(each.name) || names.includes(shortName(each)),
  )
}

/** Runs the packages' tests and counts what they left. */
function runPackages(
  root: string,
  packages: readonly Package[],
  fresh: boolean,
  stdout: 1 | 2,
): PackageCount[] {
  if (packages.length === 0) return [failedStep('tests', 'there is no test file')]
  const cache = process.env['NX_CACHE_DIRECTORY'] ?? '.nx/cache'
  const runFile = join(isAbsolute(cache) ? cache : join(root, cache), 'run.json')
  for (const owner of packages) rmSync(join(owner.folder, RESULTS), { force: true })
  rmSync(runFile, { force: true })

  const projects = packages.map((each) => each.name).join(',')
  const args = ['nx', 'run-many', '-t', 'test', '-p', projects, '--output-style=static']
  if (fresh) args.push('--skip-nx-cache')
  const env = { ...process.env, NX_CACHE_DIRECTORY: cache }
  const nx = spawnSync('npx', args, { cwd: root, stdio: ['ignore', stdout, 2], env })

  const runText = readIfThere(runFile)
  const run = runText === undefined ? undefined : (JSON.parse(runText) as NxRun)
  const counts = packages.map((owner) =>
    countPackage({
      name: owner.name,
      hasTests: true,
      outcome: outcomeOf(run, owner.name),
      results: readIfThere(join(owner.folder, RESULTS)),
    }),
  )
  const blamed = counts.some((each) => each.failed > 0)
  return nx.status === 0 || blamed ? counts : [...counts, failedStep('nx', 'the run failed, see above')]
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
      'failed-before': { type: 'string', multiple: true, default: [] },
    },
  })
  const root = repositoryRoot()
  const started = performance.now()
  const packages = choose(readWorkspace(root).packages, positionals).filter(hasTests)
  const before = values['failed-before'].map((name) => failedStep(name, 'failed before the tests, see above'))
  // With --json the tests' output goes to stderr, so that stdout is the one object.
  const counts = [...before, ...runPackages(root, packages, values.fresh, values.json ? 2 : 1)]
  const totals = sumTotals(counts)
  const ok = totals.failed === 0
  const seconds = Math.round(performance.now() - started) / 1000
  if (values.json) console.log(JSON.stringify({ ok, ...totals, seconds, packages: counts }))
  else console.log(`\n${formatTable(counts)}\n\n${formatTotals(totals)}`)
  return ok ? 0 : 1
}

try {
  process.exitCode = main()
} catch (error) {
  console.error(error)
  console.log(formatTotals({ passed: 0, failed: 1, skipped: 0 }))
  process.exitCode = 1
}
