/** `bench report`: the page with plots, from results that were kept. */
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { readResults, type Results } from '../matrix/results.ts'
import type { BenchContext } from './output.ts'
import { showResults } from './show-results.ts'

const EXAMPLES = `
Examples:
  $ understudy bench report full.json
  $ understudy bench report full.json --html full.html`

export function addReport(bench: Command, { output }: BenchContext): void {
  bench
    .command('report')
    .description('The table, and a page with plots, from results that were kept with --json.')
    .argument('<file>', 'results')
    .option('--html <file>', 'where the page goes')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, { html }: { readonly html?: string }) => {
      const results = await readResults(file)
      showResults(results, (line) => output.out(line))
      if (html === undefined) return
      await writeReport(html, results, writeFile)
      output.out(`report: ${html}`)
    })
}

/** The library of the plots is loaded for this alone: it is larger than all of the rest. */
export async function writeReport(
  file: string,
  results: Results,
  write: (file: string, text: string) => Promise<void>,
): Promise<void> {
  const { reportPage } = await import('../report/page.ts')
  await write(file, reportPage(results))
}
