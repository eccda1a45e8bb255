/** `bench core` and `bench formats`: the core figures beside bare SQLite, with their targets; those of the log formats alone. */
import type { Command } from 'commander'
import { runCore, type CoreResult } from '../core.ts'
import { FIGURES, FIGURE_NAMES } from '../figures.ts'
import { FORMAT_NAMES, type FormatName } from '../formats.ts'
import { SCENARIO_NAMES, type CoreOptions } from '../options.ts'
import type { FormatFigures } from '../scenarios/formats.ts'
import { json, names, table, type BenchContext, type Output } from './output.ts'
import { reporter, rounded, showFigures, showMachine, speaker } from './shown.ts'

interface BenchOptions {
  readonly rounds?: number
  readonly seconds?: number
  readonly only?: string[]
  readonly format?: string[]
  readonly stopSeconds?: number
  readonly bootstrapMib?: number
  readonly catchupRows?: number
  readonly directory?: string
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy bench core
  $ understudy bench core --only commits,lag --rounds 3 --seconds 2
  $ understudy bench core --only formats --format row,wal
  $ understudy bench core --directory /mnt/disk --json | tail -1`

const FORMATS_EXAMPLES = `
Examples:
  $ understudy bench formats
  $ understudy bench formats --format row,wal --rounds 3`

export function addCore(bench: Command, context: BenchContext): void {
  bench
    .command('core')
    .description(
      'A leader and a streaming follower beside bare SQLite on the same disk. Takes several minutes and gigabytes of disk.',
    )
    .option('--rounds <number>', 'repetitions of each measurement (default 5)', Number)
    .option('--seconds <number>', 'length of each measurement under load (default 3)', Number)
    .option('--only <names>', `figures or scenarios (${SCENARIO_NAMES.join(', ')}), by commas`, names)
    .option(
      '--format <names>',
      `log formats that the scenario formats compares (${FORMAT_NAMES.join(', ')}), by commas (default all)`,
      names,
    )
    .option('--stop-seconds <number>', 'how long the follower is stopped (default 120)', Number)
    .option('--bootstrap-mib <number>', 'size of the bootstrapped database (default 1024)', Number)
    .option('--catchup-rows <number>', 'rows written while the follower is down (default 1,000,000)', Number)
    .option('--directory <path>', "a folder on the disk to measure (default the system's temporary folder)")
    .option('--json', 'the figures as one JSON object in the last line')
    .addHelpText('after', EXAMPLES)
    .action((options: BenchOptions) => measure(options, context))
}

/** The log formats alone: `core --only formats`. */
export function addFormats(bench: Command, context: BenchContext): void {
  bench
    .command('formats')
    .description('The log formats beside each other and beside bare SQLite: commits, lag, bytes, catch-up.')
    .option('--rounds <number>', 'repetitions of each measurement (default 5)', Number)
    .option('--seconds <number>', 'length of each measurement under load, at most 2 (default 2)', Number)
    .option('--format <names>', `log formats (${FORMAT_NAMES.join(', ')}), by commas (default all)`, names)
    .option(
      '--catchup-rows <number>',
      'rows written while a follower is down, at most 300,000 (default)',
      Number,
    )
    .option('--directory <path>', "a folder on the disk to measure (default the system's temporary folder)")
    .option('--json', 'the figures as one JSON object in the last line')
    .addHelpText('after', FORMATS_EXAMPLES)
    .action((options: BenchOptions) => measure({ ...options, only: ['formats'] }, context))
}

async function measure(options: BenchOptions, { output }: BenchContext): Promise<void> {
  const say = speaker(output, options)
  const result = await runCore(reporter(say), coreOptions(options))
  show(result, say)
  showFormats(result, say)
  if (options.json === true) output.out(json({ ...result.figures, ...formatsOf(result) }))
}

function coreOptions({ bootstrapMib, ...options }: BenchOptions): CoreOptions {
  return { ...options, ...(bootstrapMib !== undefined && { bootstrapMiB: bootstrapMib }) }
}

/** `null` for a format that was left out. */
function formatsOf({ formats }: CoreResult): Readonly<Record<FormatName, FormatFigures | null>> {
  const of = (name: FormatName): FormatFigures | null => formats?.[name] ?? null
  return { row: of('row'), statement: of('statement'), wal: of('wal') }
}

/** A line for each key, a column for each format. */
function showFormats({ formats }: CoreResult, say: Output['out']): void {
  const measured = Object.entries(formats ?? {})
  const first = measured[0]?.[1]
  if (first === undefined) return
  const rows = (Object.keys(first) as (keyof FormatFigures)[]).map((key) => [
    key,
    ...measured.map(([, values]) => {
      const value = values[key]
      return value === null ? '' : value.toFixed(value < 100 ? 2 : 0)
    }),
  ])
  say(table(['by format', ...measured.map(([name]) => name)], rows))
}

function show({ figures, machine, settings, details }: CoreResult, say: Output['out']): void {
  const { rounds, seconds, stopSeconds, bootstrapMiB, catchupRows } = settings
  showMachine(machine, say)
  say(
    `${rounds} rounds of ${seconds} s; bootstrap of ${bootstrapMiB} MiB; ${catchupRows} rows to catch up; follower stopped for ${stopSeconds} s`,
  )
  for (const [scenario, values] of Object.entries(details)) say(`${scenario} ${json(rounded(values))}`)
  showFigures(
    FIGURE_NAMES.map((name) => ({ name, rule: FIGURES[name], value: figures[name] })),
    say,
  )
}
