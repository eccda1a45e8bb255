/** Features of the suite around what tells rows apart: no key, keys that are NULL, rowids that no column shows, pages. */
import type { Feature } from './types.ts'
import { fails } from './writes.ts'

export const KEY_FEATURES: readonly Feature[] = [
  {
    name: 'tables without PRIMARY KEY',
    needs: 'keylessTables',
    given: `create table t (a, b); insert into t values (1, 'x'), (1, 'x'), (2, 'y')`,
    groups: [
      [
        'insert into t values (1, 2), (1, 2)',
        fails('delete from t'),
        'update t set b = 3 where a = 1 and b = 2',
      ],
      [`delete from t where b = 'x'`, 'create table c as select * from t', 'create table u (k unique, v)'],
      [`insert into u values ('k', 1), (null, 2), (null, 3); insert or replace into u values ('k', 4)`],
    ],
    promoted: 'insert into t values (9, 9)',
    check: {
      sql: 'select a, b, (select count(*) from c), (select group_concat(v order by v) from u) from t order by a, b',
      rows: [
        [1, 3, 3, '2,3,4'],
        [1, 3, 3, '2,3,4'],
        [2, 'y', 3, '2,3,4'],
      ],
    },
  },
  {
    name: 'NULL in PRIMARY KEY columns',
    needs: 'nullKeys',
    given: `create table t (k text primary key, v); create table p (a, b, v, primary key (a, b)); insert into t values (null, 0)`,
    groups: [
      [`insert into t values (null, 1), (null, 2), ('k', 3)`, fails('delete from t where k is null')],
      [
        `update t set k = null where k = 'k'; delete from t where v = 1`,
        'update t set v = v + 10 where v = 2',
      ],
      [
        `insert into p values (1, null, 1), (1, null, 1), (null, null, 2); update p set v = 5 where a is null`,
      ],
    ],
    promoted: 'insert into t values (null, 9)',
    check: {
      sql: `select group_concat(coalesce(k, '-') || v, ' ' order by v), (select group_concat(v order by v) from p) from t`,
      rows: [['-0 -3 -12', '1,1,5']],
    },
  },
  {
    name: 'rowids that no column shows',
    needs: 'hiddenRowids',
    given: `create table t (k text primary key, v); insert into t (rowid, k) values (100, 'a'), (7, 'b')`,
    groups: [
      [
        `insert into t (k) values ('c')`,
        fails(`insert into t (k) values ('gone')`),
        `insert into t (k) values ('d')`,
      ],
      [
        `delete from t where k = 'd'`,
        `insert into t (k) values ('e')`,
        `update t set rowid = 50 where k = 'b'`,
      ],
      [`insert or replace into t (k, v) values ('a', 1)`],
    ],
    promoted: `insert into t (k) values ('f')`,
    check: {
      sql: 'select rowid, k from t order by k',
      rows: [
        [103, 'a'],
        [50, 'b'],
        [101, 'c'],
        [102, 'e'],
      ],
    },
  },
  {
    name: 'database files that are equal byte for byte',
    needs: 'equalFiles',
    given: `create table t (id integer primary key, b); create index i on t (b);
      with recursive c (i) as (select 1 union all select i + 1 from c where i < 300) insert into t select i, randomblob(20 * i) from c`,
    groups: [
      ['delete from t where id % 3 = 0', fails('update t set b = zeroblob(5000)'), 'drop index i'],
      [
        'create table u (id integer primary key, b); insert into u select id, b from t where id > 200; drop table t',
      ],
      ['create index j on u (length(b)); delete from u where id % 2 = 0'],
    ],
    promoted: 'insert into u values (1, randomblob(100000)); delete from u where id > 250',
    check: { sql: 'select count(*), min(id), max(id) from u', rows: [[33, 203, 299]] },
  },
]
