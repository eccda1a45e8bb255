/** Hazards of SQLite that MySQL does not know, and the PRAGMAs that change results: one test for each. */
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { explainSafety, SAFETY_REASONS } from '../src/index.ts'
import { pair, TestNode } from './helpers.ts'

const SCHEMA = `
  create table t (id integer primary key, a, b, g);
  create table s (id integer primary key, a, b, g);
  create table loose (a, b);
  create table auto (id integer primary key autoincrement, v)`

function judged(sql: string, extra: string = ''): string {
  const database = new DatabaseSync(':memory:')
  database.exec(SCHEMA)
  database.exec(extra)
  const { verdict, reasons } = explainSafety(database, sql)
  return [verdict, ...new Set(reasons.map(({ code }) => code))].join(' ')
}

function same(setup: string, ...groups: string[][]): void {
  const { leader, follower } = pair(setup)
  for (const group of groups) follower.apply(leader.payload(...group))
  expect(follower.dump()).toEqual(leader.dump())
}

test('last_insert_rowid() is the leader’s, not that of the connection that applies', () => {
  const { leader, follower } = pair(SCHEMA)
  follower.database.exec(
    'insert into auto (id, v) values (77, 0); delete from auto; delete from sqlite_sequence',
  )
  leader.database.exec('insert into t values (500, 1, 1, 1); delete from t')
  follower.apply(leader.payload('insert into t (a) values (last_insert_rowid())'))
  expect(follower.all('select a from t')).toEqual([[500n]])
})

test('the largest id is taken: ids are drawn at random, and the statement that would draw one is unsafe', () => {
  const { leader } = pair(SCHEMA)
  leader.payload('insert into t (id) values (9223372036854775807)')
  const { errors, payloads } = leader.group('insert into t (a) values (1)', 'insert into t (id) values (5)')
  expect(errors).toHaveLength(1)
  expect(isUnderstudyError(errors[0], 'STATEMENT_UNSAFE')).toBe(true)
  expect((errors[0] as { details: { reasons: unknown } }).details.reasons).toEqual(['DRAWN_IDS'])
  expect(payloads).toHaveLength(1)
  expect(leader.all('select count(*) from t')).toEqual([[2n]])
})

test('the largest id is noticed, whichever statement gave it', () => {
  for (const gives of [
    'insert into t (id) values (9223372036854775807)',
    'update t set id = 9223372036854775807',
    'insert into t select 9223372036854775807, a, b, g from s',
    'insert into t select * from s',
  ]) {
    const { leader } = pair(`${SCHEMA}; insert into s (id) values (9223372036854775807)`)
    const { errors } = leader.group('insert into t (a) values (1)', gives, 'insert into t (a) values (2)')
    expect([gives, errors.map((error) => isUnderstudyError(error, 'STATEMENT_UNSAFE'))]).toEqual([
      gives,
      [true],
    ])
  }
})

test('what ANALYZE learnt in a write that is rolled back is forgotten', () => {
  const rows = `with recursive c (i) as (select 1 union all select i + 1 from c where i < 2000) insert into s (a, b) select i, 1 from c`
  // The table of statistics is there already, so that ANALYZE changes no schema.
  const setup = `${SCHEMA}; create index ia on s (a); create index ib on s (b); insert into s (a, b) values (1, 1), (1, 2), (1, 3); analyze; ${rows}`
  const { leader } = pair(setup)
  const plan = () => leader.all('explain query plan select * from s where a = 1 and b = 1').map(String)
  const before = plan()
  let learnt: string[] = []
  const { errors } = leader.group((connection) => {
    connection.exec('analyze')
    learnt = plan()
    throw new Error('undone')
  })
  expect(errors).toHaveLength(1)
  expect(learnt).not.toEqual(before)
  expect(plan()).toEqual(before)
  leader.lostGroup('analyze')
  expect(plan()).toEqual(before)
  leader.payload('analyze')
  expect(plan()).toEqual(learnt)
})

test('ids that are drawn within one statement are seen by the tripwire alone', () => {
  const { leader, follower } = pair(SCHEMA)
  const payload = leader.payload((connection) => {
    connection.exec('insert into t (id) values (?), (?)', [9223372036854775807n, null])
  })
  expect(() => follower.apply(payload)).toThrow(expect.objectContaining({ code: 'DIVERGED' }))
  expect(follower.all('select count(*) from t')).toEqual([[0n]])
})

