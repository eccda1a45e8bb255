/** Features of the suite that change tables: ALTER TABLE, DROP TABLE. */
import type { Feature } from './types.ts'

export const ALTER_FEATURES: readonly Feature[] = [
  {
    name: 'ALTER TABLE ADD COLUMN',
    undo: 'pages',
    given:
      'create table t (id integer primary key); insert into t values (1); create table p (id integer primary key)',
    groups: [
      [
        `alter table t add column a text default 'd' not null; alter table t add column r references p; alter table t add column g as (a || '!')`,
        'insert into t (id) values (2)',
        `update t set a = 'e' where id = 1`,
      ],
    ],
    check: {
      sql: 'select * from t',
      rows: [
        [1, 'e', null, 'e!'],
        [2, 'd', null, 'd!'],
      ],
    },
  },
  {
    name: 'ALTER TABLE DROP COLUMN',
    undo: 'pages',
    given: 'create table t (id integer primary key, a, b, c); insert into t values (1, 2, 3, 4)',
    groups: [
      ['update t set c = 5; alter table t drop column b; update t set c = 6; insert into t values (2, 7, 8)'],
    ],
    check: {
      sql: 'select * from t',
      rows: [
        [1, 2, 6],
        [2, 7, 8],
      ],
    },
  },
  {
    name: 'ALTER TABLE RENAME COLUMN with views and triggers that refer to it',
    undo: 'pages',
    given: `create table t (id integer primary key, a); create table log (id integer primary key, v); create view w as select a from t;
      create trigger tr after update of a on t begin insert into log (v) values (new.a); end; create index ti on t (a); insert into t values (1, 1)`,
    groups: [
      ['update t set a = 2; alter table t rename column a to "new name"; update t set "new name" = 3'],
    ],
    promoted: 'update t set "new name" = 4',
    check: { sql: 'select (select group_concat(v) from log), "new name" from w', rows: [['2,3', 3]] },
  },
  {
    name: 'ALTER TABLE RENAME with views, triggers and foreign keys that refer to it',
    undo: 'pages',
    given: `create table t (id integer primary key autoincrement, a); create table c (id integer primary key, t references t on delete cascade); create view w as select a from t;
      create trigger tr after insert on c begin update t set a = a + 1 where id = new.t; end; insert into t values (1, 1)`,
    groups: [
      [
        'insert into c values (1, 1); alter table t rename to "the table"; insert into c values (2, 1)',
        'insert into "the table" (a) values (7)',
        'delete from "the table" where id = 1',
      ],
    ],
    promoted: 'insert into c values (3, 2)',
    check: {
      sql: 'select a, (select count(*) from c), (select seq from sqlite_sequence) from w',
      rows: [[7, 0, 2]],
    },
  },
  {
    name: 'DROP TABLE with foreign-key actions that fire triggers',
    undo: 'pages',
    given: `create table p (id integer primary key); create table c (id integer primary key, p references p on delete cascade); create table n (id integer primary key, p references p on delete set null);
      create table log (id integer primary key, v); create trigger ct after delete on c begin insert into log (v) values (old.id); end;
      insert into p values (1), (2); insert into c values (10, 1), (20, 2); insert into n values (1, 1), (2, null)`,
    groups: [['insert into c values (30, 1); drop table p; insert into log (v) values (99)']],
    check: {
      sql: 'select (select count(*) from c), (select count(*) from n where p is null), (select group_concat(v order by v) from log)',
      rows: [[0, 2, '10,20,30,99']],
    },
  },
  {
    name: 'DROP TABLE, DROP INDEX, DROP VIEW, DROP TRIGGER and making them anew',
    undo: 'pages',
    given: `create table t (id integer primary key autoincrement, a); create index i on t (a); create view v as select 1; create trigger r after insert on t begin select 1; end;
      create table keep (id integer primary key, a); create trigger k after insert on keep begin update keep set a = 5 where id = new.id; end; insert into t values (7, 7)`,
    groups: [
      [
        'insert into t values (8, 8); drop index i; drop view v; drop trigger r; drop table t; create table t (id integer primary key, b, c); insert into t values (1, 2, 3); insert into keep values (1, 1)',
      ],
      [
        'drop trigger k; create trigger k after insert on keep begin update keep set a = 6 where id = new.id; end; insert into keep values (2, 1)',
      ],
    ],
    promoted: 'insert into keep values (3, 1)',
    check: {
      sql: 'select b, c, (select group_concat(a order by id) from keep) from t',
      rows: [[2, 3, '5,6']],
    },
  },
]
