/** The lint of ids names what SQLite itself shows: tables that give the id of a deleted last row again. */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { lintIds, type SqlValue } from '../src/index.ts'

const TABLES: Readonly<Record<string, string>> = {
  plain: '(id integer primary key, v)',
  named: '(a, "the key" INTEGER PRIMARY KEY ASC)',
  below: '(id integer, v, primary key (id))',
  counted: '(id integer primary key autoincrement, v)',
  counted_odd: '(id integer primary key /* why */ AUTOINCREMENT, v)',
  only_said: `(id integer primary key, v default 'autoincrement', "autoincrement" integer) -- autoincrement`,
  text: '(id text primary key, v)',
  int: '(id int primary key, v)',
  descending: '(id integer primary key desc, v)',
  pair: '(a integer, b integer, primary key (a, b))',
  without: '(id integer primary key, v) without rowid',
  keyless: '(id integer, v)',
  'odd "name"': '(id integer primary key)',
}

test('tables with a plain INTEGER PRIMARY KEY are named, and only they', async () => {
  const db = new DatabaseSync(':memory:')
  for (const [name, sql] of Object.entries(TABLES))
    db.exec(`create table "${name.replaceAll('"', '""')}" ${sql}`)
  db.exec('create table _understudy_own (id integer primary key); create view v as select 1')
  const findings = await lintIds((sql, parameters) => {
    const statement = db.prepare(sql)
    statement.setReturnArrays(true)
    return Promise.resolve(statement.all(...parameters) as unknown as SqlValue[][])
  })
  expect(findings.map(({ table, column }) => [table, column])).toEqual([
    ['below', 'id'],
    ['named', 'the key'],
    ['odd "name"', 'id'],
    ['only_said', 'id'],
    ['plain', 'id'],
  ])
  expect(findings.at(-1)).toMatchObject({
    problem: expect.stringContaining('can be given twice') as string,
    advice: expect.stringContaining('"id integer primary key autoincrement"') as string,
  })
})

test('they are the tables that give an id again', () => {
  const again = ['plain', 'below', 'counted'].map((name) => {
    const db = new DatabaseSync(':memory:')
    db.exec(`create table t ${TABLES[name]}; insert into t (v) values (1), (2); delete from t where id = 2;
      insert into t (v) values (3)`)
    const id = db.prepare('select max(id) as id from t').get()?.['id']
    db.close()
    return [name, id]
  })
  // "below" names its key as a constraint of the table.
  expect(again).toEqual([
    ['plain', 2],
    ['below', 2],
    ['counted', 3],
  ])
})