test('ids are chosen anew after a delete and after a rollback, alike', () => {
  const { leader, follower } = pair(SCHEMA)
  const payloads = [
    leader.payload('insert into t (a) values (1), (2), (3); insert into auto (v) values (1)'),
    leader.payload('delete from t where id = 3; insert into t (a) values (4)'),
    ...leader.group('insert into auto (v) values (2)', (connection) => {
      connection.exec('insert into auto (v) values (3)')
      throw new Error('undone')
    }).payloads,
    leader.payload('insert into auto (v) values (4)'),
  ]
  follower.apply(...payloads)
  expect(follower.dump()).toEqual(leader.dump())
  expect(follower.all('select id from auto')).toEqual([[1n], [2n], [3n]])
})

test('VACUUM is no part of a write', () => {
  expect(judged('vacuum')).toBe('refused VACUUM')
  expect(judged(`vacuum into 'x'`)).toBe('refused VACUUM')
})

test('columns beside an aggregate come from whichever row', () => {
  expect(judged('insert into loose select a, b from s group by g')).toBe('unsafe BARE_COLUMN')
  expect(judged('insert into loose select a, max(b) from s')).toBe('unsafe BARE_COLUMN')
  expect(judged('insert into loose select a, count(*) from s')).toBe('unsafe BARE_COLUMN')
  expect(judged('insert into loose select g, max(b) from s group by g')).toBe('safe')
  expect(judged('insert into loose select a, b from s group by a, b')).toBe('safe')
  expect(judged('insert into loose select max(a), count(*) from s')).toBe('safe')
  expect(
    judged('insert into loose select a, count(*) from s where g > 1 group by a having count(*) > 2'),
  ).toBe('safe')
})

test('rows are strung together in an order, or else not', () => {
  for (const name of ['group_concat', 'json_group_array']) {
    expect(judged(`update t set a = (select ${name}(a) from s)`)).toBe('unsafe UNORDERED_AGGREGATE')
    expect(judged(`update t set a = (select ${name}(a order by b) from s)`)).toBe(
      'unsafe UNORDERED_AGGREGATE',
    )
    expect(judged(`update t set a = (select ${name}(a order by b, id) from s)`)).toBe('safe')
    expect(judged(`insert into loose select g, ${name}(a) from s group by g`)).toBe(
      'unsafe UNORDERED_AGGREGATE',
    )
  }
})

test('window functions', () => {
  expect(judged('insert into loose select id, row_number() over () from s')).toContain('WINDOW_ORDER')
  expect(judged('insert into loose select id, first_value(a) over (order by b) from s')).toContain(
    'WINDOW_ORDER',
  )
  expect(judged('insert into loose select id, sum(a) over (order by id) from s')).toContain('WINDOW_ORDER')
})

test('UPDATE ... FROM takes any of several matching rows', () => {
  const unique = 'create table u (id integer primary key, k text not null unique, v)'
  expect(judged('update t set a = s.a from s where s.b = t.b')).toBe('unsafe UPDATE_FROM')
  expect(judged('update t set a = s.a from s where s.id = t.b')).toBe('safe')
  expect(judged('update t set a = u.v from u where u.k = t.b', unique)).toBe('safe')
})

test('ANALYZE and what it learnt are the same on every node', () => {
  same(
    `${SCHEMA}; create index i on s (a); insert into s (a, b) values (1, 1), (1, 2), (2, 3)`,
    ['analyze', `insert into s (a) values (9)`],
    [`delete from sqlite_stat1 where idx = 'i'`],
    ['analyze s; drop index i'],
  )
})

