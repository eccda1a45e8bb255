/** Features of the suite around rows and their keys. */
import type { Feature } from './types.ts'
import { fails } from './writes.ts'

export const ROW_FEATURES: readonly Feature[] = [
  {
    name: 'insert, update, delete',
    given: `create table t (id integer primary key, a, b); insert into t values (1, 'x', 1), (2, 'y', 2), (3, 'z', 3)`,
    groups: [
      [
        `insert into t values (4, 'w', 4)`,
        'update t set b = b + 10 where id < 3',
        'delete from t where id = 3',
      ],
    ],
    check: {
      sql: 'select * from t order by id',
      rows: [
        [1, 'x', 11],
        [2, 'y', 12],
        [4, 'w', 4],
      ],
    },
  },
  {
    name: 'DELETE without WHERE',
    given: 'create table t (id integer primary key, a); insert into t values (1, 1), (2, 2)',
    groups: [['delete from t', 'insert into t values (3, 3)'], ['delete from t']],
    check: { sql: 'select count(*) from t', rows: [[0]] },
  },
  {
    name: 'a write that throws, between others in one group',
    given: 'create table t (id integer primary key, a); insert into t values (1, 0)',
    groups: [
      [
        'update t set a = 1',
        fails('update t set a = 2; insert into t values (9, 9); delete from t where id = 1'),
        'insert into t values (2, 2)',
      ],
      [fails('update t set a = 5')],
    ],
    check: {
      sql: 'select * from t order by id',
      rows: [
        [1, 1],
        [2, 2],
      ],
    },
  },
  {
    name: 'WITHOUT ROWID tables',
    given: `create table t (a text, b integer, v, primary key (b desc, a)) without rowid; insert into t values ('x', 1, 1), ('y', 1, 2)`,
    groups: [
      [
        `update t set v = 9 where a = 'x'`,
        `delete from t where a = 'y'`,
        `insert into t values ('z', 5, null)`,
      ],
    ],
    check: {
      sql: 'select * from t',
      rows: [
        ['z', 5, null],
        ['x', 1, 9],
      ],
    },
  },
  {
    name: 'composite and text keys',
    given: `create table t (a text not null, v, b integer not null, primary key (b, a)); insert into t values ('x', 1, 1)`,
    groups: [
      [
        `insert into t values ('x', 2, 2), ('y', 3, 1)`,
        `update t set b = 7 where a = 'y'`,
        `update t set v = 'n' where b = 1`,
      ],
    ],
    check: {
      sql: 'select a, v, b from t order by b',
      rows: [
        ['x', 'n', 1],
        ['x', 2, 2],
        ['y', 3, 7],
      ],
    },
  },
  {
    name: 'NOCASE keys that change case',
    // A key that changes there and back looks as if it were new.
    undo: 'pages',
    given: `create table t (k text collate nocase primary key, v); insert into t values ('abc', 1), ('def', 2), ('ghi', 3), ('jkl', 4)`,
    groups: [
      [`update t set k = 'ABC' where k = 'abc'`, `update t set k = 'DEF', v = 9 where k = 'def'`],
      [
        `delete from t where k = 'ghi'; insert into t values ('GHI', 7)`,
        `insert into t values ('new', 1); update t set k = 'NEW' where k = 'new'`,
      ],
      [`update t set k = 'JKL' where k = 'jkl'; update t set k = 'jkl' where k = 'jkl'`],
    ],
    check: {
      sql: 'select k, v from t order by k',
      rows: [
        ['ABC', 1],
        ['DEF', 9],
        ['GHI', 7],
        ['jkl', 4],
        ['NEW', 1],
      ],
    },
  },
  {
    name: 'untyped keys that change from 1 to 1.0',
    given: `create table t (k primary key not null, v); create table w (k primary key, v) without rowid;
      insert into t values (1, 1), ('1', 2), (x'31', 3); insert into w values (2, 1)`,
    groups: [
      ['update t set k = 1.0 where k = 1', 'update w set k = 2.0'],
      ['update t set v = 5 where k = 1', 'update w set k = 2'],
    ],
    check: {
      sql: 'select typeof(k), v from t union all select typeof(k), v from w order by v',
      rows: [
        ['integer', 1],
        ['text', 2],
        ['blob', 3],
        ['real', 5],
      ],
    },
  },
  {
    name: 'UNIQUE values that move between rows',
    given: `create table t (id integer primary key, u unique, v); insert into t values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd');
      create table w (id integer primary key, u, p, unique (p, u)) without rowid; insert into w values (1, 1, 0), (2, 2, 0), (3, 3, 0)`,
    groups: [
      ['update t set u = -u; update t set u = id % 3 + 1 where id < 4; update t set u = 4 where id = 4'],
      [
        'delete from t where id = 4; update t set u = u + 100; update t set u = u - 99; insert into t values (5, 1, null)',
      ],
      ['update w set u = -u; update w set u = id % 3 + 1'],
    ],
    check: {
      sql: 'select id, u from t order by id',
      rows: [
        [1, 3],
        [2, 4],
        [3, 2],
        [5, 1],
      ],
    },
  },
]
