/** Features of the suite that make and drop what the schema holds, between rows. */
import type { Feature } from './types.ts'
import { caught, fails } from './writes.ts'

export const SCHEMA_FEATURES: readonly Feature[] = [
  {
    name: 'DDL and DML mixed in one transaction',
    undo: 'pages',
    groups: [
      [
        `create table a (id integer primary key, v); insert into a values (1, 'x'); create table b (id integer primary key, a references a);
        insert into b values (1, 1); alter table a add column w default 5; update a set w = 6; create index ai on a (w); insert into a values (2, 'y', 7)`,
        'insert into a (id) values (3)',
      ],
    ],
    check: {
      sql: 'select * from a',
      rows: [
        [1, 'x', 6],
        [2, 'y', 7],
        [3, null, 5],
      ],
    },
  },
  {
    name: 'a write rolled back after DDL, between others in one group',
    undo: 'pages',
    given: 'create table t (id integer primary key, v); insert into t values (1, 0)',
    groups: [
      [
        'update t set v = 1',
        fails('create table x (id integer primary key); insert into x values (1); drop table t'),
        'insert into t values (2, 2)',
      ],
      [
        fails('alter table t add column w default 3; update t set w = 4'),
        `create table y (id integer primary key); insert into y values (1)`,
      ],
    ],
    check: {
      sql: 'select *, (select count(*) from y) from t',
      rows: [
        [1, 1, 1],
        [2, 2, 1],
      ],
    },
  },
  {
    name: 'a write rolled back after rows, DDL and more rows, between others in one group',
    given:
      'create table t (id integer primary key, v); insert into t values (1, 0), (2, 0); create table u (id integer primary key)',
    groups: [
      [
        'update t set v = 1 where id = 1; insert into t values (3, 3)',
        fails(
          'update t set v = 0; delete from t where id = 2; create table x (id integer primary key); insert into x values (1); insert into t values (4, 4)',
        ),
        'insert into t values (5, 5)',
        fails(
          'insert into u values (9); alter table u add column w; insert into u values (10, 10); alter table u add column z; update u set z = 1',
        ),
        'insert into u values (1)',
      ],
    ],
    check: {
      sql: 'select *, (select count(*) from u) from t',
      rows: [
        [1, 1, 1],
        [2, 0, 1],
        [3, 3, 1],
        [5, 5, 1],
      ],
    },
  },
  {
    name: 'DDL that fails inside a write that goes on',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        caught(
          'insert into t values (1, 1); create table t (id integer primary key)',
          'insert into t values (2, 2)',
        ),
        caught('create table if not exists t (id integer primary key)', 'insert into t values (3, 3)'),
      ],
    ],
    check: {
      sql: 'select * from t',
      rows: [
        [1, 1],
        [2, 2],
        [3, 3],
      ],
    },
  },
  {
    name: 'triggers made, and their order',
    undo: 'pages',
    given:
      'create table t (id integer primary key, a); create table log (id integer primary key autoincrement, v)',
    groups: [
      [
        `create trigger b after insert on t begin insert into log (v) values ('b'); end`,
        `create trigger "odd ""name" after insert on t begin insert into log (v) values ('odd'); end; insert into t values (1, 1)`,
      ],
      [
        `drop trigger b; create trigger b after insert on t begin insert into log (v) values ('b2'); end; insert into t values (2, 2)`,
        fails(`drop trigger b; insert into t values (3, 3)`),
      ],
    ],
    promoted: 'insert into t values (10, 10)',
    check: { sql: 'select group_concat(v order by id) from log', rows: [['odd,b,b2,odd']] },
  },
  {
    name: 'partial, expression and descending indexes, and REINDEX',
    undo: 'pages',
    given: 'create table t (id integer primary key, a, b)',
    groups: [
      [
        'create unique index i on t (a) where b > 0; create index e on t (a + b desc, lower(a)); insert into t values (1, 1, 1), (2, 1, 0); reindex; insert into t values (3, 3, 3)',
      ],
    ],
    check: { sql: 'select count(*) from t', rows: [[3]] },
  },
  {
    name: 'ANALYZE and what the query planner learnt',
    undo: 'pages',
    given: `create table t (id integer primary key, a, b); create index ia on t (a); insert into t values (1, 1, 1), (2, 1, 2), (3, 2, 3)`,
    groups: [
      ['analyze'],
      ['insert into t values (4, 2, 2); create index ib on t (b); analyze t'],
      [`delete from sqlite_stat1 where idx = 'ia'`],
    ],
    check: {
      sql: `select tbl, idx, stat from sqlite_stat1 where tbl not like '\\_under%' escape '\\'`,
      rows: [['t', 'ib', '4 2']],
    },
  },
  {
    name: 'names that need quoting',
    undo: 'pages',
    groups: [
      [
        `create table "a ""b"" c" ("x y" text not null, "select" integer, 'q''q', primary key ("x y", "select")) without rowid; insert into "a ""b"" c" values ('1', 2, 3); create table "τραπέζι" ("στήλη" integer primary key); insert into "τραπέζι" values (4)`,
      ],
      [`update "a ""b"" c" set "q'q" = 4`],
    ],
    check: { sql: `select "q'q", "στήλη" from "a ""b"" c", "τραπέζι"`, rows: [[4, 4]] },
  },
  {
    name: 'wide tables and keys far to the right',
    // Keys without a type, inserted and changed in one group: 1 may have been 1.0 for a while.
    undo: 'pages',
    given: `create table t (${Array.from({ length: 300 }, (_, column) => `c${column}`).join(', ')}, primary key (c299, c200)) without rowid`,
    groups: [
      [
        `insert into t (c299, c200, c0) values (1, 2, 3), (4, 5, 6)`,
        'update t set c0 = 7, c298 = 8, c150 = 9 where c299 = 1',
      ],
      ['delete from t where c299 = 4'],
    ],
    check: { sql: 'select c0, c150, c200, c298, c299 from t', rows: [[7, 9, 2, 8, 1]] },
  },
]
