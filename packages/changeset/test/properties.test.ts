/** Any changeset that SQLite makes survives decode and encode, and its inverse undoes it. */
import { DatabaseSync } from 'node:sqlite'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  changesetCursor,
  decodeChangeset,
  decodeChangesetRaw,
  encodeChangeset,
  invertChangeset,
  type Value,
} from '../src/index.ts'
import { hex, rowsOf } from './helpers.ts'

const SETUP = `create table t (id integer primary key, a, b text, c real); create table w (x text not null, y integer not null, v, primary key (y, x)) without rowid`

const value = fc.oneof(
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.integer().map(BigInt),
  fc.double({ noNaN: true }),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.uint8Array({ maxLength: 200 }),
)
const key = fc.integer({ min: 1, max: 6 })
const step = fc.oneof(
  fc.record({
    sql: fc.constant('insert or replace into t values (?, ?, ?, ?)'),
    values: fc.tuple(key, value, value, value),
  }),
  fc.record({
    sql: fc.constant('update t set a = ?, c = ? where id = ?'),
    values: fc.tuple(value, value, key),
  }),
  fc.record({ sql: fc.constant('delete from t where id = ?'), values: fc.tuple(key) }),
  fc.record({
    sql: fc.constant('insert or replace into w values (?, ?, ?)'),
    values: fc.tuple(fc.constantFrom('a', 'é', '\u{1F3AD}'), key, value),
  }),
  fc.record({ sql: fc.constant('delete from w where y = ?'), values: fc.tuple(key) }),
)

const run = (database: DatabaseSync, steps: readonly { sql: string; values: readonly unknown[] }[]): void => {
  for (const { sql, values } of steps) database.prepare(sql).run(...(values as never[]))
}

test('decode then encode gives the same bytes, values of both kinds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.array(step, { maxLength: 12 }), (before, steps) => {
      using database = new DatabaseSync(':memory:')
      database.exec(SETUP)
      run(database, before)
      const session = database.createSession()
      run(database, steps)
      const bytes = session.changeset()
      expect(hex(encodeChangeset(decodeChangeset(bytes)))).toBe(hex(bytes))
      expect(hex(encodeChangeset(decodeChangesetRaw(bytes)))).toBe(hex(bytes))
      const patchset = session.patchset()
      expect(hex(encodeChangeset(decodeChangeset(patchset)))).toBe(hex(patchset))
    }),
    { numRuns: 150 },
  )
})

test('SQLite applies the inverse, and the database is as before', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.array(step, { maxLength: 12 }), (before, steps) => {
      using database = new DatabaseSync(':memory:')
      database.exec(SETUP)
      run(database, before)
      const rows = rowsOf(database)
      const session = database.createSession()
      run(database, steps)
      const bytes = session.changeset()
      session.close()
      expect(database.applyChangeset(invertChangeset(bytes))).toBe(true)
      expect(rowsOf(database)).toEqual(rows)
      expect(hex(invertChangeset(invertChangeset(bytes)))).toBe(hex(bytes))
    }),
    { numRuns: 150 },
  )
})

test('SQLite applies an encoded changeset, and the rows are those asked for', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer(), value), { selector: ([id]) => id, maxLength: 30 }),
      (rows) => {
        using database = new DatabaseSync(':memory:')
        database.exec('create table t (id integer primary key, v)')
        const bytes = encodeChangeset(
          rows.map(([id, v]) => ({
            table: 't',
            key: [1, 0],
            operation: 'insert' as const,
            indirect: false,
            patchset: false,
            before: [],
            after: [BigInt(id), v] as Value[],
          })),
        )
        expect(database.applyChangeset(bytes)).toBe(true)
        const statement = database.prepare('select typeof(v) as type, v from t where id = ?')
        statement.setReadBigInts(true)
        for (const [id, v] of rows) {
          const row = statement.get(id)
          expect(row?.['v']).toEqual(v)
          if (typeof v === 'bigint') expect(row?.['type']).toBe('integer')
        }
      },
    ),
    { numRuns: 100 },
  )
})

test('the cursor sees what the decoder sees, without an object for each value', () => {
  using database = new DatabaseSync(':memory:')
  database.exec(SETUP)
  const session = database.createSession()
  database.exec(`insert into t values (1, 'x', 'y', 2.5), (2, null, null, null)`)
  const cursor = changesetCursor(session.changeset())
  let textBytes = 0
  let rows = 0
  while (cursor.next()) {
    rows += 1
    for (let index = 0; index < cursor.columns; index += 1) {
      if (cursor.types[cursor.columns + index] === 3) textBytes += cursor.lengths[cursor.columns + index] ?? 0
    }
  }
  expect([rows, textBytes, cursor.tableOrdinal, cursor.next()]).toEqual([2, 2, 1, false])
})
