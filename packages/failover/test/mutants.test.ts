/** Every broken build of the gallery is found by the simulation, and breaks what the gallery says. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { MUTANTS, profileOf } from './mutants/gallery.ts'
import { INVARIANTS } from './simulation/checker.ts'

const HOOK = new URL('./mutants/hook.ts', import.meta.url).href
const RUNNER = fileURLToPath(new URL('./mutants/run.ts', import.meta.url))
const SEEDS = 2000

function run(name: string, profile: string): Promise<string> {
  const args = [
    '--conditions=@understudy/source',
    '--disable-warning=ExperimentalWarning',
    '--import',
    HOOK,
    RUNNER,
  ]
  const { promise, resolve } = Promise.withResolvers<string>()
  const env = { ...process.env, MUTANT: name }
  execFile(process.execPath, [...args, String(SEEDS), profile], { env }, (_, stdout, stderr) =>
    resolve(stdout + stderr),
  )
  return promise
}

describe('mutants are found', { timeout: 120_000 }, () => {
  test.each(MUTANTS)('$name', async (mutant) => {
    const output = await run(
      mutant.name,
      mutant.isOfDriver === true ? 'driver' : JSON.stringify(profileOf(mutant)),
    )
    const found = /^breach (\w+):/m.exec(output)?.[1]
    if (found === undefined) throw new Error(`not found: ${output}`)
    expect(mutant.breaks).toContain(found)
  })
})

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README lists every invariant, and no other', () => {
  const listed = [...readme.matchAll(/^\| (E\d) \| (.*?) \|$/gm)]
  expect(Object.fromEntries(listed.map(([, id, text]) => [id, text]))).toEqual(INVARIANTS)
})

test('the README lists every mutant with what finds it, and no other', () => {
  const listed = [...readme.matchAll(/^\| `([\w-]+)` \| (.*?) \| (E[\dE, ]*) \|$/gm)]
  expect(listed.map(([, ...row]) => row)).toEqual(
    MUTANTS.map(({ name, what, breaks }) => [name, what, breaks.join(', ')]),
  )
})
