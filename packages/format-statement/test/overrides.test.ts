/** The overrides answer as SQLite's own functions, but for statements that are recorded or replayed. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { KV, pair, TestNode } from './helpers.ts'

/** The value and its type, or the error. */
function outcome(database: DatabaseSync, sql: string, ...values: SQLInputValue[]): unknown {
  try {
    const statement = database.prepare(`select v, typeof(v) from (select ${sql} as v)`)
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    return statement.get(...values)
  } catch (error) {
    return error instanceof Error ? error.message : error
  }
}

const PURE: readonly (readonly [string, ...SQLInputValue[]])[] = [
  ['date(?)', '2024-02-30'],
  ['date(?)', null],
  ['date(?)', 'nonsense'],
  ['date(?)', 2451545.5],
  ['date(?, ?)', 1092941466n, 'unixepoch'],
  ['datetime(?, ?)', 1092941466, 'auto'],
  ['datetime(?)', 0n],
  ['time(?)', '12:34:56.789'],
  ['time(?, ?)', '12:34:56.789', 'subsec'],
  ['julianday(?)', '2024-02-29 12:00'],
  ['unixepoch(?)', '2024-02-29'],
  ['unixepoch(?, ?)', '2024-02-29 01:02:03.5', 'subsec'],
  ['strftime(?, ?)', '%Y %j %w %% %q', '2024-02-29'],
  ['strftime(?, ?, ?)', null, '2024-02-29', '+1 day'],
  ['strftime()'],
  ['timediff(?, ?)', '2024-02-29', '2020-01-01'],
  ['timediff(?, ?)', null, '2020-01-01'],
  ['date(?, ?)', '2024-02-29', new Uint8Array([0x2b, 0x31, 0x20, 0x64, 0x61, 0x79])],
  ['datetime(?, ?)', '2024-06-15 12:00:00', 'localtime'],
  ['datetime(?, ?)', '2024-06-15 12:00:00', 'UTC'],
  ['date(?, ?)', '2024-02-29', 'no modifier'],
  ['length(randomblob(?))', 7n],
  ['length(randomblob(?))', 0n],
  ['length(randomblob(?))', -5n],
  ['length(randomblob(?))', null],
  ['length(randomblob(?))', 'abc'],
  ['length(randomblob(?))', 2.9],
  ['randomblob(?)', 2_000_000_000n],
  ['random(1)'],
  ['randomblob()'],
  ['current_timestamp(1)'],
  ['timediff(1)'],
]

test('what depends on the arguments alone, and every error, is what SQLite answers', () => {
  const plain = new DatabaseSync(':memory:')
  const { database } = new TestNode().lead()
  for (const [sql, ...values] of PURE) {
    const own = outcome(database, sql, ...values)
    const expected = outcome(plain, sql, ...values)
    expect([sql, values, own]).toEqual([sql, values, expected])
  }
})

test('times are the time, in the form that SQLite gives them', () => {
  const { database } = new TestNode().lead()
  const plain = new DatabaseSync(':memory:')
  for (const call of [
    'current_timestamp',
    'current_date',
    'current_time',
    'date()',
    `datetime('now')`,
    `datetime('NOW', 'localtime')`,
    `datetime('now', 'utc')`,
    `strftime('%s')`,
    `unixepoch('now')`,
    `strftime('%Y-%m-%d %H:%M', 'now', '+1 hour')`,
    `datetime(x'6e6f77')`,
    `date('now', 'start of month')`,
    `date('now', 'unixepoch')`,
    `date('now' || char(0) || 'x')`,
    `substr(time('subsec'), 1, 8)`,
    `substr(datetime('now', 'subsec'), 1, 19)`,
  ]) {
    // A second may end between the two: then once more.
    const matches = Array.from({ length: 3 }, () => [outcome(plain, call), outcome(database, call)])
    const isSame = matches.some(([a, b]) => String(a) === String(b))
    expect([call, matches[0], isSame]).toEqual([call, matches[0], true])
  }
  expect(outcome(database, `length(time('subsecond'))`)).toEqual([12n, 'integer'])
  expect(outcome(database, `typeof(julianday('now'))`)).toEqual(['real', 'text'])
})

