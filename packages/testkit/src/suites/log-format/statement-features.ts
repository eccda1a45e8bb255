/** Features of the suite around how statements are given and how they end. */
import type { Feature } from './types.ts'
import { calls, caught, fails } from './writes.ts'

export const STATEMENT_FEATURES: readonly Feature[] = [
  {
    name: 'parameters of every type, by order and by name',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        calls((tx) => {
          const sql = 'insert into t (v) values (?)'
          for (const value of [
            null,
            0,
            -1,
            1.5,
            1n,
            -(2n ** 63n),
            'text',
            '',
            new Uint8Array([0, 255]),
            new Uint8Array(0),
          ])
            tx.run(sql, [value])
        }),
        calls((tx) => {
          tx.run('insert into t (id, v) values (:id, $v)', { id: 20, v: 'named' })
          tx.run('insert into t (id, v) values (@id, @v)', { '@id': 21, '@v': 2n ** 60n })
          tx.run('insert into t (id, v) values (?2, ?1)', ['numbered', 22])
          tx.run('update t set v = ?1 || ?1 where id = ?2', ['twice', 22])
        }),
      ],
    ],
    check: {
      sql: `select group_concat(typeof(v), ' ' order by id), max(v) from t where id <> 9 and id <> 10`,
      rows: [['null real real real integer integer text text text integer text', 'twicetwice']],
    },
  },
  {
    name: 'texts of several statements, with comments, strings and trailing blanks',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        `-- a comment; with a semicolon
        insert into t (v) values ('a;b'); ; /* another; one */ insert into t (v) values ('--no comment');
        insert into t (v) values ('it''s'); -- the end`,
        calls((tx) => tx.run(`  insert into t (v) values ('é\u{1F600}') -- after`)),
      ],
    ],
    check: {
      sql: 'select v from t order by id',
      rows: [['a;b'], ['--no comment'], [`it's`], ['é\u{1F600}']],
    },
  },
  {
    name: 'RETURNING',
    given: `create table t (id integer primary key autoincrement, v); create table c (id integer primary key, t integer)`,
    groups: [
      [
        calls((tx) => {
          for (const row of tx.all('insert into t (v) values (?), (?) returning id', ['x', 'y']))
            tx.run('insert into c (t) values (?)', [row['id'] as number])
          tx.get('update t set v = v || 1 returning id')
          tx.table('delete from t where id = 1 returning id, v', [], { rowsMax: 1 })
        }),
      ],
    ],
    check: { sql: `select v, (select group_concat(t order by id) from c) from t`, rows: [['y1', '1,2']] },
  },
  {
    name: 'WITH, and INSERT SELECT in the order of a key',
    given: `create table s (id integer primary key, v); insert into s values (1, 'c'), (2, 'a'), (3, 'b'); create table t (id integer primary key, v, n)`,
    groups: [
      [
        'with o as (select id, v from s where id < 4) insert into t (v, n) select v, id from o order by id desc',
        'with x as (select id from t where n = 3) delete from t where id in (select id from x)',
        'update t set n = (select v from s where s.id = t.n)',
      ],
    ],
    check: {
      sql: 'select * from t order by id',
      rows: [
        [2, 'a', 'a'],
        [3, 'c', 'c'],
      ],
    },
  },
  {
    name: 'statements that fail half-way and keep what they did',
    given: 'create table t (id integer primary key, v); insert into t values (3, 0)',
    groups: [
      [
        caught('insert or fail into t values (1, 1), (2, 2), (3, 3), (4, 4)', 'insert into t values (5, 5)'),
        caught('update or fail t set id = id + 1 where id < 3', 'update t set v = v + 1 where id = 1'),
        fails('insert or ignore into t values (1, 9), (8, 8)'),
        caught('insert into t values (6, 6), (5, 9)', 'insert into t values (7, 7)'),
      ],
    ],
    check: {
      sql: `select group_concat(id || ':' || v, ' ' order by id) from t`,
      rows: [['1:2 2:2 3:0 5:5 7:7']],
    },
  },
  {
    name: 'ids that SQLite draws, after the largest one is taken',
    needs: 'drawnIds',
    given: 'create table t (id integer primary key, v)',
    groups: [
      [
        calls((tx) => tx.run('insert into t values (?, 0)', [2n ** 63n - 1n])),
        'insert into t (v) values (1)',
        'insert into t (v) values (2), (3)',
      ],
    ],
    check: { sql: 'select v from t order by v', rows: [[0], [1], [2], [3]] },
  },
]
