/** Every mutant of the gallery is caught, by the scenario and for the reason that the gallery names. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { INVARIANTS } from '../src/simulation/breach.ts'
import { MUTANTS } from '../src/mutants/mutants.ts'
import { SCENARIOS } from '../src/mutants/scenarios.ts'

const HOOK = new URL('../src/mutants/hook.ts', import.meta.url).href
const RUNNER = fileURLToPath(new URL('../src/mutants/run-scenario.ts', import.meta.url))

interface Run {
  readonly exitCode: number
  readonly output: string
}

/** As many processes at once as a small machine has cores. */
class Lanes {
  #free = 2
  readonly #waiting: (() => void)[] = []

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#free--
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }
}
const lanes = new Lanes()

function run(scenario: string, mutant?: string): Promise<Run> {
  return lanes.use(() => runNow(scenario, mutant))
}

/** Runs a scenario in a process of its own, with a mutant if one is named. */
function runNow(scenario: string, mutant?: string): Promise<Run> {
  const args = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']
  if (mutant !== undefined) args.push('--import', HOOK)
  const env = { ...process.env, ...(mutant !== undefined && { MUTANT: mutant }) }
  const { promise, resolve } = Promise.withResolvers<Run>()
  const child = execFile(process.execPath, [...args, RUNNER, scenario], { env }, (_, stdout, stderr) =>
    resolve({ exitCode: child.exitCode ?? -1, output: `${stdout}${stderr}` }),
  )
  return promise
}

describe.concurrent('scenarios hold with the code as it is', { timeout: 120_000 }, () => {
  test.each(Object.keys(SCENARIOS))('%s', async (scenario) => {
    expect(await run(scenario)).toEqual({ exitCode: 0, output: 'held\n' })
  })
})

describe.concurrent('mutants are caught', { timeout: 120_000 }, () => {
  test.each(MUTANTS)('$name', async ({ name, scenario, breaks }) => {
    const { exitCode, output } = await run(scenario, name)
    const found = /^breach (\w+):/m.exec(output)?.[1]
    if (exitCode !== 1 || found === undefined) throw new Error(`${name} was not caught: ${output}`)
    expect(breaks).toContain(found)
  })
})

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the README lists every invariant, and no other', () => {
  const listed = [...readme.matchAll(/^\| (\w+) \| (.*?) \|$/gm)].filter(([, id]) =>
    /^[A-Z]\d+$/.test(id ?? ''),
  )
  expect(Object.fromEntries(listed.map(([, id, text]) => [id, text]))).toEqual(INVARIANTS)
})

test('the README lists every mutant with what catches it, and no other', () => {
  const listed = [...readme.matchAll(/^\| `([\w-]+)` \| (.*?) \| `(\w+)` \| (.*?) \|$/gm)]
  expect(listed.map(([, ...row]) => row)).toEqual(
    MUTANTS.map(({ name, what, scenario, breaks }) => [name, what, scenario, breaks.join(', ')]),
  )
})
