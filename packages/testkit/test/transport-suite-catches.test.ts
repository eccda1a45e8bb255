/** The suite of transports fails where it must: each breach of the contract by the test that is there for it. */
import { execFile } from 'node:child_process'
import { mkdtempDisposableSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { BREACHES } from './breaches/breaches.ts'

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

/** Of the named suites and tests, which passed and which did not. */
async function run(pattern: string): Promise<{ readonly name: string; readonly passed: boolean }[]> {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'breaches-'))
  const outputFile = join(folder.path, 'report.json')
  const vitest = join(dirname(fileURLToPath(import.meta.resolve('vitest/package.json'))), 'vitest.mjs')
  await new Promise<void>((resolve) => {
    const { VITEST: _inside, VITEST_WORKER_ID: _worker, VITEST_POOL_ID: _pool, ...env } = process.env
    execFile(
      process.execPath,
      [
        vitest,
        'run',
        '--config',
        'test/breaches/vitest.config.ts',
        '--outputFile',
        outputFile,
        '-t',
        pattern,
      ],
      { cwd: join(import.meta.dirname, '..'), env },
      // It ends with an error where tests failed: the report tells.
      () => resolve(),
    )
  })
  const report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report
  return report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed' || status === 'failed')
    .map(({ fullName, status }) => ({ name: fullName, passed: status === 'passed' }))
}

test('each breach is caught by the test that is there for it, which passes on sound transports', async () => {
  const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const wanted = BREACHES.map(({ name, caughtBy }) => `${escaped(name)} .*${escaped(caughtBy)}`)
  const sound = BREACHES.map(
    ({ faults, caughtBy }) =>
      `sound ${faults === undefined ? 'in memory' : 'over sockets'} .*${escaped(caughtBy)}`,
  )
  const results = await run([...wanted, ...sound].join('|'))
  const passed = results.filter((result) => result.passed).map(({ name }) => name)
  const failed = results.filter((result) => !result.passed).map(({ name }) => name)
  expect(failed.filter((name) => name.includes('suite: sound'))).toEqual([])
  expect(passed.filter((name) => !name.includes('suite: sound'))).toEqual([])
  for (const { name, caughtBy } of BREACHES) {
    expect(failed.filter((each) => each.includes(`suite: ${name}`) && each.includes(caughtBy))).toHaveLength(
      1,
    )
  }
  expect(passed).toHaveLength(new Set(BREACHES.map(({ caughtBy }) => caughtBy)).size)
}, 60_000)