test('chance in a CHECK is replayed; a date function in one refuses to look at the clock, as SQLite’s own', () => {
  same(
    'create table c (id integer primary key, check (random() % 2 in (-1, 0, 1) and current_timestamp > 1))',
    ['insert into c values (1), (2)'],
  )
  for (const [table, columns] of [
    [`create table c (id integer primary key, a, check (date(a) is not null))`, '(1, ?)'],
    [`create table c (id integer primary key, a, d as (date(a)) stored)`, '(1, ?)'],
    [`create table c (id integer primary key, a); create index i on c (date(a))`, '(1, ?)'],
  ] as const) {
    const { leader, follower } = pair(table)
    const { errors, payloads } = leader.group((connection) =>
      connection.exec(`insert into c values ${columns}`, ['now']),
    )
    expect(errors.map(String)).toEqual([expect.stringContaining('non-deterministic use of date()')])
    expect(payloads).toEqual([])
    follower.apply(
      leader.payload((connection) => connection.exec(`insert into c values ${columns}`, ['2024-02-29'])),
    )
    expect(follower.dump()).toEqual(leader.dump())
  }
})

test('ALTER TABLE ADD COLUMN with a default that differs is refused by SQLite where rows exist', () => {
  const { leader } = pair(`${SCHEMA}; insert into t (id) values (1)`)
  const { errors } = leader.group('alter table t add column c default current_timestamp')
  expect(String(errors[0])).toContain('non-constant default')
})

test('values are logged as they are bound, not as text', () => {
  const values = [
    null,
    NaN,
    1,
    1.5,
    -0,
    Infinity,
    5n,
    2n ** 62n,
    'a\0b',
    'x\ud800y',
    '',
    new Uint8Array([0, 255]),
  ]
  const { leader, follower } = pair('create table v (id integer primary key, v)')
  for (const value of values) {
    follower.apply(leader.payload((connection) => connection.exec('insert into v (v) values (?)', [value])))
  }
  const typed = 'select typeof(v), hex(v) from v order by id'
  expect(follower.all(typed)).toEqual(leader.all(typed))
  expect(follower.dump()).toEqual(leader.dump())
  expect(follower.all('select distinct typeof(v) from v order by 1').flat()).toEqual([
    'blob',
    'integer',
    'null',
    'real',
    'text',
  ])
})

test('PRAGMAs whose value is data travel as statements; others that change results are refused', () => {
  same(
    '',
    ['pragma user_version = 7', 'pragma application_id = -3'],
    ['create table x (a)', 'pragma user_version = 8'],
  )
  for (const setting of [
    'foreign_keys = 0',
    'recursive_triggers = 1',
    'ignore_check_constraints = 1',
    'case_sensitive_like = 1',
    'reverse_unordered_selects = 1',
    `encoding = 'UTF-16'`,
    'legacy_alter_table = 1',
    'trusted_schema = 0',
    'writable_schema = 1',
    'automatic_index = 0',
    'analysis_limit = 5',
    'count_changes = 1',
    'full_column_names = 1',
    'short_column_names = 0',
    'max_page_count = 5',
    'cell_size_check = 1',
    'query_only = 1',
    'page_size = 512',
    'auto_vacuum = 1',
    'journal_mode',
    'optimize',
    'schema_version = 1',
  ]) {
    expect([setting, judged(`pragma ${setting}`)]).toEqual([setting, 'refused SETTING'])
    const { leader } = pair(SCHEMA)
    const { errors, payloads } = leader.group((connection) => connection.exec(`pragma ${setting}`))
    expect([setting, isUnderstudyError(errors[0], 'STATEMENT_UNSUPPORTED')]).toEqual([setting, true])
    expect(payloads).toEqual([])
  }
  for (const local of [
    'user_version',
    'table_info(t)',
    'integrity_check',
    'wal_checkpoint',
    'main.foreign_keys',
  ]) {
    expect([local, judged(`pragma ${local}`)]).toEqual([local, 'local LOCAL_PRAGMA'])
  }
})

test('defer_foreign_keys acts on its own write only', () => {
  const setup =
    'create table p (id integer primary key); create table c (id integer primary key, p references p)'
  same(setup, ['pragma defer_foreign_keys = 1; insert into c values (1, 5); insert into p values (5)'])
  const { leader } = pair(setup)
  expect(leader.group('pragma defer_foreign_keys = 1').payloads).toEqual([])
})

