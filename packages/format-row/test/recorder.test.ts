/** What the recorder sees, refuses, and forgets when a write is rolled back. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { KV, TestNode } from './helpers.ts'

const SETUP = 'create table t (id integer primary key, v)'
const code = (name: string) => expect.objectContaining({ code: name })
const throwing = (sql: string) => (connection: TestNode['connection']) => {
  connection.exec(sql)
  throw new Error('on purpose')
}

test('a group that changed nothing has no payload', () => {
  const leader = new TestNode(`${SETUP}; ${KV}; insert into kv (k) values ('x')`).lead()
  expect(leader.group().payloads).toEqual([])
  expect(leader.group('select 1', 'update t set v = 1', 'delete from kv where id = 99').payloads).toEqual([])
  expect(
    leader.group(throwing(`insert into kv (k) values ('y')`), throwing('pragma user_version = 3')).payloads,
  ).toEqual([])
  expect(
    leader.group(
      throwing('create table u (id integer primary key autoincrement); insert into u default values'),
    ).payloads,
  ).toEqual([])
  expect(
    leader.group('create table if not exists t (id integer primary key)', 'reindex', 'pragma user_version')
      .payloads,
  ).toEqual([])
  expect(leader.group('update kv set k = k').payloads).toEqual([])
})

test('a group has one payload with the number of its writes, or one for each write', () => {
  const format = rowFormat()
  const writes = [
    'insert into t values (1, 1)',
    throwing('insert into t values (9, 9)'),
    'update t set v = 2',
    'select 1',
  ] as const
  const grouped = new TestNode(SETUP).lead().group(...writes)
  expect(grouped.payloads.map((payload) => format.describe(payload))).toMatchObject([
    { writes: 3, changes: 1 },
  ])
  const single = new TestNode(SETUP, rowFormat({ boundaries: 'write' })).lead().group(...writes)
  expect(single.payloads.map((payload) => format.describe(payload))).toMatchObject([
    { writes: 1, changes: 1 },
    { writes: 1, changes: 1 },
  ])
  expect(() => rowFormat({ boundaries: 'row' as 'write' })).toThrow(code('INVALID_ARGUMENT'))
})

test('DELETE without WHERE is recorded also when it was compiled before the recorder was made', () => {
  const leader = new TestNode(`${SETUP}; insert into t values (1, 1), (2, 2)`)
  const early = leader.database.prepare('delete from t')
  leader.lead()
  const payload = leader.payload((connection) => {
    connection.observer?.before({
      sql: 'delete from t',
      parameters: [],
      effect: 'rows',
      writes: new Set(['t']),
    })
    early.run()
  })
  expect(rowFormat().describe(payload).changes).toBe(2)
})

test('describe shows rows by column name', () => {
  const leader = new TestNode(
    `create table t (id integer primary key, a, b); insert into t values (1, 'x', 2.5), (2, null, x'00')`,
  ).lead()
  const payload = leader.payload(
    `delete from t where id = 2; update t set a = 9007199254740993; insert into t values (3, -0.0, 'z')`,
  )
  expect(rowFormat().describe(payload)).toEqual({
    writes: 1,
    changes: 3,
    schema: expect.stringMatching(/^[0-9a-f]{16}$/),
    steps: [
      {
        table: 't',
        key: ['id'],
        deletes: [{ id: 2, a: null, b: { blob: '00' } }],
        updates: [{ key: { id: 1 }, old: { a: 'x' }, new: { a: { integer: '9007199254740993' } } }],
        inserts: [{ id: 3, a: { real: '-0' }, b: 'z' }],
      },
    ],
  })
  expect(JSON.parse(JSON.stringify(rowFormat().describe(payload)))).toBeTruthy()
})

test('PRAGMAs that no payload can carry are refused before they run', () => {
  const leader = new TestNode(SETUP).lead()
  for (const pragma of [
    'writable_schema = on',
    'legacy_alter_table = on',
    'ignore_check_constraints = on',
    'schema_version = 9',
    'encoding = "UTF-16"',
  ]) {
    const { errors } = leader.group(`pragma ${pragma}`)
    expect(errors).toEqual([code('STATEMENT_UNSUPPORTED')])
  }
  expect(leader.all('pragma writable_schema')).toEqual([[0]])
})

test('a write to a table without PRIMARY KEY that was there before is refused', () => {
  const leader = new TestNode('create table bare (x)').lead()
  const { errors, payloads } = leader.group('insert into bare values (1)')
  expect(errors).toEqual([code('TABLE_WITHOUT_PRIMARY_KEY')])
  expect(payloads).toEqual([])
})

test('inspect names the table and what to do', () => {
  const format = rowFormat()
  const node = new TestNode(
    `${SETUP}; create table _understudy_own (x); create virtual table f using fts5 (a); create virtual table r using rtree (id, a, b)`,
  )
  format.inspect(node.connection)
  node.database.exec('create table k (k text primary key, v); insert into k values (null, 1), (null, 2)')
  expect(() => format.inspect(node.connection)).toThrow(
    expect.objectContaining({
      code: 'DATABASE_UNSUITABLE',
      details: { reason: 'NULL_IN_PRIMARY_KEY', table: 'k', column: 'k', rows: 2 },
    }),
  )
  node.database.exec('create table bare (x)')
  expect(() => format.inspect(node.connection)).toThrow(
    expect.objectContaining({
      code: 'DATABASE_UNSUITABLE',
      details: { reason: 'TABLE_WITHOUT_PRIMARY_KEY', tables: ['bare'] },
    }),
  )
})

test('a group that was abandoned leaves nothing in the next', () => {
  const leader = new TestNode(`${SETUP}; ${KV}`).lead()
  const follower = new TestNode(`${SETUP}; ${KV}`).follow()
  leader.database.exec('begin')
  leader.recorder?.beginGroup()
  leader.recorder?.beginWrite()
  leader.connection.exec(
    `insert into kv (k) values ('a'); create table gone (k text primary key); insert into t values (1, 1); pragma user_version = 5`,
  )
  leader.recorder?.endWrite()
  leader.database.exec('rollback')
  leader.recorder?.abandonGroup()
  follower.apply(leader.payload(`insert into kv (k) values ('b')`))
  follower.apply(leader.payload(`create table gone (k text primary key); insert into gone values ('x')`))
  expect(leader.group('insert into gone values (null)').errors).toEqual([code('NULL_IN_PRIMARY_KEY')])
  for (const table of ['t', 'kv', 'gone', 'sqlite_sequence', 'pragma_user_version']) {
    expect(follower.all(`select * from ${table}`)).toEqual(leader.all(`select * from ${table}`))
  }
})

test('a write with rows before its schema change is undone alone, whatever the schema change was', () => {
  for (const change of [
    'create table x (id integer primary key, a); insert into x values (1, 1); alter table x add column b; update x set b = 1',
    'alter table t add column w; update t set w = 1; insert into t values (8, 8, 8)',
    'drop table t; create table u (id integer primary key, v); insert into u values (1, 5)',
    'alter table t rename to s; insert into s values (8, 8)',
    'create index i on t (v); insert into t values (8, 8)',
    'create trigger r after insert on t begin update t set v = -1; end; insert into t values (8, 8)',
  ]) {
    const leader = new TestNode(`${SETUP}; insert into t values (1, 0), (2, 0)`).lead()
    const follower = new TestNode(`${SETUP}; insert into t values (1, 0), (2, 0)`).follow()
    const { payloads, errors } = leader.group(
      'update t set v = 1; insert into t values (3, 3)',
      throwing(`update t set v = 0; delete from t where id = 2; ${change}`),
      'insert into t values (4, 4)',
    )
    expect(errors).toHaveLength(1)
    follower.apply(...payloads)
    expect(follower.all('select * from t')).toEqual([
      [1, 1],
      [2, 1],
      [3, 3],
      [4, 4],
    ])
  }
})

test.each([
  'alter table t drop column w; update t set v = 2',
  'drop table t; create table t (id integer primary key, v, w); insert into t values (2, 2, 2)',
])(
  'what no session can answer after a rollback fails the whole group instead of losing rows: %s',
  (change) => {
    const leader = new TestNode(
      'create table t (id integer primary key, v, w); insert into t values (1, 0, 0), (2, 0, 0)',
    ).lead()
    expect(() =>
      leader.group('update t set v = 1 where id = 1', throwing(`update t set v = 0 where id = 1; ${change}`)),
    ).toThrow(code('NOT_WRITTEN'))
    leader.database.exec('rollback')
    leader.recorder?.abandonGroup()
    expect(leader.group('update t set v = 5').payloads).toHaveLength(1)
  },
)

test('NULL in a key is refused through each conflict clause, and the error has a code', () => {
  const leader = new TestNode(
    `create table k (a text, b text, primary key (a, b)); insert into k values ('x', 'y')`,
  ).lead()
  for (const clause of ['', 'or ignore', 'or replace', 'or fail', 'or abort']) {
    const { errors } = leader.group(
      `insert ${clause} into k values ('z', null)`,
      `update ${clause} k set a = null`,
    )
    expect(errors.every((error) => isUnderstudyError(error, 'NULL_IN_PRIMARY_KEY'))).toBe(true)
    expect(errors).toHaveLength(2)
  }
  expect(leader.all('select * from k')).toEqual([['x', 'y']])
  leader.recorder?.close()
  expect(leader.all('select count(*) from temp.sqlite_schema')).toEqual([[0]])
})

test.each([
  [
    'NOCASE, WITHOUT ROWID',
    `create table k (k text collate nocase primary key not null, v unique, w) without rowid; insert into k values ('a', 1, 0), ('b', 2, 0), ('d', 4, 7)`,
    `update k set v = '', w = '1' where k = 'd'; update k set v = 4 where k = 'b'; update k set v = 2 where k = 'd'`,
    'update k set k = upper(k)',
  ],
  [
    'NOCASE, with rowid',
    `create table k (k text collate nocase primary key not null, v unique); insert into k values ('a', 1), ('b', 2), ('d', 4)`,
    `update k set v = '' where k = 'd'; update k set v = 4 where k = 'b'`,
    `update k set k = upper(k); update k set k = 'd' where k = 'D'`,
  ],
  [
    'untyped numbers',
    'create table k (k primary key not null, v unique); insert into k values (1, 1), (2, 2), (3, 4)',
    `update k set v = '' where k = 3; update k set v = 4 where k = 2`,
    'update k set k = k * 1.0',
  ],
])(
  'a key spelled anew by a write that was rolled back does not take part in what the others did: %s',
  (_, setup, change, undone) => {
    const leader = new TestNode(setup).lead()
    const { payloads, errors } = leader.group(change, throwing(undone))
    expect(errors).toHaveLength(1)
    const follower = new TestNode(setup).follow()
    for (const payload of payloads) follower.apply(payload)
    expect(follower.all('select * from k order by k')).toEqual(leader.all('select * from k order by k'))
  },
)
