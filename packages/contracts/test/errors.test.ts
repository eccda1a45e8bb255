import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ERROR_CODES, UnderstudyError, isUnderstudyError, type ErrorCode } from '../src/index.ts'

test('the README lists every code with its sentence, in the order of the source', () => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
  const rows = readme.matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)
  expect(Array.from(rows, ([, code, sentence]) => [code, sentence])).toEqual(Object.entries(ERROR_CODES))
})

describe('an error', () => {
  const error = new UnderstudyError('NOT_LEADER', 'Write elsewhere.', {
    cause: 'why',
    position: { epoch: 3, lsn: 7 },
    leader: 'tcp://a',
  })

  test('carries code, message, cause, position and the other details apart', () => {
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('UnderstudyError')
    expect([error.code, error.message, error.cause]).toEqual(['NOT_LEADER', 'Write elsewhere.', 'why'])
    expect(error.position).toEqual({ epoch: 3, lsn: 7 })
    expect(error.details).toEqual({ leader: 'tcp://a' })
    expect('cause' in new UnderstudyError('CLOSED', 'x')).toBe(false)
  })

  test('is recognised without its class, by code or without', () => {
    const copy = { isUnderstudyError: true, code: 'CLOSED' }
    expect(isUnderstudyError(error)).toBe(true)
    expect(isUnderstudyError(copy, 'CLOSED')).toBe(true)
    expect(isUnderstudyError(copy, 'TIMEOUT')).toBe(false)
    for (const other of [undefined, null, 'CLOSED', new Error('CLOSED'), {}])
      expect(isUnderstudyError(other)).toBe(false)
  })

  test('has a code whose sentence ends as one', () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[])
      expect(ERROR_CODES[code]).toMatch(/^[A-Z].*\.$/)
  })
})
