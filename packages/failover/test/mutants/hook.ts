/**
 * A module loader that breaks the code under test: `node --import …/hook.ts` with the mutant's name in MUTANT.
 *
 * 1. A text that does not occur exactly once ends the process with exit code 3: the gallery is out of date.
 * 2. So does a file that was never loaded.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { MUTANTS } from './gallery.ts'

const OUT_OF_DATE = 3
const source = new URL('../../src/', import.meta.url)
const mutant = MUTANTS.find(({ name }) => name === process.env['MUTANT'])
if (mutant === undefined) fail('no such mutant')
const waiting = new Set(mutant.edits.map(({ file }) => new URL(file, source).href))

registerHooks({
  load(url, context, nextLoad) {
    if (!waiting.delete(url)) return nextLoad(url, context)
    let text = readFileSync(fileURLToPath(url), 'utf8')
    for (const { file, find, replace } of mutant.edits) {
      if (new URL(file, source).href !== url) continue
      if (text.split(find).length !== 2) fail(`${file} does not hold this exactly once: ${find}`)
      text = text.replace(find, () => replace)
    }
    return { format: 'module-typescript', source: text, shortCircuit: true }
  },
})
process.on('exit', () => {
  for (const url of waiting) {
    process.stderr.write(`${url} was never loaded\n`)
    process.exitCode = OUT_OF_DATE
  }
})

function fail(message: string): never {
  process.stderr.write(`mutant ${process.env['MUTANT']}: ${message}\n`)
  process.exit(OUT_OF_DATE)
}
