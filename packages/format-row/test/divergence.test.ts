/** A follower that is not what the leader was stops with a code, and keeps what it had. */
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { TestNode } from './helpers.ts'

const SETUP = `create table t (id integer primary key, u unique, v check (v is null or v < 100)); insert into t values (1, 1, 1), (2, 2, 2)`
const code = (name: string) => expect.objectContaining({ code: name })

const follower = (alter: string): TestNode => new TestNode(`${SETUP}; ${alter}`).follow()

test.each([
  [
    'a row to update is missing',
    'update t set v = 5 where id = 1',
    'delete from t where id = 1',
    /does not exist/,
  ],
  [
    'a row to delete is missing',
    'delete from t where id = 1',
    'delete from t where id = 1',
    /does not exist/,
  ],
  [
    'a row to update has other values',
    'update t set v = 5 where id = 1',
    'update t set v = 9',
    /other values/,
  ],
  ['a row to delete has other values', 'delete from t where id = 1', 'update t set v = 9', /other values/],
  [
    'a row to insert exists',
    'insert into t values (3, 3, 3)',
    'insert into t values (3, 3, 3)',
    /exists here already/,
  ],
  [
    'a unique value is taken',
    'insert into t values (3, 3, 3)',
    'insert into t values (4, 3, 3)',
    /constraint/,
  ],
])('%s: DIVERGED', (_, change, difference, message) => {
  const payload = new TestNode(SETUP).lead().payload(change)
  const node = follower(difference)
  const before = node.all('select * from t')
  expect(() => node.apply(payload)).toThrow(
    expect.objectContaining({ code: 'DIVERGED', message: expect.stringMatching(message) }),
  )
  expect(node.all('select * from t')).toEqual(before)
})

test.each([
  ['a table is missing', 'drop table t'],
  ['a table has one column more', 'alter table t add column w'],
  ['columns stand in another order', 'drop table t; create table t (id integer primary key, v, u unique)'],
  ['the key is another', 'drop table t; create table t (id integer, u unique, v, primary key (id, u))'],
  ['a UNIQUE is missing', 'drop table t; create table t (id integer primary key, u, v)'],
  ['a column has another type', 'drop table t; create table t (id integer primary key, u text unique, v)'],
  ['a column is generated', 'drop table t; create table t (id integer primary key, u unique, v as (u))'],
  [
    'the table is STRICT',
    'drop table t; create table t (id integer primary key, u any unique, v any) strict',
  ],
  ['there is one index more', 'create index i on t (v)'],
  ['there is one table more', 'create table x (id integer primary key)'],
])('%s: SCHEMA_MISMATCH', (_, difference) => {
  const payload = new TestNode(SETUP).lead().payload('insert into t values (3, 3, 3)')
  expect(() => follower(difference).apply(payload)).toThrow(code('SCHEMA_MISMATCH'))
})

test('triggers, views, statistics, own tables and the layout of the file make no other schema', () => {
  const payload = new TestNode(SETUP).lead().payload('insert into t values (3, 3, 3)')
  const node =
    follower(`create table gone (id integer primary key); drop table gone; create view w as select 1; analyze;
    create table _understudy_position (x); create trigger r after insert on t begin delete from t; end`)
  node.apply(payload)
  expect(node.all('select count(*) from t')).toEqual([[3]])
})

test('a trigger that came after prepare is noticed by the number of changed rows', () => {
  const payload = new TestNode(SETUP).lead().payload('insert into t values (3, 3, 3)')
  const node = follower('')
  node.database.exec('create trigger r after insert on t begin update t set v = 50 where id = 1; end')
  expect(() => node.apply(payload)).toThrow(/2 rows changed instead of 1/)
})

test('a schema change that fails is DIVERGED', () => {
  const leader = new TestNode(SETUP).lead()
  const payload = leader.payload('create view w as select 1')
  expect(() => follower('create view w as select 2').apply(payload)).toThrow(code('DIVERGED'))
})

