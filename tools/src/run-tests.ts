/**
 * `npm test`: runs the tests of every package through nx and ends with a line of totals.
 *
 *   npm test -- [--json] [--fresh] [package …]
 *
 * `--json` makes the last line one JSON object instead; `--fresh` ignores nx's cache. The cache stands inside the
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
  type PackageRun,
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

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, fresh: { type: 'boolean', default: false } },
  })
  const root = repositoryRoot()
  const wanted = readWorkspace(root).packages.filter(
    (each) =>
      positionals.length === 0 ||
      positionals.includes(each.name) ||
      positionals.includes(each.name.split('/')[1] ?? ''),
  )
  const packages = wanted.filter(hasTests)
  const cache = process.env['NX_CACHE_DIRECTORY'] ?? '.nx/cache'
  const runFile = join(isAbsolute(cache) ? cache : join(root, cache), 'run.json')
  for (const owner of packages) rmSync(join(owner.folder, RESULTS), { force: true })
  rmSync(runFile, { force: true })

  const projects = packages.map((each) => each.name).join(',')
  const args = ['nx', 'run-many', '-t', 'test', '-p', projects, '--output-style=stream-without-prefixes']
  if (values.fresh) args.push('--skip-nx-cache')
  const started = Date.now()
  const nx =
    packages.length === 0
      ? undefined
      : spawnSync('npx', args, {
          cwd: root,
          // With --json the test output goes to stderr, so that stdout is the one object.
          stdio: ['ignore', values.json ? 2 : 1, 2],
          env: { ...process.env, NX_CACHE_DIRECTORY: cache },
        })

  const runText = readIfThere(runFile)
  const run = runText === undefined ? undefined : (JSON.parse(runText) as NxRun)
  const counts = packages.map((owner) => {
    const input: PackageRun = {
      name: owner.name,
      hasTests: true,
      outcome: outcomeOf(run, owner.name),
      results: readIfThere(join(owner.folder, RESULTS)),
    }
    return countPackage(input)
  })
  const totals = sumTotals(counts)
  const ok = totals.failed === 0 && nx?.status === 0
  const seconds = (Date.now() - started) / 1000
  if (values.json) console.log(JSON.stringify({ ok, ...totals, seconds, packages: counts }))
  else {
    console.log(`\n${formatTable(counts)}\n`)
    if (!ok && totals.failed === 0) console.log('The test run itself failed, see above.')
    console.log(formatTotals(ok || totals.failed > 0 ? totals : { ...totals, failed: 1 }))
  }
  return ok ? 0 : 1
}

process.exitCode = main()
