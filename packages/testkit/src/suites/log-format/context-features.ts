/**
 * Features of the suite whose outcome is not in the SQL text: chance, time, what the connection did before.
 *
 * Values differ from run to run, so that a format which runs SQL again without them ends with other values. Seconds of the
 * clock are made to differ by applying later; finer times differ by themselves.
 */
import type { Feature } from './types.ts'
import { calls, fails, withNoise } from './writes.ts'

export const CONTEXT_FEATURES: readonly Feature[] = [
  {
    name: 'random() and randomblob() in values',
    given: 'create table t (id integer primary key, a, b)',
    groups: [
      [
        'insert into t (a, b) values (random(), randomblob(16)), (abs(random() % 1000), hex(randomblob(4)))',
        calls((tx) => {
          for (let count = 0; count < 3; count++)
            tx.run('insert into t (a, b) values (random(), ?)', [`bound ${count}`])
        }),
        fails('insert into t (a, b) values (random(), random()); update t set a = random()'),
        'insert into t (a, b) values (random(), zeroblob(3))',
      ],
      ['update t set b = random() where id > 2', 'delete from t where id = 6 and random() is not null'],
    ],
    check: { sql: 'select count(*), count(distinct a), min(id), max(id) from t', rows: [[5, 5, 1, 5]] },
  },
  {
    name: 'CURRENT_TIMESTAMP, CURRENT_DATE and CURRENT_TIME in values',
    given: 'create table t (id integer primary key, a, b, c)',
    isAppliedLater: true,
    groups: [
      ['insert into t (a, b, c) values (current_timestamp, current_date, current_time)'],
      [`insert into t (a) select current_timestamp; update t set c = current_time || '!' where id = 2`],
    ],
    check: { sql: 'select count(a), count(b), count(c), max(length(a)) from t', rows: [[2, 1, 2, 19]] },
  },
  {
    name: `datetime('now') and its relatives in values`,
    given: 'create table t (id integer primary key, a, b, c)',
    groups: [
      [
        `insert into t (a, b, c) values (julianday('now'), unixepoch('now', 'subsec'), strftime('%s %f', 'now'))`,
        `insert into t (a, b, c) values (datetime('now', 'subsec'), time('now', 'subsec', '+1 hour'), julianday())`,
        calls((tx) =>
          tx.run('insert into t (a, b) values (strftime(?, ?), date(?))', ['%f', 'now', '2024-02-29']),
        ),
      ],
      [`update t set a = timediff(strftime('%Y-%m-%d %H:%M:%f', 'now'), '2001-01-01') where id = 1`],
    ],
    check: { sql: 'select count(a), count(b), count(c) from t', rows: [[3, 3, 2]] },
  },
  {
    name: 'DEFAULTs that are random or the time',
    given: `create table t (id integer primary key, r default (random()), b default (lower(hex(randomblob(16)))),
      j default (julianday('now')), s default current_timestamp, c default 'constant', v)`,
    isAppliedLater: true,
    groups: [
      [
        'insert into t default values',
        'insert into t (v) values (1), (2)',
        'insert into t (r, v) values (0, 3)',
      ],
      [`insert into t (id, v) values (4, 9) on conflict (id) do update set v = excluded.v, b = excluded.b`],
    ],
    promoted: 'insert into t default values',
    check: {
      sql: 'select count(distinct b), min(length(b)), count(j), count(s), max(v) from t',
      rows: [[4, 32, 4, 4, 9]],
    },
  },
  {
    name: 'triggers that use chance and time',
    given: `create table t (id integer primary key, v); create table log (id integer primary key, t, r, j);
      create trigger ti after insert on t begin insert into log (t, r, j) values (new.id, random(), julianday('now')); end;
      create trigger tu after update on t begin update log set r = random() where t = new.id; end`,
    groups: [
      [
        'insert into t values (1, 1), (2, 2)',
        fails('insert into t values (9, 9)'),
        'insert into t values (3, 3)',
      ],
      ['update t set v = v + 1 where id < 3'],
    ],
    promoted: 'insert into t values (4, 4)',
    check: { sql: 'select count(distinct r), count(j) from log', rows: [[3, 3]] },
  },
  {
    name: 'CHECKs and views that use chance and time',
    given: `create table t (id integer primary key, a, b, check (abs(random() % 10) < 10 and length(current_timestamp) = 19));
      create view w as select random() as r, julianday('now') as j`,
    groups: [['insert into t (a, b) select r, j from w'], ['update t set a = (select max(r) from w)']],
    promoted: 'insert into t (a, b) select r, j from w',
    check: { sql: 'select typeof(a), typeof(b) from t', rows: [['integer', 'real']] },
  },
  {
    name: 'last_insert_rowid() in SQL',
    given: `create table t (id integer primary key autoincrement, v); create table c (id integer primary key, t references t);
      create table log (id integer primary key, v); create trigger ct after insert on c begin insert into log (v) values (last_insert_rowid()); end`,
    groups: [
      [
        'insert into t (id, v) values (500, 1); insert into c (t) values (last_insert_rowid())',
        fails('insert into t (id, v) values (900, 1)'),
        'insert into t (v) values (2)',
      ],
      ['insert into c (t) values (last_insert_rowid())'],
      ['insert into t (v) select last_insert_rowid()'],
    ],
    check: {
      sql: 'select (select group_concat(t order by id) from c), (select group_concat(v order by id) from t), (select group_concat(v order by id) from log)',
      rows: [['500,501', '1,2,2', '1,2']],
    },
  },
  {
    name: 'changes() in SQL',
    given:
      'create table t (id integer primary key, v); insert into t values (1, 1), (2, 2), (3, 3); create table log (id integer primary key, v)',
    groups: [
      ['update t set v = 0 where id < 3; insert into log (v) values (changes())'],
      ['delete from t', 'insert into log (v) select changes()'],
    ],
    check: { sql: 'select v from log order by id', rows: [[2], [3]] },
  },
  {
    name: 'functions of the user that the format was not told of',
    needs: 'undeclaredFunctions',
    setup: withNoise,
    given: 'create table t (id integer primary key, v); insert into t values (1, 1)',
    groups: [['insert into t (v) values (noise())', 'update t set v = noise() where id = 1']],
    check: { sql: 'select typeof(v) from t', rows: [['text'], ['text']] },
  },
  {
    name: 'effects that depend on the order in which rows are visited',
    needs: 'unorderedEffects',
    given: `create table s (id integer primary key, v); insert into s values (1, 'x'), (2, 'y'), (3, 'z');
      create table t (id integer primary key, v)`,
    groups: [
      ['insert into t (v) select v from s limit 2'],
      ['update t set v = s.v from s where s.id > t.id'],
      ['delete from s where id in (select id from s limit 1)'],
    ],
    check: { sql: 'select (select count(*) from t), (select count(*) from s)', rows: [[2, 2]] },
  },
]