test('random() covers 64 bits, and values are new each time', () => {
  const { database } = new TestNode().lead()
  const values = Array.from({ length: 200 }, () => (outcome(database, 'random()') as [bigint])[0])
  expect(new Set(values).size).toBe(200)
  expect(values.some((value) => value < 0n)).toBe(true)
  expect(values.some((value) => value > 2n ** 62n)).toBe(true)
})

test('now is one moment for a whole statement and moves on between statements', () => {
  const { leader, follower } = pair('create table t (id integer primary key, a, b)')
  follower.apply(
    leader.payload(
      `with recursive c (i) as (select 1 union all select i + 1 from c where i < 20000)
       insert into t select i, julianday('now', (i % 1) || ' days'), strftime('%f', 'now', (i % 1) || ' days') from c`,
    ),
  )
  expect(leader.all('select count(distinct a), count(distinct b) from t')).toEqual([[1n, 1n]])
  expect(follower.dump()).toEqual(leader.dump())
  const first = leader.all('select a from t limit 1')[0]?.[0] as number
  const deadline = process.hrtime.bigint() + 3_000_000n
  while (process.hrtime.bigint() < deadline);
  leader.payload(`insert into t values (-1, julianday('now'), 0)`)
  expect(leader.all('select a from t where id = -1')[0]?.[0]).toBeGreaterThan(first)
})

test('changes() and last_insert_rowid() are SQLite’s own, in triggers too', () => {
  const setup = `create table u (id integer primary key, k unique, w); create table d (id integer primary key, v);
    create trigger ti after insert on u begin
      insert into d (v) values ('i' || last_insert_rowid() || ':' || changes());
      update d set v = v || '.' where id > 1;
      insert into d (v) values ('j' || last_insert_rowid() || ':' || changes());
    end`
  const work = [
    'insert into u values (7, 7, 0), (9, 9, 0)',
    'insert into u values (10, 7, 0) on conflict (k) do update set w = changes()',
    `update u set w = changes() || ':' || last_insert_rowid()`,
    'delete from u where id = 7',
    'insert into u (w) values (changes())',
    'insert into u (w) select changes() + last_insert_rowid() from u where id = 9',
  ]
  const plain = new DatabaseSync(':memory:')
  plain.exec(setup)
  for (const sql of work) plain.exec(sql)
  const { leader, follower } = pair(setup)
  follower.apply(leader.payload((connection) => work.forEach((sql) => connection.exec(sql))))
  const rows = 'select v from d union all select w from u'
  expect(leader.database.prepare(rows).all()).toEqual(plain.prepare(rows).all())
  expect(follower.dump()).toEqual(leader.dump())
})

test('a statement that is looked at for the first time still sees changes() of the one before', () => {
  const { leader } = pair('create table t (id integer primary key, v)')
  leader.payload((connection) => {
    connection.exec('insert into t (v) values (1), (2), (3)')
    const id = leader.all('select max(id) from t')
    connection.exec('insert into t (v) values (changes())')
    connection.exec('insert into t (v) values (changes() + last_insert_rowid())')
    expect(id).toEqual([[3n]])
  })
  expect(leader.all('select v from t where id > 3')).toEqual([[3n], [5n]])
})

test('nothing is captured of reads in a write, and of statements outside of one', () => {
  const { leader } = pair('create table t (id integer primary key, a)')
  const payload = leader.payload((connection) => {
    connection.exec('select random(), current_timestamp')
    connection.exec('insert into t (a) values (random())')
    connection.exec(`select randomblob(4), date('now')`)
  })
  const described = leader.format.describe?.(payload) as { writes: { captured: unknown[] }[][] }
  expect(described.writes.flat().map(({ captured }) => captured.length)).toEqual([1])
})

