import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { addBenchCommands, writeResults } from '../src/index.ts'
import { testFolder } from './folder.ts'
import { cellResult, resultsOf } from './results-made.ts'

const folder = testFolder()

/** What a command line prints; rejects with what it fails with. */
async function run(...words: string[]): Promise<string> {
  const printed: string[] = []
  const output = { out: (line: string) => void printed.push(line), error: () => undefined }
  const program = new Command('bench')
    .exitOverride()
    .configureOutput({ writeOut: (text) => void printed.push(text), writeErr: () => undefined })
  addBenchCommands(program, { output, words })
  await program.parseAsync(words, { from: 'user' })
  return printed.join('\n')
}

async function kept(name: string, rates: readonly number[]): Promise<string> {
  const file = path.join(folder.path, name)
  await writeResults(file, resultsOf([cellResult({}, rates)]))
  return file
}

describe('the command line', () => {
  test('makes the table and the page of results that were kept', async () => {
    const file = await kept('a.json', [1000, 1100, 1200])
    const page = path.join(folder.path, 'a.html')
    const printed = await run('report', file, '--html', page)
    expect(printed).toMatch(/understudy row\/tcp\/async\/client +inserts +16 +1,100 +1,000–1,200/)
    expect(await readFile(page, 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
  })

  test('compares two results in words and as JSON', async () => {
    const before = await kept('a.json', [100, 101, 102, 100, 101])
    const after = await kept('b.json', [120, 121, 122, 120, 123])
    expect(await run('compare', before, after)).toMatch(
      /operations per second +1\.20 +0\.008 +5\+5 +faster by \d+–\d+ %/,
    )
    const [line] = (await run('compare', before, after, '--json', '--effect', '30')).split('\n')
    expect(JSON.parse(line as string)).toMatchObject({
      compared: [{ verdict: 'same' }, { measure: 'p99 latency' }],
    })
  })

  test('without a name of a command is the comparison, and says what is wrong before anything is measured', async () => {
    await expect(run('--format', 'rows')).rejects.toThrow(/There is no log format rows; nothing was measured/)
    await expect(run('--workload', 'insert')).rejects.toThrow(/Workloads: inserts, /)
    await expect(run('--peers', 'oracle')).rejects.toThrow(/Peers: sqlite/)
    await expect(run('--writers', '1,x')).rejects.toThrow(/positive whole numbers/)
    await expect(run('report', path.join(folder.path, 'nothing.json'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })

  test('has an example for every command', () => {
    const helps: string[] = []
    const program = new Command('bench')
    addBenchCommands(program, { output: { out: () => undefined, error: () => undefined }, words: [] })
    for (const command of program.commands) {
      command.configureOutput({ writeOut: (text) => void helps.push(text) })
      command.outputHelp()
    }
    for (const command of program.commands)
      expect(helps.join('\n')).toContain(
        `understudy bench ${command.name() === 'run' ? '--quick' : command.name()}`,
      )
  })
})
