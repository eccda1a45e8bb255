import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { digestTables, type TableDigest } from '../src/index.ts'
import { commitOne, opened, point } from './helpers.ts'

async function digestOf(sql: string): Promise<TableDigest[]> {
  const database = new DatabaseSync(':memory:')
  try {
    database.exec(sql)
    return await digestTables(database)
  } finally {
    database.close()
  }
}

const VALUES = [
  '1',
  '1.0',
  "'1'",
  "x'31'",
  'null',
  '0',
  '0.0',
  "''",
  "x''",
  "'a' || char(0) || 'b'",
  "'a'",
  '9007199254740993',
  '9007199254740992',
  '9e999',
  '-9e999',
  "'é'",
  "'e' || char(769)",
]

test('values that differ in type or bits give different digests', async () => {
  const digests = new Map<string, string>()
  for (const value of VALUES) {
    const [digest] = await digestOf(
      `create table t (id integer primary key, v); insert into t values (1, ${value})`,
    )
    digests.set(String(digest?.sha256), value)
  }
  expect(digests.size).toBe(VALUES.length)
})

test('minus zero differs from zero where SQLite keeps it', async () => {
  const database = new DatabaseSync(':memory:')
  database.exec('create table t (id integer primary key, v)')
  const insert = database.prepare('insert into t values (1, ?)')
  insert.run(-0)
  const kept = Object.is(database.prepare('select v from t').get()?.['v'], -0)
  const [minus] = await digestTables(database)
  database.exec('update t set v = 0.0')
  const [zero] = await digestTables(database)
  database.close()
  expect(minus?.sha256 === zero?.sha256).toBe(!kept)
})

test('columns do not run into each other', async () => {
  const a = await digestOf(
    "create table t (id integer primary key, a, b); insert into t values (1, 'ab', 'c')",
  )
  const b = await digestOf(
    "create table t (id integer primary key, a, b); insert into t values (1, 'a', 'bc')",
  )
  expect(a).not.toEqual(b)
})

const TABLES = `
  create table by_name (name text collate nocase primary key, v);
  create table pair (a, b, c, primary key (b, a)) without rowid;
  create table "odd ""name" (id integer primary key autoincrement, "select", g as (id + 1) virtual, s as (id + 2) stored);
  create table plain (v);
  create table named (rowid, _rowid_, oid);
  create virtual table words using fts5(body);
  create virtual table boxes using rtree(id, x0, x1);
  create view v as select 1;`

test('equal rows give equal digests, in whichever order they were written', async () => {
  const rows = [
    "insert into by_name values ('B', 1)",
    "insert into by_name values ('a', 2)",
    'insert into pair values (1, 2, 3)',
    'insert into pair values (1, 1, 3)',
    'insert into "odd ""name" ("select") values (7)',
  ]
  const forwards = await digestOf(TABLES + rows.join(';'))
  const backwards = await digestOf(TABLES + rows.toReversed().join(';'))
  expect(forwards).toEqual(backwards)
  const names = forwards.map(({ table }) => table)
  expect(names).toEqual(
    expect.arrayContaining([
      'by_name',
      'named',
      'odd "name',
      'pair',
      'plain',
      'sqlite_sequence',
      'words_content',
      'boxes_node',
    ]),
  )
  expect(names).not.toContain('words')
  expect(names).not.toContain('v')
  expect(forwards.find(({ table }) => table === 'by_name')?.rows).toBe(2)
})

test('a view keeps its moment: later writes do not change its digest', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) =>
    tx.exec('create table t (id integer primary key, v); insert into t values (1, 1)'),
  )
  const view = storage.freeze()
  const later = storage.freeze()
  commitOne(storage, 2, (tx) => tx.run('insert into t values (2, 2)'))
  const first = await view.digest()
  expect(view.point).toEqual(point(1))
  expect(first).toEqual(await later.digest())
  expect(first.map(({ table, rows }) => [table, rows])).toEqual([['t', 1]])
  await view.close()
  await later.close()
  await using now = storage.freeze()
  expect(now.point).toEqual(point(2))
  expect((await now.digest())[0]?.rows).toBe(2)
  await expect(view.digest()).rejects.toMatchObject({ code: 'CLOSED' })
})

test('a digest gives the event loop back between slices, and can be aborted', async () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => {
    tx.exec('create table t (name text primary key, v)')
    tx.exec(
      "insert into t select 'name ' || value, value * 1.5 from generate_series(1, 100000)".replace(
        'generate_series(1, 100000)',
        '(with recursive n(value) as (select 1 union all select value + 1 from n where value < 100000) select value from n)',
      ),
    )
  })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const view = storage.freeze()
  let turns = 0
  const counting = setInterval(() => turns++, 0)
  delay.enable()
  const digests = await view.digest({ sliceMs: 2 })
  delay.disable()
  clearInterval(counting)
  expect(digests[0]?.rows).toBe(100_000)
  expect(turns).toBeGreaterThan(5)
  const controller = new AbortController()
  const aborted = view.digest({ sliceMs: 1, signal: controller.signal })
  controller.abort()
  await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
  const closed = view.digest({ sliceMs: 1 })
  await Promise.all([expect(closed).rejects.toMatchObject({ code: 'ABORTED' }), view.close()])
})
