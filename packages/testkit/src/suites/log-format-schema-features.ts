/** Features of the suite that change the schema. */
import type { WriteTransaction } from '@understudy/contracts'
import type { Feature, FeatureWrite } from './log-format-types.ts'

const fail = (sql: string): FeatureWrite => ({
  fails: true,
  run: (tx: WriteTransaction) => {
    tx.exec(sql)
    throw new Error('rolled back on purpose')
  },
})

const caught = (sql: string, then: string): FeatureWrite => ({
  run: (tx: WriteTransaction) => {
    try {
      tx.exec(sql)
    } catch {
      // The statement failed alone; the write goes on.
    }
    tx.exec(then)
  },
})

export const SCHEMA_FEATURES: readonly Feature[] = [
  {
    name: 'DDL and DML mixed in one transaction',
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
    given: 'create table t (id integer primary key, v); insert into t values (1, 0)',
    groups: [
      [
        'update t set v = 1',
        fail('create table x (id integer primary key); insert into x values (1); drop table t'),
        'insert into t values (2, 2)',
      ],
      [
        fail('alter table t add column w default 3; update t set w = 4'),
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
        fail(
          'update t set v = 0; delete from t where id = 2; create table x (id integer primary key); insert into x values (1); insert into t values (4, 4)',
        ),
        'insert into t values (5, 5)',
        fail(
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
    name: 'ALTER TABLE ADD COLUMN',
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
  {
    name: 'triggers made, and their order',
    given:
      'create table t (id integer primary key, a); create table log (id integer primary key autoincrement, v)',
    groups: [
      [
        `create trigger b after insert on t begin insert into log (v) values ('b'); end`,
        `create trigger "odd ""name" after insert on t begin insert into log (v) values ('odd'); end; insert into t values (1, 1)`,
      ],
      [
        `drop trigger b; create trigger b after insert on t begin insert into log (v) values ('b2'); end; insert into t values (2, 2)`,
        fail(`drop trigger b; insert into t values (3, 3)`),
      ],
    ],
    promoted: 'insert into t values (10, 10)',
    check: { sql: 'select group_concat(v order by id) from log', rows: [['odd,b,b2,odd']] },
  },
  {
    name: 'CREATE, ALTER and DROP of virtual tables',
    groups: [
      [
        `create virtual table f using fts5 (a); insert into f values ('hello world'); create virtual table r using rtree (id, a, b); insert into r values (1, 2, 3)`,
      ],
      [
        `alter table f rename to g; insert into g values ('hello again'); drop table r; create virtual table g2 using fts5vocab (g, row)`,
      ],
    ],
    promoted: `insert into g values ('hello promoted'); insert into g (g) values ('integrity-check')`,
    check: {
      sql: `select rowid, (select cnt from g2 where term = 'hello') from g where g match 'hello'`,
      rows: [
        [1, 2],
        [2, 2],
      ],
    },
  },
  {
    name: 'partial, expression and descending indexes, and REINDEX',
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
