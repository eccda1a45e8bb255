/** Runs suites on implementations that are wrong, in a vitest of its own, and tells which of their tests failed. */
import { execFile } from 'node:child_process'
import { mkdtempDisposableSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

/** Of the tests whose full name matches `pattern`, in the files whose name has `file` in it: which passed and which did not. */
export async function runBreaches(
  file: string,
  pattern: string,
): Promise<{ readonly name: string; readonly passed: boolean }[]> {
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
        file,
        '--config',
        'test/breaches/vitest.config.ts',
        '--outputFile',
        outputFile,
        '-t',
        pattern,
      ],
      { cwd: join(import.meta.dirname, '../..'), env },
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
