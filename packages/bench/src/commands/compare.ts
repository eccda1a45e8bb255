/** `bench compare`: two results beside each other, with a verdict that knows about noise. */
import type { Command } from 'commander'
import { compareResults, type Comparison } from '../compare/compare.ts'
import { readResults } from '../matrix/results.ts'
import { json, table, type BenchContext, type Output } from './output.ts'

interface CompareOptions {
  readonly effect?: number
  readonly relative?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy bench compare before.json after.json
  $ understudy bench compare before.json after.json --effect 5
  $ understudy bench compare laptop.json server.json --relative --json`

export function addCompare(bench: Command, { output }: BenchContext): void {
  bench
    .command('compare')
    .description(
      'What became faster or slower between two results: a permutation test on the rounds, and a bootstrap for how much. From four rounds on each side it can tell.',
    )
    .argument('<before>', 'results')
    .argument('<after>', 'results')
    .option('--effect <percent>', 'a smaller difference does not matter (default 3)', Number)
    .option('--relative', 'compare rates against bare SQLite of the same round: for different machines')
    .option('--json', 'the comparison as one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (before: string, after: string, options: CompareOptions) => {
      const { effect, relative = false } = options
      const comparison = compareResults(await readResults(before), await readResults(after), {
        relative,
        ...(effect !== undefined && { effectMin: effect / 100 }),
      })
      if (options.json === true) output.out(json(comparison))
      else show(comparison, output)
    })
}

function show({ compared, onlyBefore, onlyAfter, warnings }: Comparison, output: Output): void {
  if (compared.length === 0) output.out('The two have no cell in common: nothing to compare.')
  else
    output.out(
      table(
        ['cell', 'measure', 'after / before', 'p', 'rounds', 'verdict'],
        compared.map(({ key, measure, ratio, p, rounds, text }) => [
          key,
          measure,
          ratio.toFixed(2),
          p.toFixed(3),
          rounds.join('+'),
          text,
        ]),
      ),
    )
  for (const key of onlyBefore) output.out(`only before: ${key}`)
  for (const key of onlyAfter) output.out(`only after: ${key}`)
  for (const warning of warnings) output.out(`note: ${warning}`)
}
