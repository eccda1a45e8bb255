import { expect, test } from 'vitest'
import { checkSqliteVersion } from '../src/index.ts'

test.each([
  '3.51.3',
  '3.51.10',
  '3.52.0',
  '3.53.4',
  '3.100.0',
  '4.0.0',
  '3.50.7',
  '3.50.12',
  '3.44.6',
  '3.44.9',
])('SQLite %s has the fix of the WAL-reset race', (version) => checkSqliteVersion(version))

test.each([
  '3.51.2',
  '3.51.0',
  '3.50.6',
  '3.49.9',
  '3.45.9',
  '3.44.5',
  '3.43.10',
  '3.7.0',
  '2.9.9',
  '',
  'x',
  undefined,
])('SQLite %s is refused', (version) => {
  expect(() => checkSqliteVersion(version)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_RUNTIME' }))
})

test('the SQLite of this Node.js is accepted', () => checkSqliteVersion(process.versions['sqlite']))
