/** A follower that does something else than the leader stops at the first record where it shows. */
import { createHash } from 'node:crypto'
import { UnderstudyError } from '@understudy/contracts'
import { decodeChangeset } from '@understudy/changeset'
import { expect, test } from 'vitest'
import { statementFormat, type DescribedPayload, type DivergenceReport } from '../src/index.ts'
import { digestTables } from '../src/tripwire.ts'
import { KV, pair, TestNode } from './helpers.ts'

const TABLES = `${KV}; create table other (k text primary key not null, v); create table loose (a)`

function diverges(node: TestNode, payload: Uint8Array): UnderstudyError {
  const before = node.dump()
  try {
    node.apply(payload)
  } catch (error) {
    expect(error).toMatchObject({ code: 'DIVERGED' })
    expect(node.dump()).toEqual(before)
    return error as UnderstudyError
  }
  throw new Error('it was applied')
}

function digestOf(node: TestNode, payload: Uint8Array): DescribedPayload['digest'] {
  const described = node.format.describe?.(payload) as DescribedPayload
  return described.digest
}

function kindOf(node: TestNode, payload: Uint8Array): string {
  return digestOf(node, payload).kind
}

test('the tables that differ are named, and this node’s rows are reported', () => {
  const reports: DivergenceReport[] = []
  const format = statementFormat({ onDivergence: (report) => reports.push(report) })
  const { leader, follower } = pair(`${TABLES}; insert into kv (k, n) values ('a', 1), ('b', 2)`, format)
  follower.database.exec(`update kv set n = 3 where k = 'b'`)
  const sql = `update kv set n = n * 10; insert into other values ('x', 1)`
  const error = diverges(follower, leader.payload(sql))
  expect(error.details).toEqual({ tables: ['kv'], rows: [{ table: 'kv', leaderRows: 2, ownRows: 2 }] })
  expect(error.message).not.toContain('30')
  expect(reports).toHaveLength(1)
  expect(reports[0]?.message).toBe(error.message)
  expect(reports[0]?.statements).toEqual(['update kv set n = n * 10;', `insert into other values ('x', 1)`])
  expect(reports[0]?.tables.map(({ table, leaderRows, ownRows }) => [table, leaderRows, ownRows])).toEqual([
    ['kv', 2, 2],
  ])
  expect(reports[0]?.tables[0]?.changes).toContainEqual({
    operation: 'update',
    before: [2, undefined, undefined, 3],
    after: [undefined, undefined, undefined, 30],
  })
})

test('another number of rows, a statement that fails, a table that is missing', () => {
  const { leader, follower } = pair(
    `${TABLES}; insert into kv (k) values ('a'), ('b'); insert into loose values (1)`,
  )
  follower.database.exec(`delete from kv where k = 'b'; drop table other; delete from loose`)
  expect(diverges(follower, leader.payload('update kv set n = 5')).details).toMatchObject({
    expected: 2,
    actual: 1,
  })
  expect(diverges(follower, leader.payload(`insert into other values ('k', 1)`)).message).toContain(
    'no such table',
  )
  expect(
    diverges(follower, leader.payload('insert into kv (id, k) values (5, 1); delete from loose')).message,
  ).toContain('0 rows instead of 1')
})

test('a report has at most a hundred rows of a table', () => {
  const reports: DivergenceReport[] = []
  const format = statementFormat({ onDivergence: (report) => reports.push(report) })
  const rows = `with recursive c (i) as (select 1 union all select i + 1 from c where i < 500) insert into kv (id, n) select i, i from c`
  const { leader, follower } = pair(`${KV}; ${rows}`, format)
  follower.database.exec('update kv set n = 0 where id = 77')
  diverges(follower, leader.payload('update kv set n = n + 1'))
  expect(reports[0]?.tables[0]).toMatchObject({ leaderRows: 500, ownRows: 500 })
  expect(reports[0]?.tables[0]?.changes).toHaveLength(100)
})

test('DELETE without WHERE is seen row by row, also by statements compiled before anyone recorded', () => {
  const setup = `${KV}; insert into kv (n) values (1), (2)`
  const node = new TestNode(setup)
  node.connection.exec('delete from kv where 0')
  const compiled = node.database.prepare('delete from kv')
  compiled.run()
  node.database.exec('insert into kv (id, n) values (1, 1), (2, 2)')
  node.lead()
  const follower = new TestNode(setup).follow()
  follower.database.exec('update kv set n = 7 where id = 2')
  const payload = node.payload('delete from kv')
  expect(digestOf(node, payload).tables).toMatchObject([{ table: 'kv', rows: 2 }])
  expect(diverges(follower, payload).details['tables']).toEqual(['kv'])
})

