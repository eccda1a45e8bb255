/** `understudy bench rejoin`: how long a former leader with a lost tail takes to follow again, and how much travels. */
import type { Command } from 'commander'
import { REJOIN_FIGURES, REJOIN_FIGURE_NAMES, TAIL_NAMES } from '../rejoin/figures.ts'
import type { RejoinOptions } from '../rejoin/options.ts'
import { runRejoin, type RejoinResult } from '../rejoin/run.ts'
import { json, names, type BenchContext, type Output } from './output.ts'
import { reporter, showFigures, showMachine, speaker } from './shown.ts'

const EXAMPLES = `
Examples:
  $ understudy bench rejoin
  $ understudy bench rejoin --size-mib 64 --only row,schema
  $ understudy bench rejoin --json | tail -1`

interface Options extends Omit<RejoinOptions, 'sizeMiB'> {
  readonly sizeMib?: number
  readonly only?: string[]
  readonly json?: boolean
}

export function addRejoin(bench: Command, context: BenchContext): void {
  bench
    .command('rejoin')
    .description(
      'How long a killed leader with a lost tail takes to follow the new one, and how many bytes of a full copy travel, by what the tail holds. Takes about three minutes and 5 GiB of disk.',
    )
    .option('--size-mib <number>', 'size of the database (default 1024)', Number)
    .option('--commits <number>', 'commits in the lost tail (default 1000)', Number)
    .option('--only <names>', `kinds of tails (${TAIL_NAMES.join(', ')}), by commas`, names)
    .option('--directory <path>', "a folder on the disk of the nodes (default the system's temporary folder)")
    .option('--json', 'the figures as one JSON object in the last line')
    .addHelpText('after', EXAMPLES)
    .action(async ({ sizeMib, ...options }: Options) => {
      const { output } = context
      const say = speaker(output, options)
      const result = await runRejoin(reporter(say), {
        ...options,
        ...(sizeMib !== undefined && { sizeMiB: sizeMib }),
      })
      show(result, say)
      if (options.json === true) output.out(json({ ...result.figures, details: result.details }))
    })
}

function show({ figures, machine, settings, details }: RejoinResult, say: Output['out']): void {
  showMachine(machine, say)
  say(
    `${settings.commits} lost commits, a database of ${Math.round(details.databaseBytes / 1024 ** 2)} MiB; a full copy: ${details.copySeconds.toFixed(2)} s`,
  )
  showFigures(
    REJOIN_FIGURE_NAMES.map((name) => ({ name, rule: REJOIN_FIGURES[name], value: figures[name] })),
    say,
  )
}