test('texts of several statements, and statements compiled before the schema changed', () => {
  const { leader, follower } = pair(SCHEMA)
  const sql = 'insert into t (a) values (?)'
  follower.apply(
    leader.payload((connection) => connection.exec(sql, [1])),
    leader.payload('alter table t add column z default 4; update t set z = 5; -- done'),
    leader.payload((connection) => connection.exec(sql, [2])),
  )
  expect(follower.all('select a, z from t')).toEqual([
    [1, 5n],
    [2, 4n],
  ])
  expect(follower.dump()).toEqual(leader.dump())
})

test('REINDEX tidies one node', () => {
  expect(judged('reindex')).toBe('local REINDEX')
  const { leader } = pair(SCHEMA)
  expect(leader.group('reindex', 'select 1', 'explain insert into t (a) values (1)').payloads).toEqual([])
})

test('chance for each row of a table without a key depends on the order of its rows', () => {
  expect(judged('update t set a = random()')).toBe('context RANDOM')
  expect(judged('update loose set a = random()')).toBe('unsafe RANDOM UNORDERED_CONTEXT')
  expect(judged('update loose set a = current_timestamp')).toBe('context MOMENT')
})

test('views and triggers count as what they do', () => {
  const extra = `create view v as select a from s limit 1; create trigger vi instead of insert on v begin insert into auto (v) select a from s; end;
    create trigger tu after update on t begin update s set a = (select stat from sqlite_stat1) where id = new.id; end; analyze`
  expect(judged('update t set a = (select a from v)', extra)).toContain('LIMIT_WITHOUT_ORDER')
  expect(judged('insert into v values (1)', extra)).toContain('UNORDERED_IDS')
  expect(judged('update t set a = 1 where id = 1', extra)).toContain('STATISTICS')
})

test('plain work by key is safe', () => {
  for (const sql of [
    'insert into t (a, b) values (?, ?)',
    'update t set a = a + 1 where id = ?',
    'update t set a = a + 1 where g between ? and ?',
    'delete from t where id = ?',
    'delete from t',
    'delete from loose where a < 5',
    'insert into t (a) values (1) returning id',
    'insert into t (id, a) values (1, 2) on conflict (id) do update set a = excluded.a',
    'insert into t (a) values ((select coalesce(max(a), 0) + 1 from t where g = 3))',
    'with recursive c (i) as (select 1 union all select i + 1 from c where i < 9) insert into t (id, a) select i, i from c',
    'with recursive c (i) as (select 1 union all select i + 1 from c where i < 9) insert into t (a) select i from c',
    'insert into t select * from s',
    'create table x (id integer primary key, at default current_timestamp)',
    'create index ix on t (a)',
    'create unique index ux on t (a, b) where a > 3',
    'create trigger tr after insert on t begin delete from s; end',
    'alter table t rename to u',
    'alter table t drop column g',
    'drop table s',
    ';; /* nothing */ delete from t -- here',
    'replace into t values (1, 2, 3, 4)',
  ]) {
    expect([sql, judged(sql)]).toEqual([sql, 'safe'])
  }
})

test('every reason stands in the README, and a text that is no statement is unsafe', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  for (const [code, sentence] of Object.entries(SAFETY_REASONS)) {
    expect(readme).toMatch(new RegExp(`\\| \`${code}\` +\\| (context|unsafe|local|refused) +\\| `))
    expect(readme).toContain(sentence)
  }
  expect(judged('insert into nowhere values (1)')).toBe('unsafe NOT_ANALYSED')
})

test('looking at a statement runs nothing and changes nothing', () => {
  const node = new TestNode(SCHEMA).lead()
  const before = node.dump()
  node.format.explainSafety(node.connection, 'insert into t (a) select changes() from s')
  node.format.explainSafety(node.connection, 'drop table t')
  expect(node.dump()).toEqual(before)
  expect(node.all('pragma reverse_unordered_selects')).toEqual([[0n]])
})

test('a statement of as many rows as SQLite takes is judged without going over its program for each of them', () => {
  const rows = Array.from({ length: 32_766 }, () => '(?)').join()
  const begun = performance.now()
  expect(judged(`insert into t (a) values ${rows}`)).toBe('safe')
  // A second on a busy machine; more than a minute when each row costs a walk.
  expect(performance.now() - begun).toBeLessThan(15_000)
}, 120_000)