test('what was rolled back or failed before does not make followers stop', () => {
  const { leader, follower } = pair(`${TABLES}; insert into kv (id, n) values (1, 1)`)
  const many = `with recursive c (i) as (select 1 union all select i + 1 from c where i < 3000) insert into kv (id, n) select i * 7, i from c`
  const { payloads } = leader.group(
    'insert into kv (id, n) values (2, 2), (3, 3)',
    (connection) => {
      connection.exec(`insert into other values ('gone', 1)`)
      connection.exec(many)
      throw new Error('undone')
    },
    (connection) => {
      expect(() => connection.exec('insert into kv (id, n) values (50, 1), (51, 1), (1, 1)')).toThrow(
        'UNIQUE',
      )
      connection.exec(`insert into kv (id, n) values (4, 4), (5, 5); insert into other values ('x', 1)`)
    },
  )
  expect(kindOf(leader, payloads[0] as Uint8Array)).toBe('hard rows')
  follower.apply(...payloads)
  expect(follower.dump()).toEqual(leader.dump())
  expect(kindOf(leader, leader.payload('update kv set n = n + 1'))).toBe('changeset')
  // Rows added up are looked at as closely.
  const other = new TestNode(`${TABLES}; insert into kv (id, n) values (1, 1), (2, 9)`).follow()
  diverges(other, payloads[0] as Uint8Array)
})

test('with other builds of SQLite the order of rows does not count', () => {
  const format = statementFormat({ otherSqlite: 'allow' })
  const { leader, follower } = pair(TABLES, format)
  const payload = leader.payload(`insert into kv (n) values (1), (2), (3); insert into other values ('a', 1)`)
  expect(kindOf(leader, payload)).toBe('rows')
  follower.apply(payload)
  expect(follower.dump()).toEqual(leader.dump())
})

test('changesets of the same statements are equal byte for byte', () => {
  const run = (): Uint8Array => {
    const node = new TestNode(`${TABLES}; insert into kv (n) values (1), (2), (3)`)
    const session = node.database.createSession()
    node.database.exec(
      `update kv set n = n + 1; insert into other select 'k' || id, n from kv; delete from kv where id = 2`,
    )
    const numbers = Array.from({ length: 500 }, (_, index) => `(${index * 13 + 100}, ${index})`)
    node.database.exec(`insert into kv (id, n) values ${numbers.join()}; delete from kv where n % 3 = 0`)
    return session.changeset()
  }
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
  expect(hash(run())).toBe(hash(run()))
})

test('a digest counts each table’s rows as the decoder of changesets does', () => {
  const node = new TestNode(`${TABLES}; insert into kv (n) values (1), (2), (3)`)
  const session = node.database.createSession()
  node.database
    .exec(`insert into other values ('${'x'.repeat(20_000)}', x'00ff'), ('y', null); update kv set n = 1.5, v = zeroblob(300)
    where id > 1; delete from kv where id = 1; insert into kv (k, v) values ('T', 'TTT'); create table "T" (id integer primary key, "T"); insert into "T" values (84, 'T')`)
  const changeset = session.changeset()
  const counts = new Map<string, number>()
  for (const { table } of decodeChangeset(changeset)) counts.set(table, (counts.get(table) ?? 0) + 1)
  for (const sums of [false, true]) {
    const tables = digestTables(changeset, sums, Buffer.from('_understudy_'))
    expect(new Map(tables.map(({ table, rows }) => [table, rows]))).toEqual(counts)
    expect(tables.map(({ table }) => table)).toEqual([...counts.keys()].sort())
  }
})

test('schema changes in a group never fail it, and its statements are compared at least by their counts', () => {
  const { leader, follower } = pair(`${TABLES}; insert into kv (n) values (1)`)
  const { payloads, errors } = leader.group(
    'insert into kv (n) values (2); create table x (id integer primary key, a); insert into x values (1, 1)',
    'alter table kv drop column v; update kv set n = n + 1; alter table x add column b default 3; update x set b = 4',
    (connection) => {
      connection.exec(
        'drop table x; create table x (q, r, s, t, u, v primary key); insert into x (v) values (1)',
      )
      throw new Error('undone')
    },
    'drop table other; create table other (a, b, id integer primary key); insert into other values (1, 2, 3)',
  )
  expect(errors).toHaveLength(1)
  follower.apply(...payloads)
  expect(follower.dump()).toEqual(leader.dump())
})

