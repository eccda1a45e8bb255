/** `understudy bench acks`: what each ack policy costs, beside none, on a fast network and on slow ones. */
import type { Command } from 'commander'
import { ACK_FIGURES, ACK_FIGURE_NAMES } from '../acks/figures.ts'
import { ACK_SCENARIO_NAMES, type AckOptions } from '../acks/options.ts'
import { POLICY_NAMES } from '../acks/policies.ts'
import type { RatesByPolicy } from '../acks/rates.ts'
import { runAcks, type AcksResult } from '../acks/run.ts'
import type { Latency } from '../processes/load.ts'
import { json, names, table, type BenchContext, type Output } from './output.ts'
import { reporter, showFigures, showMachine, speaker } from './shown.ts'

const EXAMPLES = `
Examples:
  $ understudy bench acks
  $ understudy bench acks --quick
  $ understudy bench acks --only policies --policy async,durable --rounds 7
  $ understudy bench acks --only durable256At20ms --json | tail -1`

interface AcksOptions extends AckOptions {
  readonly only?: string[]
  readonly policy?: string[]
  readonly json?: boolean
}

export function addAcks(bench: Command, context: BenchContext): void {
  bench
    .command('acks')
    .description(
      'What each ack policy costs: a leader and two followers with 1, 64 and 256 writers, and with 2 and 20 ms of round trip between them. Takes about a quarter of an hour.',
    )
    .option('--rounds <number>', 'repetitions of each measurement (default 5)', Number)
    .option('--seconds <number>', 'length of each measurement (default 2)', Number)
    .option('--quick', 'one round of half a second each, to see roughly where it stands')
    .option('--only <names>', `figures or scenarios (${ACK_SCENARIO_NAMES.join(', ')}), by commas`, names)
    .option('--policy <names>', `policies (${POLICY_NAMES.join(', ')}), by commas (default all)`, names)
    .option(
      '--exclusive',
      'nothing else runs on this machine while a cluster is measured: for one that is busy (Linux, root)',
    )
    .option('--directory <path>', "a folder on the disk of the nodes (default the system's temporary folder)")
    .option('--json', 'the figures as one JSON object in the last line')
    .addHelpText('after', EXAMPLES)
    .action(async (options: AcksOptions) => {
      const { output } = context
      const say = speaker(output, options)
      const result = await runAcks(reporter(say), options)
      show(result, say)
      if (options.json === true) output.out(json({ ...result.figures, details: result.details }))
    })
}

function show({ figures, machine, settings, details }: AcksResult, say: Output['out']): void {
  showMachine(machine, say)
  const alone = settings.exclusive ? ', while which nothing else ran' : ''
  say(`${settings.rounds} rounds of ${settings.seconds} s${alone}`)
  if (details.policies !== undefined) showRates('over loopback', details.policies.policies, say)
  for (const [roundTrip, { policies, heldMs }] of Object.entries(details.delays ?? {})) {
    showRates(`+${roundTrip}`, policies, say)
    showHeld(roundTrip, heldMs, say)
  }
  showFigures(
    ACK_FIGURE_NAMES.map((name) => ({ name, rule: ACK_FIGURES[name], value: figures[name] })),
    say,
  )
}

/** A line for each policy and number of writers. */
function showRates(where: string, policies: RatesByPolicy, say: Output['out']): void {
  const rows = Object.entries(policies).flatMap(([policy, loads]) =>
    Object.entries(loads).map(([writers, rates]) => [
      policy,
      writers,
      rates.commitsPerSecond.median.toFixed(0),
      `${rates.commitsPerSecond.min.toFixed(0)}–${rates.commitsPerSecond.max.toFixed(0)}`,
      (rates.vsAsync ?? []).map((ratio) => ratio.toFixed(2)).join(' '),
      rates.p50Ms.median.toFixed(2),
      rates.p99Ms.median.toFixed(2),
      rates.leaderUs.median.toFixed(1),
      rates.followersUs.median.toFixed(1),
    ]),
  )
  const heads = ['commits/s', 'rounds', 'against async', 'p50 ms', 'p99 ms', 'leader µs', 'followers µs']
  say(table([where, 'writers', ...heads], rows))
}

function showHeld(roundTrip: string, heldMs: Readonly<Record<string, Latency>>, say: Output['out']): void {
  const each = Object.entries(heldMs).map(
    ([policy, { p50, p99 }]) => `${policy} ${p50.toFixed(2)} (p99 ${p99.toFixed(2)})`,
  )
  say(`held in one direction for +${roundTrip}, in ms: ${each.join(', ')}`)
}
