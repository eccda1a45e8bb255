import { expect, test } from 'vitest'
import { commitOne, opened } from './helpers.ts'

const LARGE = 9_007_199_254_740_993n

test('integers are numbers up to 2^53 - 1 and bigints beyond, in reads and in writes', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => {
    tx.exec('create table t (id integer primary key, v integer)')
    expect(tx.run('insert into t values (1, 5)')).toEqual({ changes: 1, lastInsertRowid: 1 })
    expect(tx.run('insert into t values (?, ?)', [LARGE, -LARGE])).toEqual({
      changes: 1,
      lastInsertRowid: LARGE,
    })
    expect(tx.run('insert into t values (?, 0)', [-(2n ** 63n)])).toEqual({
      changes: 1,
      lastInsertRowid: -(2n ** 63n),
    })
    expect(tx.run('insert into t values (9007199254740991, 0)')).toEqual({
      changes: 1,
      lastInsertRowid: Number.MAX_SAFE_INTEGER,
    })
  })
  const sql = 'select id, v from t where id > 0 order by id'
  const rows = [
    { id: 1, v: 5 },
    { id: Number.MAX_SAFE_INTEGER, v: 0 },
    { id: LARGE, v: -LARGE },
  ]
  expect(commitOne(storage, 2, (tx) => [tx.all(sql), tx.all(sql)])).toEqual([rows, rows])
  expect(await storage.read((tx) => [tx.all(sql), tx.get('select max(id) as id from t')])).toEqual([
    rows,
    { id: LARGE },
  ])
})

test('a statement that writes and returns a large integer runs once', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v integer)'))
  const rows = commitOne(storage, 2, (tx) => tx.all('insert into t (v) values (?), (1) returning v', [LARGE]))
  expect(rows).toEqual([{ v: LARGE }, { v: 1 }])
  expect(commitOne(storage, 3, (tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 2 })
})

test('exec runs each statement of a text, whatever stands between them', () => {
  const storage = opened()
  const rows = commitOne(storage, 1, (tx) => {
    tx.exec(`-- first; not yet
      create table "a;b" (v text default ';');; /* ; */
      insert into "a;b" default values;
      create trigger twice after insert on "a;b" begin update "a;b" set v = 'x;y'; select 1; end;
      insert into "a;b" values ('héllo 🎭; ''quoted''')
      -- the end`)
    tx.exec('')
    tx.exec(' -- nothing')
    return tx.all('select v from "a;b"')
  })
  expect(rows).toEqual([{ v: 'x;y' }, { v: 'x;y' }])
})

test('exec stops at the first statement that fails', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => {
    tx.exec('create table t (id integer primary key)')
    expect(() =>
      tx.exec('insert into t values (1); insert into t values (1); insert into t values (2)'),
    ).toThrow('UNIQUE constraint failed')
    expect(tx.all('select id from t')).toEqual([{ id: 1 }])
  })
})

test.each([
  '',
  ' -- nothing',
  'select 1; select 2',
  'create table q (v); insert into q values (1)',
  'select 1\0; select 2',
])('run, get and all take one statement; refused: %j', (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) => {
    const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
    expect(() => tx.run(sql)).toThrow(invalid)
    expect(() => tx.get(sql)).toThrow(invalid)
    expect(() => tx.all(sql)).toThrow(invalid)
    expect(tx.get('select 1 as one; -- with a comment ;')).toEqual({ one: 1 })
  })
})

test('parameters bind in order or by name', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => {
    expect(tx.get('select ? as a, ? as b', [1, 'x'])).toEqual({ a: 1, b: 'x' })
    expect(tx.get('select $a as a, :b as b', { $a: null, b: 2.5 })).toEqual({ a: null, b: 2.5 })
  })
})

test('more statements than the cache holds still work, and functions of setup are on every connection', async () => {
  const storage = opened({
    statementsMax: 4,
    setup: (connection) => connection.function('twice', { deterministic: true }, (x) => Number(x) * 2),
  })
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v, w as (twice(v)))'))
  for (let round = 0; round < 3; round++)
    for (let index = 0; index < 10; index++)
      commitOne(storage, 2, (tx) => tx.run(`insert into t (v) values (${index})`))
  expect(await storage.read((tx) => tx.get('select count(*) as n, sum(w) as s from t'))).toEqual({
    n: 30,
    s: 270,
  })
})

test('a table keeps columns of one name apart, and has columns without rows', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const join = 'select a.id, b.id, a.v from t as a join t as b on b.id = a.id + 1'
  const columns = ['id', 'id', 'v']
  expect(await storage.read((tx) => tx.table(join))).toEqual({ columns, rows: [] })
  commitOne(storage, 2, (tx) => tx.run('insert into t values (1, ?), (2, 5)', [LARGE]))
  expect(await storage.read((tx) => tx.table(join))).toEqual({ columns, rows: [[1, 2, LARGE]] })
  // The same text by name again: the statement is one and the same.
  expect(await storage.read((tx) => tx.all('select v from t'))).toEqual([{ v: LARGE }, { v: 5 }])
  expect(await storage.read((tx) => tx.table('select v from t'))).toEqual({
    columns: ['v'],
    rows: [[LARGE], [5]],
  })
  expect(await storage.read((tx) => tx.all('select v from t'))).toEqual([{ v: LARGE }, { v: 5 }])
})

test('a table over a limit ends with the row that goes over it, and a write runs to its end', async () => {
  const storage = opened()
  const count = 'with recursive n(i) as (select 1 union all select i + 1 from n where i < ?) select i from n'
  const rowsOf = (limit: number, rowsMax: number): Promise<number> =>
    storage.read((tx) => tx.table(count, [limit], { rowsMax }).rows.length)
  expect(await rowsOf(5, 5)).toBe(5)
  // Without an end of its own: what is not wanted is never computed.
  expect(await rowsOf(Number.MAX_SAFE_INTEGER, 5)).toBe(6)
  const blobs = 'select zeroblob(1000) union all select zeroblob(1000) union all select zeroblob(1000)'
  expect((await storage.read((tx) => tx.table(blobs, [], { bytesMax: 2000 }))).rows).toHaveLength(3)
  expect((await storage.read((tx) => tx.table(blobs, [], { bytesMax: 999 }))).rows).toHaveLength(1)
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  const returned = commitOne(storage, 2, (tx) =>
    tx.table(`insert into t ${count} returning id`, [10], { rowsMax: 2 }),
  )
  expect(returned).toEqual({ columns: ['id'], rows: [[1], [2], [3]] })
  expect(await storage.read((tx) => tx.get('select count(*) as n from t'))).toEqual({ n: 10 })
})
