/** `bench`, without another word: the comparison. Cells of the matrix, a table, JSON with the samples, a page with plots. */
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { systemClock, UnderstudyError } from '@understudy/contracts'
import { FORMAT_NAMES } from '../formats.ts'
import { MEASURES, type MatrixOptions } from '../matrix/options.ts'
import { readResults, writeResults, type Results } from '../matrix/results.ts'
import { runMatrix } from '../matrix/runner.ts'
import { PEER_NAMES } from '../subjects/registry.ts'
import { ACK_NAMES } from '../acks/policies.ts'
import { CALLER_NAMES, WIRE_NAMES } from '../subjects/understudy.ts'
import { WORKLOAD_NAMES } from '../workloads/registry.ts'
import { counts, names, numbers, type BenchContext } from './output.ts'
import { progress } from './progress.ts'
import { writeReport } from './report.ts'
import { showMachine } from './shown.ts'
import { showResults } from './show-results.ts'

interface RunOptions extends MatrixOptions {
  readonly json?: string
  readonly html?: string
  readonly resume?: string
}

const EXAMPLES = `
Examples:
  $ understudy bench --quick --html report.html
  $ understudy bench --format row,wal --transport tcp --ack async,semi-sync --writers 1,64 --workload inserts,ycsb-a
  $ understudy bench --resume full.json --html full.html
  $ understudy bench --workload ./my-workload.ts --database my.db --peers none
  $ understudy bench --workload updates --rate 5000 --measure lag,staleness
  $ understudy bench --workload inserts --ack async,semi-sync --kill-leader --json loss.json`

export function addRun(bench: Command, context: BenchContext): void {
  const command = bench
    .command('run', { isDefault: true })
    .description(
      'Formats, transports, ack policies and peers side by side under the same workloads, on this machine.',
    )
  addMatrixOptions(command)
  command
    .option('--json <file>', 'results with the samples of every round, written after each cell')
    .option('--html <file>', 'a page with plots, which needs nothing else')
    .option(
      '--resume <file>',
      'goes on with the results in this file, and writes to it after each cell; it may not be there yet',
    )
    .addHelpText('after', EXAMPLES)
    .action((options: RunOptions) => run(options, context))
}

function addMatrixOptions(command: Command): void {
  const list = (known: readonly string[]): string => known.join(', ')
  command
    .option('--quick', 'a first picture in less than two minutes')
    .option('--format <names>', `log formats (${list(FORMAT_NAMES)}), by commas`, names)
    .option('--transport <names>', `transports (${list(WIRE_NAMES)})`, names)
    .option('--ack <names>', `ack policies (${list(ACK_NAMES)})`, names)
    .option('--callers <names>', `where the callers are (${list(CALLER_NAMES)}); default client`, names)
    .option('--writers <numbers>', 'writers at once, by commas (default 1,16,64,256)', counts)
    .option(
      '--workload <names>',
      `workloads (${list(WORKLOAD_NAMES)}), or paths of modules of your own`,
      names,
    )
    .option('--peers <names>', `databases beside it (${list(PEER_NAMES)}, none); default sqlite`, names)
    .option('--peer <files>', 'paths of modules with peers of your own', names)
    .option('--database <file>', 'a SQLite database to begin with; it is only read')
    .option('--rows <number>', "rows to begin with, in place of the workload's own number", Number)
    .option('--rate <number>', 'operations per second that arrive: an open loop', Number)
    .option('--round-trip <ms>', 'added between the leader and its followers, by commas (default 0)', numbers)
    .option('--exclusive', 'nothing else runs while something is measured (Linux, root)')
    .option('--measure <names>', `beside rates and latencies (${list(MEASURES)})`, names)
    .option(
      '--kill-leader',
      'kill the leader under load, and look for what was acknowledged (workload inserts)',
    )
    .option('--rounds <number>', 'repetitions, interleaved (default 5)', Number)
    .option('--seconds <number>', 'length of each measurement (default 3)', Number)
    .option('--warm-up-seconds <number>', 'before each of them (default a third of it)', Number)
    .option('--followers <number>', 'followers of each leader, 0 to 8 (default 2)', Number)
    .option('--together <number>', 'instances that run at a time (default 8)', Number)
    .option('--seed <number>', 'of all random numbers (default 1)', Number)
    .option('--directory <path>', "a folder on the disk to measure (default the system's temporary folder)")
}

async function run(
  { json, html, resume, ...options }: RunOptions,
  { output, words }: BenchContext,
): Promise<void> {
  const say = (line: string): void => output.error(line)
  const file = resume ?? json
  const before = resume !== undefined && existsSync(resume) ? await readResults(resume) : undefined
  const stop = new AbortController()
  const stopped = (): void => stop.abort()
  process.once('SIGINT', stopped)
  try {
    const results = await runMatrix(progress(say, systemClock()), {
      ...options,
      command: ['bench', ...words].join(' '),
      signal: stop.signal,
      ...(before && { resume: before }),
      ...(file !== undefined && { keep: (so: Results) => writeResults(file, so) }),
    })
    await finish(results, { output, words }, file, json, html)
  } catch (error) {
    throw stop.signal.aborted ? aborted(file, error) : error
  } finally {
    process.off('SIGINT', stopped)
  }
}

async function finish(
  results: Results,
  { output }: BenchContext,
  file: string | undefined,
  json: string | undefined,
  html: string | undefined,
): Promise<void> {
  const say = (line: string): void => output.out(line)
  showMachine(results.machine, say)
  showResults(results, say)
  for (const path of new Set([file, json])) {
    if (path === undefined) continue
    await writeResults(path, results)
    say(`results: ${path}`)
  }
  if (html !== undefined) {
    await writeReport(html, results, writeFile)
    say(`report: ${html}`)
  }
}

function aborted(file: string | undefined, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    file === undefined
      ? 'The benchmark was stopped; its results were not kept. Give --resume FILE to be able to go on.'
      : `The benchmark was stopped; the cells that are done are in ${file}. Go on with --resume ${file}.`,
    { cause },
  )
}
