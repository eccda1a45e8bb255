import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ORIGIN, type StatementInfo } from '@understudy/contracts'
import { openStorage } from '../src/index.ts'
import { commitOne, opened, point, recorder, temporaryFolder } from './helpers.ts'

test('a new database stands at the origin, and its position moves with the commit that carries it', async () => {
  const path = join(temporaryFolder(), 'data.db')
  const storage = openStorage({ path })
  expect(storage.applied).toEqual(ORIGIN)
  commitOne(storage, 1, (tx) => tx.exec('create table note (id integer primary key, body text)'))
  storage.begin()
  storage.mark(point(2))
  expect(storage.applied).toEqual(point(1))
  storage.rollback()
  expect(storage.applied).toEqual(point(1))
  commitOne(storage, 3, (tx) => tx.run('insert into note (body) values (?)', ['hello']))
  expect(storage.applied).toEqual(point(3))
  await storage.close()
  const again = openStorage({ path })
  expect(again.applied).toEqual(point(3))
  expect(await again.read((tx) => tx.all('select * from note'))).toEqual([{ id: 1, body: 'hello' }])
  await again.close()
})

test('a write that throws is rolled back alone, and its error passes on unchanged', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const calls: string[] = []
  const failure = new Error('mine')
  storage.begin()
  storage.write((tx) => tx.run("insert into t (v) values ('first')"), recorder(calls))
  expect(() =>
    storage.write((tx) => {
      tx.run("insert into t (v) values ('second')")
      throw failure
    }, recorder(calls)),
  ).toThrow(failure)
  storage.write((tx) => tx.run("insert into t (v) values ('third')"), recorder(calls))
  storage.commit()
  expect(calls).toEqual(['beginWrite', 'endWrite', 'beginWrite', 'abandonWrite', 'beginWrite', 'endWrite'])
  expect(commitOne(storage, 2, (tx) => tx.all('select v from t order by id'))).toEqual([
    { v: 'first' },
    { v: 'third' },
  ])
})

test('a lone write that throws leaves its transaction open and empty', () => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  storage.begin()
  expect(() =>
    storage.write(
      (tx) => {
        tx.run('insert into t (v) values (1)')
        throw new Error('mine')
      },
      recorder(),
      { alone: true },
    ),
  ).toThrow('mine')
  storage.mark(point(2))
  storage.commit()
  expect(storage.applied).toEqual(point(2))
  expect(commitOne(storage, 3, (tx) => tx.all('select * from t'))).toEqual([])
})

test('the observer hears of each statement with what it can do', () => {
  const storage = opened()
  const heard: StatementInfo[] = []
  storage.connection.observe({ before: (info) => heard.push(info), after: () => {} })
  commitOne(storage, 1, (tx) => {
    tx.exec(`create table t (id integer primary key, v); -- a comment; with a semicolon
      create table log (v);
      create trigger follow after insert on t begin insert into log values (new.v || ';'); end;
      /* nothing more */ `)
    tx.run('insert into t (v) values (?)', ['a'])
    tx.all('select * from t')
    tx.exec('pragma user_version = 7')
  })
  expect(heard.map(({ effect }) => effect)).toEqual(['schema', 'schema', 'schema', 'rows', 'read', 'pragma'])
  expect(heard[2]?.sql).toContain("new.v || ';'); end;")
  expect([...(heard[3]?.writes ?? [])].sort()).toEqual(['log', 't'])
  expect(heard[3]?.parameters).toEqual(['a'])
  expect(heard[5]?.pragma).toEqual({ name: 'user_version', argument: '7' })
})
