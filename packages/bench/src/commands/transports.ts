/** `bench transports`: transports beside bare sockets, and nodes beside hostile connections. */
import type { Command } from 'commander'
import { FORMAT_NAMES } from '../formats.ts'
import { TRANSPORT_FIGURES, TRANSPORT_FIGURE_NAMES } from '../transports/figures.ts'
import { TRANSPORT_NAMES } from '../transports/kinds.ts'
import { TRANSPORT_SCENARIO_NAMES, type TransportOptions } from '../transports/options.ts'
import { runTransports, type TransportsResult } from '../transports/run.ts'
import { json, names, table, type BenchContext, type Output } from './output.ts'
import { reporter, rounded, showFigures, showMachine, speaker } from './shown.ts'

const TRANSPORT_EXAMPLES = `
Examples:
  $ understudy bench transports
  $ understudy bench transports --only throughput --transport tcp,tls --rounds 3
  $ understudy bench transports --only hostile --strangers 500 --hostile-seconds 10
  $ understudy bench transports --json | tail -1`

interface TransportsOptions extends TransportOptions {
  readonly only?: string[]
  readonly transport?: string[]
  readonly format?: string[]
  readonly json?: boolean
}

export function addTransports(bench: Command, context: BenchContext): void {
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
