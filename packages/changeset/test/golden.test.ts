/** The bytes themselves, as SQLite writes them: a golden file in the source. */
import { expect, test } from 'vitest'
import {
  decodeChangeset,
  decodeChangesetRaw,
  encodeChangeset,
  invertChangeset,
  type Change,
} from '../src/index.ts'
import { hex, record, unhex } from './helpers.ts'

const SETUP = `create table t (a text, b integer, c, primary key (b, a)); insert into t values ('k', -1, null), ('u', 2, x'00ff')`

const GOLDEN = `
  54 03 02 01 00 7400
  09 00  03016b 01ffffffffffffffff 05
  12 00  030178 010000000000000001 024004000000000000
  17 00  030175 010000000000000002 040200ff
         00 00 030568c3a96c6c`

test('SQLite writes the bytes of the golden changeset, and they decode', () => {
  const bytes = record(SETUP, (database) => {
    database.exec(
      `delete from t where b = -1; insert into t values ('x', 1, 2.5); update t set c = 'héll' where b = 2`,
    )
  })
  const changes = [...decodeChangeset(bytes)]
  const sorted = changes.toSorted((a, b) => a.operation.localeCompare(b.operation))
  expect(sorted).toEqual([
    change({ operation: 'delete', before: ['k', -1n, null], after: [] }),
    change({ operation: 'insert', before: [], after: ['x', 1n, 2.5] }),
    change({
      operation: 'update',
      before: ['u', 2n, new Uint8Array([0, 255])],
      after: [undefined, undefined, 'héll'],
    }),
  ])
  expect(hex(encodeChangeset(sorted))).toBe(hex(unhex(GOLDEN)))
})

test('a patchset has keys alone where a changeset has old values', () => {
  const bytes = record(
    SETUP,
    (database) => database.exec(`delete from t where b = -1; update t set c = 7 where b = 2`),
    'patchset',
  )
  const changes = [...decodeChangeset(bytes)].toSorted((a, b) => a.operation.localeCompare(b.operation))
  expect(changes).toEqual([
    change({ operation: 'delete', patchset: true, before: ['k', -1n, undefined], after: [] }),
    change({
      operation: 'update',
      patchset: true,
      before: ['u', 2n, undefined],
      after: [undefined, undefined, 7n],
    }),
  ])
  expect([...decodeChangeset(encodeChangeset(changes))]).toEqual(changes)
  expect(() => invertChangeset(bytes)).toThrow(/patchset/)
})

test('changes made by triggers are indirect', () => {
  const bytes = record(
    `create table t (id integer primary key); create table log (id integer primary key);
     create trigger r after insert on t begin insert into log values (new.id); end`,
    (database) => database.exec('insert into t values (1)'),
  )
  const flags = [...decodeChangeset(bytes)].map(({ table, indirect }) => [table, indirect])
  expect(new Map(flags as [string, boolean][])).toEqual(
    new Map([
      ['t', false],
      ['log', true],
    ]),
  )
  expect(hex(encodeChangeset(decodeChangeset(bytes)))).toBe(hex(bytes))
})

test('the inverse of the golden changeset', () => {
  expect([...decodeChangeset(invertChangeset(unhex(GOLDEN)))]).toEqual([
    change({ operation: 'insert', before: [], after: ['k', -1n, null] }),
    change({ operation: 'delete', before: ['x', 1n, 2.5], after: [] }),
    change({
      operation: 'update',
      before: ['u', 2n, 'héll'],
      after: [undefined, undefined, new Uint8Array([0, 255])],
    }),
  ])
})

test('an integer is a bigint and a real is a number, so that 1 and 1.0 stay two values', () => {
  const bytes = record('create table t (id integer primary key, v)', (database) => {
    database.exec(
      `insert into t values (1, 1), (2, 1.0), (3, -0.0), (4, 9223372036854775807), (5, -9223372036854775808), (6, 9e999)`,
    )
  })
  const values = [...decodeChangeset(bytes)]
    .toSorted((a, b) => Number(a.after[0]) - Number(b.after[0]))
    .map(({ after }) => after[1])
  expect(values).toEqual([1n, 1, -0, 9223372036854775807n, -9223372036854775808n, Infinity])
})

test('raw values keep text that is not UTF-8, and NUL', () => {
  const bytes = record('create table t (id integer primary key, v text)', (database) =>
    database.exec(`insert into t values (1, cast(x'ff00fe' as text))`),
  )
  const [only] = [...decodeChangesetRaw(bytes)]
  expect(hex(only?.after[1]?.bytes ?? new Uint8Array())).toBe('ff00fe')
  expect(hex(encodeChangeset(decodeChangesetRaw(bytes)))).toBe(hex(bytes))
})

test('lengths of one to five bytes', () => {
  for (const length of [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
    const blob = new Uint8Array(length).fill(7)
    const bytes = record('create table t (id integer primary key, v)', (database) =>
      database.prepare('insert into t values (1, ?)').run(blob),
    )
    const [only] = [...decodeChangeset(bytes)]
    expect(only?.after[1]).toHaveLength(length)
    expect(Buffer.compare(encodeChangeset(decodeChangeset(bytes)), bytes)).toBe(0)
  }
})

function change(part: Pick<Change, 'operation' | 'before' | 'after'> & { patchset?: boolean }): Change {
  return { table: 't', key: [2, 1, 0], indirect: false, patchset: false, ...part }
}