test('a full disk is no divergence: the record can be applied once there is space', () => {
  const leader = new TestNode(SETUP).lead()
  const rows = leader.payload('update t set u = zeroblob(100000) where id = 1')
  const change = leader.payload('create table w (id integer primary key); create index i on t (u)')
  const node = follower('')
  const { database } = node
  const limit = (pages: number): void => database.exec(`pragma max_page_count = ${pages}`)
  limit(1)
  expect(() => node.apply(rows)).toThrow(code('DISK_FULL'))
  limit(1_000_000)
  node.apply(rows)
  limit(1)
  expect(() => node.apply(change)).toThrow(code('DISK_FULL'))
  limit(1_000_000)
  node.apply(change)
  expect(node.all('select id from t where length(u) = 100000')).toEqual([[1]])
})

test('a function that only the leader has is named', () => {
  const leader = new TestNode(SETUP)
  leader.database.function('twice', { deterministic: true }, (value) => Number(value) * 2)
  const payload = leader.lead().payload('create index i on t (twice(v))')
  expect(() => follower('').apply(payload)).toThrow(/no such function: twice/)
})

test('an applier is made outside a transaction, and applies only after prepare', () => {
  const payload = new TestNode(SETUP).lead().payload('insert into t values (3, 3, 3)')
  const node = new TestNode(SETUP)
  node.database.exec('begin')
  expect(() => rowFormat().applier(node.connection)).toThrow(code('INVALID_ARGUMENT'))
  node.database.exec('commit')
  node.applier = rowFormat().applier(node.connection)
  expect(() => node.apply(payload)).toThrow(code('INVALID_ARGUMENT'))
})

test('prepare and restore may come twice, and a new applier finds a prepared database', () => {
  const trigger = 'create trigger r after insert on t begin update t set v = 9 where id = new.id; end'
  const node = new TestNode(`${SETUP}; ${trigger}`).follow()
  const payload = new TestNode(SETUP).lead().payload('insert into t values (3, 3, 3)')
  node.transaction(() => node.applier?.prepare())
  node.applier?.close()
  expect(node.all('pragma foreign_keys')).toEqual([[1]])
  node.applier = rowFormat().applier(node.connection)
  expect(node.all('pragma foreign_keys')).toEqual([[0]])
  node.apply(payload)
  expect(node.all(`select count(*) from sqlite_schema where type = 'trigger'`)).toEqual([[0]])
  node.transaction(() => node.applier?.restore())
  node.transaction(() => node.applier?.restore())
  node.applier.close()
  node.applier.close()
  expect(node.all(`select sql from sqlite_schema where type = 'trigger'`)).toEqual([
    [trigger.replace('create trigger', 'CREATE TRIGGER')],
  ])
  expect(node.all(`select count(*) from sqlite_schema where name like '%understudy%'`)).toEqual([[0]])
  expect(node.all('select v from t where id = 3')).toEqual([[3]])
})

test('foreign keys that the user has switched off stay off', () => {
  const node = new TestNode('pragma foreign_keys = off').follow()
  node.applier?.close()
  expect(node.all('pragma foreign_keys')).toEqual([[0]])
})

test('a recorder refuses to run while the connection is set up for applying', () => {
  const node = new TestNode(SETUP).lead().follow()
  node.database.exec('begin')
  expect(() => node.recorder?.beginGroup()).toThrow(code('NOT_WRITTEN'))
  node.database.exec('commit')
  node.transaction(() => node.applier?.restore())
  node.applier?.close()
  expect(node.group('insert into t values (3, 3, 3)').payloads.length).toBe(1)
})

test('defensive mode is off only while a changeset is applied: shadow tables take its rows, and no others', () => {
  const setup = 'create virtual table f using fts5 (a)'
  const payload = new TestNode(setup).lead().payload(`insert into f values ('hello')`)
  const follower = new TestNode(setup).follow()
  const shadow = () => follower.database.exec(`insert into f_config values ('x', 1)`)
  expect(shadow).toThrow(/may not be modified/)
  follower.apply(payload)
  expect(shadow).toThrow(/may not be modified/)
  expect(follower.database.prepare(`select count(*) as n from f where f match 'hello'`).get()).toEqual({
    n: 1,
  })
  follower.applier?.close()
  expect(shadow).toThrow(/may not be modified/)
})
