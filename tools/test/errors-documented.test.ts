import { describe, expect, test } from 'vitest'
import {
  checkErrors,
  documentedCodes,
  errorsProblems,
  raisedCodes,
  readErrorCodes,
} from '../src/errors-documented.ts'
import { repositoryRoot } from '../src/workspace.ts'
import { tree } from './tree.ts'

const CODES = new Map(['CLOSED', 'TIMEOUT', 'DISK_FULL', 'LOG_GAP'].map((code) => [code, '']))

const ERRORS_TS = `export const ERROR_CODES = {
  CLOSED: 'It was closed.',
  TIMEOUT: 'It took too long.',
  FENCED: 'Reserved for failover: it was fenced.',
} as const
export const OTHER = { NOT_A_CODE: 'x' }
`

function repository(readme: string, source: string): string {
  return tree({
    'package.json': { name: 'root' },
    'packages/contracts/package.json': { name: '@understudy/contracts' },
    'packages/contracts/src/errors.ts': ERRORS_TS,
    'packages/log/package.json': { name: '@understudy/log' },
    'packages/log/README.md': readme,
    'packages/log/src/a.ts': source,
    'packages/log/src/suites/a.ts': "throw new UnderstudyError('FENCED', '')",
    'packages/log/test/a.test.ts': "throw new UnderstudyError('TIMEOUT', '')",
  })
}

describe('codes in source', () => {
  test.each([
    "throw new UnderstudyError('CLOSED', 'x')",
    "throw failed('CLOSED', error)",
    "const table = { ENOSPC: 'CLOSED' }",
    "send({ type: 'refuse', code: 'CLOSED' })",
    "throw new UnderstudyError(late ? 'CLOSED' : other, '')",
  ])('%s raises it', (text) => {
    expect([...raisedCodes('a.ts', text, CODES)]).toEqual(['CLOSED'])
  })

  test.each([
    "if (error.code === 'CLOSED') f()",
    "switch (code) { case 'CLOSED': f() }",
    "if (isUnderstudyError(error, 'CLOSED')) f()",
    "if (['x'].includes('CLOSED')) f()",
    "type Ended = 'CLOSED'",
    "const fatal = new Set<ErrorCode>(['CLOSED'])",
    "// new UnderstudyError('CLOSED')",
    'f(`CLOSED`)',
    "f('CLOSED_X')",
  ])('%s does not', (text) => {
    expect([...raisedCodes('a.ts', text, CODES)]).toEqual([])
  })
})

test('documented codes are those in the table under Errors, to the next section', () => {
  const markdown = [
    '## Options',
    '| `TIMEOUT` | no |',
    '## Errors',
    'See `LOG_GAP`.',
    '| code | when |',
    '| --- | --- |',
    '| `CLOSED` | `DISK_FULL` is another |',
    '### More',
    '|`DISK_FULL`| x |',
    '## Guarantees',
    '| `LOG_GAP` | no |',
  ].join('\n')
  expect([...documentedCodes(markdown)]).toEqual(['CLOSED', 'DISK_FULL'])
  expect([...documentedCodes('## Errors\n| `CLOSED` | x |')]).toEqual(['CLOSED'])
  expect([...documentedCodes('# no errors')]).toEqual([])
})

describe('a repository', () => {
  const raising = "new UnderstudyError('CLOSED', ''); new UnderstudyError('TIMEOUT', '')"

  test('equal lists are no problem', () => {
    const root = repository('## Errors\n| `CLOSED` | a |\n| `TIMEOUT` | b |\n', raising)
    expect(errorsProblems(checkErrors(root), true)).toEqual([])
  })

  test('a raised code that is not in the table, and one in the table that is not raised, are named', () => {
    const root = repository('## Errors\n| `CLOSED` | a |\n| `FENCED` | b |\n| `GONE` | c |\n', raising)
    expect(errorsProblems(checkErrors(root), false)).toEqual([
      'packages/log/README.md  raises TIMEOUT, which is not in its table',
      'packages/log/README.md  lists FENCED, which it never raises',
      'packages/log/README.md  lists GONE, which is no code',
    ])
  })

  test('a code raised only in tests, or nowhere, fails when strict; a reserved one does not', () => {
    const root = repository('## Errors\n| `CLOSED` | a |\n', "new UnderstudyError('CLOSED', '')")
    expect(errorsProblems(checkErrors(root), false)).toEqual([])
    expect(errorsProblems(checkErrors(root), true)).toEqual([
      'packages/contracts/src/errors.ts  no package raises TIMEOUT',
    ])
  })

  test('a table of the contracts lists every code', () => {
    const root = repository('## Errors\n| `CLOSED` | a |\n| `TIMEOUT` | b |\n', raising)
    const withTable = tree({
      'package.json': { name: 'root' },
      'packages/contracts/package.json': { name: '@understudy/contracts' },
      'packages/contracts/src/errors.ts': ERRORS_TS,
      'packages/contracts/README.md': '## Errors\n| `CLOSED` | a |\n| `FENCED` | b |\n',
    })
    expect(checkErrors(root).problems).toEqual([])
    expect(checkErrors(withTable).problems).toEqual([
      'packages/contracts/README.md  raises TIMEOUT, which is not in its table',
    ])
  })
})

test("this repository's codes are read from the contracts", () => {
  const codes = readErrorCodes(repositoryRoot())
  expect(codes.get('NOT_LEADER')).toBe('A write reached a node that does not lead.')
  expect(codes.size).toBeGreaterThan(40)
})
