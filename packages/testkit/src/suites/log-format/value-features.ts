/** Features of the suite around values and where they stand. */
import type { DatabaseSync } from 'node:sqlite'
import type { Feature } from './types.ts'
import { calls, fails } from './writes.ts'

export const VALUE_FEATURES: readonly Feature[] = [
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
    name: 'integers beyond 2^53',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        calls((tx) => tx.run('insert into t values (?, ?)', [9223372036854775807n, -9223372036854775808n])),
        calls((tx) => tx.run('insert into t values (?, ?)', [-9223372036854775808n, 9007199254740993n])),
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
        calls((tx) => {
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
        calls((tx) => tx.run('insert into t values (1, ?), (2, ?)', ['a\0b', '\u{1F3AD} \u{10FFFF} \u0000'])),
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
      ['pragma user_version = 7', fails('pragma user_version = 99; pragma application_id = 1')],
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
]
