/**
 * Features of SQLite around rows and values, which every log format is tried with.
 *
 * Each has a check of its own, so that a feature which did nothing at all is noticed.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { WriteTransaction } from '@understudy/contracts'
import type { Feature, FeatureWrite } from './log-format-types.ts'

const fail = (run: (tx: WriteTransaction) => void): FeatureWrite => ({
  fails: true,
  run: (tx) => {
    run(tx)
    throw new Error('rolled back on purpose')
  },
})

const run = (write: (tx: WriteTransaction) => void): FeatureWrite => ({ run: write })

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
        fail((tx) => tx.exec('update t set a = 2; insert into t values (9, 9); delete from t where id = 1')),
        'insert into t values (2, 2)',
      ],
      [fail((tx) => tx.exec('update t set a = 5'))],
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
    name: 'STRICT tables',
    given: 'create table t (id integer primary key, i int, r real, t text, b blob, a any) strict',
    groups: [
      [
        `insert into t values (1, 2, 3, 'four', x'05', '6'), (2, null, 1.5, '', x'', 7)`,
        'update t set a = 1.0',
      ],
    ],
    check: {
      sql: 'select typeof(r), typeof(a) from t',
      rows: [
        ['real', 'real'],
        ['real', 'real'],
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
    name: 'generated columns, virtual and stored',
    given:
      'create table t (id integer primary key, a, v as (a + 1), s as (a * 2) stored, z); create index i on t (v)',
    groups: [
      [
        'insert into t (a, z) values (1, 10), (2, 20)',
        'update t set a = 5 where id = 1',
        'delete from t where id = 2',
      ],
    ],
    check: { sql: 'select id, a, v, s, z from t', rows: [[1, 5, 6, 10, 10]] },
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
      [fail((tx) => tx.exec('insert into t (v) values (9)'))],
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
  {
    name: 'integers beyond 2^53',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        run((tx) => tx.run('insert into t values (?, ?)', [9223372036854775807n, -9223372036854775808n])),
        run((tx) => tx.run('insert into t values (?, ?)', [-9223372036854775808n, 9007199254740993n])),
        'insert into t values (0, 0), (-1, -1), (1, 4294967296), (2, -4294967297), (3, 2147483648), (4, -2147483649)',
      ],
    ],
    check: {
      sql: `select group_concat(id || ':' || v, ' ' order by id) from t`,
      rows: [
        [
          '-9223372036854775808:9007199254740993 -1:-1 0:0 1:4294967296 2:-4294967297 3:2147483648 4:-2147483649 9223372036854775807:-9223372036854775808',
        ],
      ],
    },
  },
  {
    name: 'reals: -0, infinities, NaN, tiny, huge',
    given: 'create table t (id integer primary key, v, r real)',
    groups: [
      [
        run((tx) => {
          for (const value of [-0, 0, Infinity, -Infinity, NaN, 5e-324, 1.7976931348623157e308, 0.1, 1]) {
            tx.run('insert into t (v, r) values (?, ?)', [value, value])
          }
        }),
      ],
    ],
    check: {
      sql: `select v, typeof(v) from t where id < 6`,
      rows: [
        [-0, 'real'],
        [0, 'real'],
        [Infinity, 'real'],
        [-Infinity, 'real'],
        [null, 'null'],
      ],
    },
  },
  {
    name: 'text with NUL, non-BMP characters and bytes that are not UTF-8',
    given: 'create table t (id integer primary key, v text)',
    groups: [
      [
        run((tx) => tx.run('insert into t values (1, ?), (2, ?)', ['a\0b', '\u{1F3AD} \u{10FFFF} \u0000'])),
        `insert into t values (3, cast(x'ff00fe80' as text)), (4, cast(x'eda080' as text))`,
        `update t set v = v || cast(x'c3' as text) where id > 2`,
      ],
    ],
    check: {
      sql: 'select hex(cast(v as blob)) from t',
      rows: [['610062'], ['F09F8EAD20F48FBFBF2000'], ['FF00FE80C3'], ['EDA080C3']],
    },
  },
  {
    name: 'NULL, empty text and empty blob',
    given: 'create table t (id integer primary key, a, b, c)',
    groups: [[`insert into t values (1, null, '', x'')`], [`update t set a = x'', b = null, c = ''`]],
    check: { sql: 'select typeof(a), typeof(b), typeof(c) from t', rows: [['blob', 'null', 'text']] },
  },
  {
    name: 'user_version and application_id',
    given: 'create table t (id integer primary key)',
    groups: [
      [
        'pragma user_version = 7',
        fail((tx) => tx.exec('pragma user_version = 99; pragma application_id = 1')),
      ],
      ['pragma application_id = -12', 'insert into t values (1)'],
      ['pragma user_version = -2147483648'],
    ],
    check: {
      sql: 'select user_version, application_id from pragma_user_version, pragma_application_id',
      rows: [[-2147483648, -12]],
    },
  },
  {
    name: 'user functions and collations in indexes, CHECKs and generated columns',
    setup: (database: DatabaseSync): void => {
      database.function('double', { deterministic: true }, (value) => Number(value) * 2)
    },
    given: `create table t (id integer primary key, a check (double(a) < 100), d as (double(a)) stored); create index i on t (double(a)) where double(a) > 4`,
    groups: [['insert into t (a) values (1), (2), (3)', 'update t set a = a + 1 where double(a) > 2']],
    check: {
      sql: 'select a, d from t',
      rows: [
        [1, 2],
        [3, 6],
        [4, 8],
      ],
    },
  },
  {
    name: 'FTS5',
    given: `create virtual table f using fts5 (title, body); insert into f values ('one', 'the quick brown fox'), ('two', 'the lazy dog')`,
    groups: [
      [
        `insert into f values ('three', 'quick quick')`,
        `update f set body = 'a lazy cat' where title = 'two'`,
        `delete from f where title = 'one'`,
      ],
      [`insert into f (f) values ('optimize')`],
    ],
    promoted: `insert into f values ('four', 'quick again'); insert into f (f) values ('integrity-check')`,
    check: {
      sql: `select title from f where f match 'quick OR cat' order by title`,
      rows: [['three'], ['two']],
    },
  },
  {
    name: 'FTS5 with external content, contentless, and contentless with delete',
    given: `create table doc (id integer primary key, body); create virtual table f using fts5 (body, content = 'doc', content_rowid = 'id');
      create trigger di after insert on doc begin insert into f (rowid, body) values (new.id, new.body); end;
      create trigger dd after delete on doc begin insert into f (f, rowid, body) values ('delete', old.id, old.body); end;
      create virtual table c using fts5 (body, content = ''); create virtual table d using fts5 (body, content = '', contentless_delete = 1)`,
    groups: [
      [
        `insert into doc values (1, 'apple pie'), (2, 'apple tart')`,
        'delete from doc where id = 1',
        `insert into c (rowid, body) values (5, 'apple')`,
        `insert into d (rowid, body) values (6, 'apple'), (7, 'pear')`,
        'delete from d where rowid = 7',
      ],
    ],
    promoted: `insert into doc values (3, 'apple cake'); insert into f (f) values ('integrity-check')`,
    check: {
      sql: `select 'f', rowid from f where f match 'apple' union all select 'c', rowid from c where c match 'apple' union all select 'd', rowid from d where d match 'apple OR pear'`,
      rows: [
        ['f', 2],
        ['c', 5],
        ['d', 6],
      ],
    },
  },
  {
    name: 'R-Tree',
    given:
      'create virtual table r using rtree (id, x0, x1, y0, y1, +label); insert into r values (1, 0, 1, 0, 1, null)',
    groups: [
      [
        run((tx) => {
          for (let id = 2; id < 120; id += 1)
            tx.run('insert into r values (?, ?, ?, ?, ?, ?)', [id, id, id + 1, id, id + 1, `l${id}`])
        }),
        'delete from r where id % 3 = 0',
        'update r set x1 = 500 where id = 4',
      ],
    ],
    promoted: 'insert into r values (1000, 1, 2, 1, 2, null); delete from r where id = 5',
    check: {
      sql: `select count(*), (select label from r where x1 > 400), rtreecheck('r') from r`,
      rows: [[80, 'l4', 'ok']],
    },
  },
  {
    name: 'a transaction of 100,000 rows',
    given: 'create table t (id integer primary key, k text not null, n)',
    groups: [
      [
        `with recursive c (i) as (select 1 union all select i + 1 from c where i < 100000) insert into t select i, 'key' || i, i * 7 from c`,
        'update t set n = -n where id % 10 = 0',
        'delete from t where id % 100 = 0',
      ],
    ],
    check: { sql: 'select count(*), sum(n), max(id) from t', rows: [[99000, 28350000000, 99999]] },
  },
  {
    name: 'a blob of 50 MB',
    given: 'create table t (id integer primary key, b)',
    groups: [['insert into t values (1, randomblob(50000000))'], ['update t set b = randomblob(50000010)']],
    check: { sql: 'select length(b), typeof(b) from t', rows: [[50000010, 'blob']] },
  },
]