test('rows before and after a schema change add up', () => {
  const { leader, follower } = pair(TABLES)
  const payload = leader.payload(
    'insert into kv (n) values (1), (2); create table x (a); insert into kv (n) values (3)',
  )
  expect(digestOf(leader, payload)).toMatchObject({ kind: 'rows', tables: [{ table: 'kv', rows: 3 }] })
  follower.apply(payload)
  const other = new TestNode(
    `${TABLES}; create trigger t before insert on kv when new.n = 1 begin update kv set n = 0; end`,
  )
  expect(
    diverges(other.follow(), leader.payload('insert into kv (n) values (1); create table y (a)')).code,
  ).toBe('DIVERGED')
})

test('settings that change what statements do must be those of the leader', () => {
  const setup =
    'create table p (id integer primary key); create table c (id integer primary key, p references p on delete cascade)'
  const { leader, follower } = pair(setup)
  const payload = leader.payload('insert into p values (1)')
  follower.database.exec('pragma foreign_keys = 0; pragma recursive_triggers = 1')
  const error = diverges(follower, payload)
  expect(error.details).toEqual({ settings: ['foreign_keys', 'recursive_triggers'] })
  follower.database.exec('pragma foreign_keys = 1; pragma recursive_triggers = 0')
  follower.apply(payload)
})

test('statistics of the project’s own tables do not count', () => {
  const { leader, follower } = pair(`${KV}; create index i on kv (k); insert into kv (k) values (1), (2)`)
  follower.database.exec(
    'create table _understudy_trigger (name); insert into _understudy_trigger values (1)',
  )
  follower.apply(leader.payload('analyze'), leader.payload('insert into kv (k) values (3); analyze kv'))
  const statistics = `select tbl, idx, stat from sqlite_stat1 where tbl = 'kv'`
  expect(follower.all(statistics)).toEqual(leader.all(statistics))
})

test('errors of this machine are no divergence', () => {
  const { leader, follower } = pair(KV)
  follower.database.exec('pragma max_page_count = 12')
  const payload = leader.payload('insert into kv (v) values (zeroblob(200000))')
  expect(() => follower.apply(payload)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
  follower.database.exec('pragma max_page_count = 100000')
  follower.apply(payload)
  expect(follower.all('select length(v) from kv')).toEqual([[200000n]])
})

test('applying needs a transaction', () => {
  const { leader, follower } = pair(KV)
  const payload = leader.payload('insert into kv (n) values (1)')
  expect(() => follower.applier?.apply(payload)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
})

// Mistakes that this format could have, made on purpose.

test('planted: a result that was not captured', () => {
  const { leader, follower } = pair(KV)
  const { database } = leader
  // As if the override of random() were missing on the leader.
  const original = database.function.bind(database)
  original('random', () => 4n)
  const { payloads } = leader.group('insert into kv (n) values (random())')
  const error = diverges(follower, payloads[0] as Uint8Array)
  expect(error.message).toContain('random was called more often than on the leader')
})

test('planted: an override is missing on the follower', () => {
  const { leader, follower } = pair(KV)
  follower.database.function('randomblob', (length) => new Uint8Array(Number(length)))
  const error = diverges(follower, leader.payload('insert into kv (n, k) values (random(), randomblob(4))'))
  expect(error.message).toContain('random was called where the leader called randomblob')
})

test('planted: functions are called in another order', () => {
  const { leader, follower } = pair(`${KV}; create view v as select random() as a, current_time as b`)
  follower.database.exec('drop view v; create view v as select current_time as a, random() as b')
  const error = diverges(follower, leader.payload('insert into kv (n, k) select * from v'))
  expect(error.message).toContain('where the leader called')
})

test('planted: a declared function that does something else here', () => {
  const format = statementFormat({ functions: ['twice'] })
  const { leader, follower } = pair(KV, format)
  leader.database.function('twice', { deterministic: true }, (value) => Number(value) * 2)
  follower.database.function('twice', { deterministic: true }, (value) => Number(value) * 3)
  expect(
    diverges(follower, leader.payload('insert into kv (n) values (twice(1))')).details['tables'],
  ).toEqual(['kv'])
})

test('planted: a trigger that exists on one node', () => {
  const { leader, follower } = pair(TABLES)
  follower.database.exec(
    `create trigger t after insert on kv begin update kv set v = 'x' where id = new.id; end`,
  )
  diverges(follower, leader.payload('insert into kv (n) values (1)'))
})
