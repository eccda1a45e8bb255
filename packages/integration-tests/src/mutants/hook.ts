/**
 * A module loader that breaks the code under test: `node --import …/hook.ts` with the mutant's name in MUTANT.
 *
 * The text of the mutant is replaced while its file is loaded, so that no switch exists in the code itself.
 *
 * 1. A text that does not occur exactly once ends the process with exit code 3: the gallery is out of date.
 * 2. So does a file that was never loaded: the scenario would pass for the wrong reason.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { MUTANTS } from './mutants.ts'

export const OUT_OF_DATE = 3

const name = process.env['MUTANT']
const mutant = MUTANTS.find((candidate) => candidate.name === name)
if (mutant === undefined) fail(`no mutant is called ${name}`)

const root = new URL('../../../../', import.meta.url)
const waiting = new Set(mutant.edits.map(({ file }) => new URL(file, root).href))

registerHooks({
  load(url, context, nextLoad) {
    if (!waiting.has(url)) return nextLoad(url, context)
    waiting.delete(url)
    let source = readFileSync(fileURLToPath(url), 'utf8')
    for (const edit of mutant.edits) {
      if (new URL(edit.file, root).href !== url) continue
      if (source.split(edit.find).length !== 2)
        fail(`${edit.file} does not hold this exactly once: ${edit.find}`)
      source = source.replace(edit.find, () => edit.replace)
    }
    return { format: 'module-typescript', source, shortCircuit: true }
  },
})
process.on('exit', () => {
  for (const url of waiting) {
    console.error(`mutant ${name}: ${url} was never loaded`)
    process.exitCode = OUT_OF_DATE
  }
})

function fail(message: string): never {
  console.error(`mutant ${name}: ${message}`)
  process.exit(OUT_OF_DATE)
}
