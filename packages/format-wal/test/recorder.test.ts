/** What a recorder tells, and when it says that only a base helps. */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { CommittedPages } from '@understudy/contracts'
import { walFormat } from '../src/index.ts'
import { Directory, Leader, TestConnection } from './helpers.ts'
import { MemoryLeader, noise, recorderOver } from './memory-leader.ts'
import { MemoryPages } from './memory-pages.ts'

const SCHEMA = `create table t (id integer primary key, v text unique);
  create table child (id integer primary key, parent references t on delete cascade);
  create trigger log after insert on child begin update t set v = new.id where id = 99; end;
  create view both as select * from t; create trigger into_view instead of insert on both begin insert into t values (new.id, new.v); end;
  create virtual table f using fts5 (body); create virtual table r using rtree (id, a, b); insert into t values (1, 'one');
  insert into child values (1, 1); insert into f values ('word')`

function changed(write: (leader: Leader) => void): boolean {
  using directory = new Directory()
  const leader = new Leader(directory.path, { setup: SCHEMA })
  const { recorder, database } = leader
  database.exec('begin')
  recorder.beginGroup()
  recorder.beginWrite()
  write(leader)
  recorder.endWrite()
  const told = recorder.changed()
  database.exec('rollback')
  recorder.abandonGroup()
  database.exec('begin')
  recorder.beginGroup()
  expect(recorder.changed()).toBe(false)
  database.exec('rollback')
  recorder.close()
  database.close()
  return told
}

test.each([
  `insert into t values (2, 'two')`,
  'insert into t (id) values (7), (8)',
  `replace into t values (1, 'other')`,
  'update t set v = v',
  'delete from t',
  'delete from child',
  `insert into both values (5, 'five')`,
  'insert into child values (2, 1)',
  `insert into f values ('more words')`,
  `insert into f (f) values ('optimize')`,
  `insert into f (f, rank) values ('pgsz', 64)`,
  'delete from f',
  'insert into r values (1, 2, 3)',
])('a group with "%s" changed something', (sql) => {
  expect(changed(({ database }) => database.exec(sql))).toBe(true)
})

test.each([
  ['create table u (x)', 'schema'],
  ['create table u as select * from t', 'schema'],
  ['create index i on t (v)', 'schema'],
  ['alter table t rename to u', 'schema'],
  ['drop view both', 'schema'],
  ['analyze', 'schema'],
  ['reindex', 'schema'],
  ['pragma user_version = 4', 'pragma'],
  ['pragma application_id = 4', 'pragma'],
  ['pragma incremental_vacuum', 'pragma'],
] as const)('a group with "%s", which counts no row, changed something', (sql, effect) => {
  const name = /^pragma (\w+)/.exec(sql)?.[1]
  const info = { effect, ...(name !== undefined && { pragma: { name, argument: undefined } }) }
  expect(changed((leader) => leader.observed(sql, info))).toBe(true)
})

test('a group that only read changed nothing', () => {
  expect(changed(() => {})).toBe(false)
  expect(changed((leader) => leader.observed('select * from t', { effect: 'read' }))).toBe(false)
  expect(changed(({ database }) => database.exec('delete from t where id = 77'))).toBe(false)
  const pragma = { name: 'table_info', argument: 't' }
  expect(changed((leader) => leader.observed('pragma table_info(t)', { effect: 'pragma', pragma }))).toBe(
    false,
  )
})

test('what was committed before the recorder, or before a base, is not told', () => {
  const pages = new MemoryPages(512, 4)
  const commit = (page: number) => {
    pages.stage(page, noise(512, page))
    pages.commit()
  }
  const told = () =>
    walFormat()
      .describe(recorder.finishGroup()[0] as Uint8Array)
      .pages?.map(({ page }) => page)
  commit(1)
  const recorder = recorderOver(pages)
  commit(2)
  expect(told()).toEqual([2])
  commit(3)
  recorder.base()
  commit(4)
  expect(told()).toEqual([4])
})

test('only a base helps when pages cannot be told, are too many, or lack', () => {
  let committed: CommittedPages | undefined
  class Told extends MemoryPages {
    override committed(): CommittedPages | undefined {
      return committed
    }
    override recover(): CommittedPages | undefined {
      return committed
    }
  }
  const image = noise(512, 1)
  const pages = (...numbers: number[]) => numbers.map((page) => ({ page, image, previous: undefined }))
  const recorder = recorderOver(new Told(512, 4), { payloadBytesMax: 2000 })
  const count = (told: CommittedPages | undefined) => {
    committed = told
    recorder.beginGroup()
    return [recorder.finishGroup().length, recorder.recover().length]
  }
  expect(count(undefined)).toEqual([0, 0])
  expect(count({ pageCount: 4, pages: pages(1, 2, 3) })).toEqual([1, 1])
  expect(count({ pageCount: 4, pages: pages(1, 2, 3, 4) })).toEqual([0, 0])
  expect(count({ pageCount: 6, pages: pages(1, 5, 6) })).toEqual([1, 1])
  // The file before is what was told last, whatever the file has grown to meanwhile.
  expect(count({ pageCount: 6, pages: pages(1, 6) })).toEqual([1, 1])
  expect(count({ pageCount: 8, pages: pages(1, 8) })).toEqual([0, 1])
})

test('a large transaction is given up before all of it was read', () => {
  let read = 0
  function* many(): Generator<{ page: number; image: Uint8Array; previous: undefined }> {
    for (let page = 1; page <= 100_000; page += 1) {
      read = page
      yield { page, image: noise(512, page), previous: undefined }
    }
  }
  class Endless extends MemoryPages {
    override committed(): CommittedPages | undefined {
      return { pageCount: 100_000, pages: many() }
    }
  }
  const recorder = recorderOver(new Endless(512, 100_000), { payloadBytesMax: 100_000 })
  recorder.beginGroup()
  expect(recorder.finishGroup()).toEqual([])
  expect(read).toBeLessThan(220)
})

test('a payload is the caller’s: later groups do not change it', () => {
  const leader = new MemoryLeader(512, 4)
  const first = leader.payload(new Map([[1, noise(512, 1)]]))
  const kept = first.slice()
  const base = leader.recorder.base()
  const keptBase = base.slice()
  leader.payload(new Map([[2, noise(512, 2)]]))
  expect(first).toEqual(kept)
  expect(base).toEqual(keptBase)
})

test('a closed recorder observes nothing any more', () => {
  const connection = new TestConnection(new DatabaseSync(':memory:'), new MemoryPages(512, 1))
  const recorder = walFormat().recorder(connection)
  expect(connection.observers).toHaveLength(1)
  recorder.close()
  recorder.close()
  expect(connection.observers).toHaveLength(0)
})
