/** Features of the suite in which a statement does more than it says: foreign keys, triggers, counters, conflicts. */
import type { Feature } from './types.ts'
import { fails } from './writes.ts'

export const EFFECT_FEATURES: readonly Feature[] = [
  {
    name: 'foreign keys with actions',
    given: `create table p (id integer primary key); create table c (id integer primary key, p references p on delete cascade on update cascade);
      create table n (id integer primary key, p references p on delete set null); create table g (id integer primary key, c references c on delete cascade);
      insert into p values (1), (2), (3); insert into c values (10, 1), (20, 2); insert into n values (1, 1), (2, 3); insert into g values (5, 10), (6, 20)`,
    groups: [['delete from p where id = 1', 'update p set id = 22 where id = 2']],
    promoted: 'delete from p where id = 22',
    check: {
      sql: 'select c.id, p, g.id, (select count(*) from n where p is null) from c join g on g.c = c.id',
      rows: [[20, 22, 6, 1]],
    },
  },
  {
    name: 'deferred foreign keys',
    given: `create table p (id integer primary key); create table c (id integer primary key, p references p deferrable initially deferred)`,
    groups: [['insert into c values (1, 7); insert into p values (7)']],
    check: { sql: 'select p from c', rows: [[7]] },
  },
  {
    name: 'triggers',
    given: `create table t (id integer primary key, v); create table log (id integer primary key autoincrement, what);
      create trigger t1 after insert on t begin insert into log (what) values ('i' || new.id); end;
      create trigger t2 after insert on t begin insert into log (what) values ('j' || new.id); end;
      create trigger t3 before delete on t begin insert into log (what) values ('d' || old.id); end;
      create trigger t4 after update of v on t when new.v > 10 begin update t set v = 10 where id = new.id; end`,
    groups: [
      [
        'insert into t values (1, 1), (2, 2)',
        'update t set v = 99 where id = 2',
        'delete from t where id = 1',
      ],
    ],
    promoted: 'insert into t values (7, 7)',
    check: {
      sql: `select group_concat(what order by id), (select v from t) from log`,
      rows: [['j1,i1,j2,i2,d1', 10]],
    },
  },
  {
    name: 'views with INSTEAD OF triggers',
    given: `create table t (id integer primary key, v); create view w as select id, v * 2 as d from t;
      create trigger wi instead of insert on w begin insert into t values (new.id, new.d / 2); end`,
    groups: [['insert into w values (1, 10)']],
    promoted: 'insert into w values (2, 20)',
    check: { sql: 'select * from w', rows: [[1, 10]] },
  },
  {
    name: 'AUTOINCREMENT with insert and delete in one group',
    given:
      'create table t (id integer primary key autoincrement, v); create table u (id integer primary key autoincrement); insert into u values (5)',
    groups: [
      ['insert into t (v) values (1)'],
      ['insert into t (v) values (2), (3)', 'delete from t where id > 1'],
      [fails('insert into t (v) values (9)')],
    ],
    promoted: 'insert into t (v) values (4)',
    check: {
      sql: `select (select max(id) from t), seq from sqlite_sequence where name = 't'`,
      rows: [[1, 3]],
    },
  },
  {
    name: 'writes to sqlite_sequence',
    given:
      'create table t (id integer primary key autoincrement); create table u (id integer primary key autoincrement); insert into t values (1); insert into u values (1)',
    groups: [
      [`update sqlite_sequence set seq = 1000 where name = 't'`],
      [`delete from sqlite_sequence where name = 'u'`],
      [`insert into sqlite_sequence values ('u', 77), ('u', 88)`],
    ],
    promoted: 'insert into t default values',
    check: {
      sql: 'select name, seq from sqlite_sequence order by rowid',
      rows: [
        ['t', 1000],
        ['u', 77],
        ['u', 88],
      ],
    },
  },
  {
    name: 'UPSERT',
    given: `create table t (k text primary key not null, n, u unique); insert into t values ('a', 1, 1)`,
    groups: [
      [
        `insert into t values ('a', 5, 1), ('b', 5, 2) on conflict (k) do update set n = n + excluded.n`,
        `insert into t values ('c', 0, 2) on conflict do nothing`,
      ],
    ],
    check: {
      sql: 'select * from t order by k',
      rows: [
        ['a', 6, 1],
        ['b', 5, 2],
      ],
    },
  },
  {
    name: 'INSERT OR REPLACE',
    given: `create table t (id integer primary key, u unique, w unique); insert into t values (1, 1, 1), (2, 2, 2), (3, 3, 3);
      create table k (k text primary key not null, v); insert into k values ('a', 1)`,
    groups: [
      [
        'insert or replace into t values (4, 1, 2)',
        'replace into t values (3, 30, 30)',
        `replace into k values ('a', 2), ('b', 3)`,
      ],
    ],
    check: {
      sql: 'select * from t order by id',
      rows: [
        [3, 30, 30],
        [4, 1, 2],
      ],
    },
  },
]
