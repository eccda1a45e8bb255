import { expect, test } from 'vitest'
import { commitOne, opened, point, recorder } from './helpers.ts'

const REFUSED = [
  'begin',
  'begin immediate',
  'commit',
  'end',
  'rollback',
  'rollback to _understudy_write',
  'savepoint mine',
  'release _understudy_write',
  "attach ':memory:' as other",
  'detach main',
  'vacuum',
  "vacuum into '/nowhere/x.db'",
  'pragma journal_mode = delete',
  'pragma journal_mode',
  'pragma main.journal_mode = off',
  'pragma synchronous = off',
  'pragma wal_autocheckpoint = 10',
  'pragma wal_checkpoint',
  'pragma wal_checkpoint(truncate)',
  'pragma locking_mode = exclusive',
  'pragma writable_schema = on',
  'pragma foreign_keys = off',
  'pragma recursive_triggers = on',
  'pragma page_size = 512',
  'pragma auto_vacuum = full',
  'pragma incremental_vacuum',
  'pragma max_page_count = 10',
  'pragma query_only = on',
  'pragma optimize',
  'pragma ignore_check_constraints = on',
  'PRAGMA Journal_Size_Limit(0)',
  'create temp table scratch (v)',
  'create temp view scratch as select 1',
  'create temp trigger scratch after insert on t begin select 1; end',
  'update _understudy_position set lsn = 99',
  'delete from _UNDERSTUDY_position',
  'drop table _understudy_position',
  'alter table _understudy_position add column mine',
  'create table _understudy_mine (v)',
  'alter table t rename to _understudy_mine',
  "alter table t rename to '_understudy_mine'",
  'ALTER TABLE t RENAME TO [_UnderStudy_mine]',
  'create index mine on _understudy_position (lsn)',
  'create trigger mine after update on _understudy_position begin select 1; end',
]

test.each(REFUSED)('a callback may not run: %s', (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  const forbidden = expect.objectContaining({ code: 'WRITE_FORBIDDEN' })
  const rows = commitOne(storage, 2, (tx) => {
    tx.run('insert into t (v) values (1)')
    expect(() => tx.exec(sql)).toThrow(forbidden)
    expect(() => tx.run(sql)).toThrow(forbidden)
    expect(() => tx.get(sql)).toThrow(forbidden)
    return tx.all('select v from t')
  })
  expect(rows).toEqual([{ v: 1 }])
  expect(storage.applied).toEqual(point(2))
  expect(storage.connection.database.prepare('pragma journal_mode').get()).toEqual({ journal_mode: 'wal' })
})

const ALLOWED = [
  'pragma user_version',
  'pragma user_version = 3',
  'pragma application_id = 9',
  'pragma table_info(t)',
  'pragma foreign_key_check',
  'pragma integrity_check',
  "select * from pragma_table_xinfo('t')",
  'select * from _understudy_position',
  'explain insert into t (v) values (1)',
  'reindex',
  'analyze',
  'create virtual table words using fts5(body)',
  'with x as (select 1) select * from x',
]

test.each(ALLOWED)('a callback may run: %s', (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  commitOne(storage, 2, (tx) => tx.exec(sql))
})

test('virtual tables work, whose own statements SQLite compiles while they run', () => {
  const storage = opened()
  const found = commitOne(storage, 1, (tx) => {
    tx.exec('create virtual table words using fts5(body)')
    tx.run('insert into words values (?)', ['the understudy takes the stage'])
    tx.exec("insert into words (words) values ('optimize')")
    tx.exec('create virtual table boxes using rtree(id, x0, x1)')
    tx.run('insert into boxes values (1, 0, 1)')
    return tx.all("select rowid from words where words match 'stage'")
  })
  expect(found).toEqual([{ rowid: 1 }])
})

test('internal code may do what a callback may not, also within one', () => {
  const storage = opened()
  storage.connection.internal(() => storage.connection.database.exec('create table _understudy_other (v)'))
  commitOne(storage, 1, (tx) => {
    storage.connection.internal(() =>
      storage.connection.database.exec('insert into _understudy_other values (1)'),
    )
    expect(() => tx.exec('insert into _understudy_other values (2)')).toThrow(
      expect.objectContaining({ code: 'WRITE_FORBIDDEN' }),
    )
    expect(tx.all('select v from _understudy_other')).toEqual([{ v: 1 }])
  })
})

test('what a cached statement writes follows the schema: a new trigger, a dropped one, one rolled back', () => {
  const storage = opened()
  const writes: string[][] = []
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v); create table log (v)'))
  storage.connection.observe({
    before: (info) => {
      if (info.sql.startsWith('insert into t')) writes.push([...info.writes].sort())
    },
    after: () => {},
  })
  const insert = 'insert into t (v) values (1)'
  const trigger = 'create trigger follow after insert on t begin insert into log values (new.v); end'
  commitOne(storage, 2, (tx) => tx.run(insert))
  commitOne(storage, 3, (tx) => {
    tx.exec(trigger)
    tx.run(insert)
  })
  commitOne(storage, 4, (tx) => {
    tx.exec('drop trigger follow')
    tx.run(insert)
  })
  storage.begin()
  storage.write((tx) => {
    tx.exec(trigger)
    tx.run(insert)
  }, recorder())
  storage.rollback()
  commitOne(storage, 5, (tx) => tx.run(insert))
  storage.begin()
  storage.connection.internal(() => storage.connection.database.exec(trigger))
  storage.write((tx) => tx.run(insert), recorder())
  storage.commit()
  expect(writes).toEqual([['t'], ['log', 't'], ['t'], ['log', 't'], ['t'], ['log', 't']])
})
