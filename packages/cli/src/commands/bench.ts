/**
 * `understudy bench core`: the core figures beside bare SQLite, with their targets. `understudy bench transports`:
 * transports beside bare sockets, and nodes beside hostile connections.
 */
import type { Command } from 'commander'
import {
  FIGURES,
  FIGURE_NAMES,
  FORMAT_NAMES,
  SCENARIO_NAMES,
  TRANSPORT_FIGURES,
  TRANSPORT_FIGURE_NAMES,
  TRANSPORT_NAMES,
  TRANSPORT_SCENARIO_NAMES,
  runCore,
  runTransports,
  type CoreOptions,
  type CoreResult,
  type FormatFigures,
  type FormatName,
  type TransportOptions,
  type TransportsResult,
} from '@understudy/bench'
import { names } from '../arguments.ts'
import { json, table, type Output } from '../output.ts'
import type { CommandContext } from '../program.ts'
import { addAcks } from './bench-acks.ts'
import { addRejoin } from './bench-rejoin.ts'
import { reporter, rounded, showFigures, showMachine, speaker } from './bench-shown.ts'

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

const TRANSPORT_EXAMPLES = `
Examples:
  $ understudy bench transports
  $ understudy bench transports --only throughput --transport tcp,tls --rounds 3
  $ understudy bench transports --only hostile --strangers 500 --hostile-seconds 10
  $ understudy bench transports --json | tail -1`

export function addBenchCommand(program: Command, context: CommandContext): void {
  const bench = program.command('bench').description('Measure this machine.')
  addCore(bench, context)
  addTransports(bench, context)
  addAcks(bench, context)
  addRejoin(bench, context)
}

function addCore(bench: Command, context: CommandContext): void {
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
    .action(async (options: BenchOptions) => {
      const { output } = context
      const say = speaker(output, options)
      const result = await runCore(reporter(say), coreOptions(options))
      show(result, say)
      showFormats(result, say)
      if (options.json === true) output.out(json({ ...result.figures, ...formatsOf(result) }))
    })
}

interface TransportsOptions extends TransportOptions {
  readonly only?: string[]
  readonly transport?: string[]
  readonly format?: string[]
  readonly json?: boolean
}

function addTransports(bench: Command, context: CommandContext): void {
  bench
    .command('transports')
    .description(
      'Transports beside bare sockets over loopback, a node beside hostile connections, and compression. Takes about a quarter of an hour.',
    )
    .option('--rounds <number>', 'repetitions of each measurement (default 5)', Number)
    .option(
      '--seconds <number>',
      'length of each measurement of throughput and compression (default 1)',
      Number,
    )
    .option('--hostile-seconds <number>', 'the same beside hostile connections (default 6)', Number)
    .option('--strangers <number>', 'hostile connections, and idle clients (default 1000)', Number)
    .option(
      '--only <names>',
      `figures or scenarios (${TRANSPORT_SCENARIO_NAMES.join(', ')}), by commas`,
      names,
    )
    .option(
      '--transport <names>',
      `transports (${TRANSPORT_NAMES.join(', ')}), by commas (default all)`,
      names,
    )
    .option(
      '--format <names>',
      `log formats that are compressed (${FORMAT_NAMES.join(', ')}), by commas (default all)`,
      names,
    )
    .option('--directory <path>', "a folder on the disk of the nodes (default the system's temporary folder)")
    .option('--json', 'the figures as one JSON object in the last line')
    .addHelpText('after', TRANSPORT_EXAMPLES)
    .action(async (options: TransportsOptions) => {
      const { output } = context
      const say = speaker(output, options)
      const result = await runTransports(reporter(say), options)
      showTransports(result, say)
      if (options.json === true) output.out(json({ ...result.figures, details: result.details }))
    })
}

function showTransports({ figures, machine, settings, details }: TransportsResult, say: Output['out']): void {
  const { rounds, seconds, hostileSeconds, strangers } = settings
  showMachine(machine, say)
  say(
    `${rounds} rounds of ${seconds} s, beside hostile connections of ${hostileSeconds} s; ${strangers} of them`,
  )
  showRates(details.throughput, say)
  for (const [scenario, values] of Object.entries(details))
    if (scenario !== 'throughput') say(`${scenario} ${json(rounded(values))}`)
  showFigures(
    TRANSPORT_FIGURE_NAMES.map((name) => ({ name, rule: TRANSPORT_FIGURES[name], value: figures[name] })),
    say,
  )
}

/** A line for each kind of connection and size of message. */
function showRates(details: TransportsResult['details']['throughput'], say: Output['out']): void {
  if (details === undefined) return
  const rows = Object.entries(details.kinds).flatMap(([kind, sizes]) =>
    Object.entries(sizes).map(([size, rates]) => [
      kind,
      size,
      rates.messagesPerSecond.median.toFixed(0),
      rates.megabytesPerSecond.toFixed(0),
      rates.sendNs.toFixed(0),
      rates.receiveNs.toFixed(0),
      (rates.vsBare ?? []).map((ratio) => ratio.toFixed(2)).join(' '),
    ]),
  )
  say(
    table(
      ['connection', 'size', 'messages/s', 'MB/s', 'ns to send', 'to receive', 'against the bare one'],
      rows,
    ),
  )
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