test('equal results in a row take no room', () => {
  const { leader, follower } = pair(
    'create table t (id integer primary key, at default current_timestamp, r)',
  )
  const payload = leader.payload(
    `with recursive c (i) as (select 1 union all select i + 1 from c where i < 1000) insert into t (id) select i from c`,
  )
  expect(payload.length).toBeLessThan(220)
  follower.apply(payload)
  expect(follower.dump()).toEqual(leader.dump())
})

test('a function that the user had overridden is the user’s, also when overrides are made anew', () => {
  const node = new TestNode(KV)
  node.database.function('random', () => 4n)
  node.database.function('date', { varargs: true, deterministic: true }, () => 'mine')
  for (let round = 0; round < 2; round += 1) {
    node.lead()
    expect(node.all(`select random(), date('now')`)).toEqual([[4n, 'mine']])
    const { errors } = node.group('insert into kv (n) values (random())')
    expect(isUnderstudyError(errors[0], 'STATEMENT_UNSAFE')).toBe(true)
    node.recorder?.close()
  }
})

test('recorders and appliers of one connection come one after another, and leave nothing behind', () => {
  const { leader, follower } = pair(
    'create table t (id integer primary key, a default (random()), at default current_timestamp)',
  )
  const count = leader.connection.observerCount
  for (let round = 0; round < 3; round += 1) {
    follower.apply(leader.payload('insert into t (id) values (null)'))
    leader.recorder?.close()
    follower.applier?.close()
    leader.follow()
    follower.lead()
    leader.apply(follower.payload('insert into t (id) values (null)'))
    follower.recorder?.close()
    leader.applier?.close()
    leader.lead()
    follower.follow()
  }
  expect(follower.dump()).toEqual(leader.dump())
  expect(leader.connection.observerCount).toBe(count)
  // Two at once: whoever works registers its own.
  const applier = leader.format.applier(leader.connection)
  const payload = follower.format.recorder(follower.connection)
  payload.close()
  applier.close()
  const own = leader.payload('insert into t (id) values (null)')
  follower.applier?.close()
  follower.follow().apply(own)
  expect(follower.dump()).toEqual(leader.dump())
})

test('after a recorder is closed, date functions in generated columns still refuse to look at the clock', () => {
  const node = new TestNode('create table g (id integer primary key, a, d as (date(a)) stored)').lead()
  node.recorder?.close()
  expect(() => node.connection.exec(`insert into g values (1, 'now')`)).toThrow(
    /non-deterministic use of date/,
  )
  node.connection.exec(`insert into g values (1, '2024-02-29')`)
  node.connection.exec(`create table h (id integer primary key, check (time(id) is not null))`)
  expect(() => node.connection.exec(`insert into h values (1), ('now')`)).toThrow('datatype mismatch')
  node.connection.exec(`insert into g select 2, date('now', '-1 day') where 0`)
  expect(node.all('select d from g')).toEqual([['2024-02-29']])
})

test('trusted_schema must be on', () => {
  const node = new TestNode('pragma trusted_schema = 0')
  const unsuitable = expect.objectContaining({ code: 'DATABASE_UNSUITABLE' })
  expect(() => node.lead()).toThrow(unsuitable)
  expect(() => node.follow()).toThrow(unsuitable)
  expect(() => node.format.inspect?.(node.connection)).toThrow(unsuitable)
})

test('schemas that use dates in generated columns and indexes stay readable', () => {
  const setup = `create table t (id integer primary key, at text, day as (date(at)) stored, month as (strftime('%Y-%m', at)));
    create index i on t (unixepoch(at)); create index p on t (id) where julianday(at) > 5`
  const { leader, follower } = pair(setup)
  follower.apply(
    leader.payload(
      `insert into t (at) values ('2024-02-29 12:00'), ('2025-01-01')`,
      'update t set at = current_timestamp where id = 1',
      'alter table t rename to u; create index k on u (date(at))',
    ),
  )
  expect(follower.dump()).toEqual(leader.dump())
  expect(leader.all('pragma integrity_check')).toEqual([['ok']])
})
