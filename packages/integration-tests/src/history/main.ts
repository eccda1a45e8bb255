/**
 * `npm run check:history -- <file> [--json] [--steps N]`: judges a history that a test recorded.
 *
 * Exit code 0 when it is kept, 1 when it is broken, 2 when it is undecided or cannot be read.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { checkHistory } from '@understudy/testkit/check-history'
import { parseHistory } from '@understudy/testkit/history'

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, steps: { type: 'string' } },
  })
  const [file] = positionals
  const stepsMax = values.steps === undefined ? undefined : Number(values.steps)
  if (file === undefined || positionals.length > 1 || Number.isNaN(stepsMax)) {
    console.error('One file is needed: npm run check:history -- <file> [--json] [--steps N]')
    return 2
  }
  // npm runs this in the folder of the package; the file is named from where npm was called.
  const path = resolve(process.env['INIT_CWD'] ?? '.', file)
  const began = performance.now()
  const history = parseHistory(readFileSync(path, 'utf8'))
  const { verdict, operations, explanation } = checkHistory(
    history,
    stepsMax === undefined ? {} : { stepsMax },
  )
  const seconds = (performance.now() - began) / 1000
  if (values.json)
    console.log(JSON.stringify({ verdict, operations, model: history.model, seconds, explanation }))
  else console.log(`${explanation}\n${verdict}: ${operations} operations in ${seconds.toFixed(2)} s`)
  return verdict === 'kept' ? 0 : verdict === 'broken' ? 1 : 2
}

try {
  process.exitCode = main()
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  process.exitCode = 2
}
