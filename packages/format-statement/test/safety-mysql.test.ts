/**
 * One test for each row of MySQL's list of statements that are unsafe to replicate (manual, 19.2.1.3), as it reads for
 * SQLite: U1 to U20.
 */
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { explainSafety, statementFormat, type SafetyReasonCode } from '../src/index.ts'
import { pair, TestNode } from './helpers.ts'

const SCHEMA = `
  create table t (id integer primary key, a, b, n integer);
  create table s (id integer primary key, a, b, n integer);
  create table auto (id integer primary key autoincrement, v);
  create table loose (a, b, n integer);
  create table words (k text primary key, v);
  create table pair (a, b, primary key (b, a)) without rowid;
  create table kind (id integer primary key, u unique, w unique);
  create index sa on s (a);
  create view w as select id, a from s`

function database(extra: string = ''): DatabaseSync {
  const opened = new DatabaseSync(':memory:')
  opened.exec(SCHEMA)
  opened.exec(extra)
  return opened
}

/** Verdict and reason codes, in one line. */
function judged(sql: string, extra: string = ''): string {
  const { verdict, reasons } = explainSafety(database(extra), sql)
  return [verdict, ...new Set(reasons.map(({ code }) => code))].join(' ')
}

function unsafe(...codes: SafetyReasonCode[]): string {
  return ['unsafe', ...codes].join(' ')
}

test('U1: functions that differ from call to call, node to node or build to build', () => {
  expect(judged('insert into t (a) values (random())')).toBe('context RANDOM')
  expect(judged('insert into t (a) values (randomblob(16))')).toBe('context RANDOM')
  expect(judged('insert into t (a) values (changes())')).toBe('context CONNECTION_COUNTER')
  expect(judged('insert into t (a) values (last_insert_rowid())')).toBe('context CONNECTION_COUNTER')
  expect(judged('insert into t (a) values (total_changes())')).toBe(unsafe('CONNECTION_STATE'))
  expect(judged(`insert into t (a) values (load_extension('x'))`)).toBe(unsafe('LOCAL_RESOURCE'))
  // The same build everywhere, or else not.
  for (const name of ['sqlite_version()', 'sqlite_source_id()', `sqlite_compileoption_used('X')`]) {
    const sql = `insert into t (a) values (${name})`
    expect(judged(sql)).toBe('safe')
    const loose = statementFormat({ otherSqlite: 'allow' })
    expect(loose.explainSafety(database(), sql).reasons.map(({ code }) => code)).toEqual(['SQLITE_BUILD'])
  }
  const db = database()
  db.function('readfile', (path) => String(path))
  expect(explainSafety(db, `insert into t (a) values (readfile('x'))`).verdict).toBe('unsafe')
})

test('U2: time is context that travels, wherever it is asked for', () => {
  for (const call of [
    'current_timestamp',
    'current_date',
    'current_time',
    `datetime('now')`,
    'date()',
    'julianday(?)',
    `unixepoch(a, 'localtime')`,
    `strftime('%s', 'now', 'subsec')`,
    `timediff('now', '2020-01-01')`,
  ]) {
    expect(judged(`update t set b = ${call} where id = 1`)).toBe('context MOMENT')
  }
  const { leader, follower } = pair(SCHEMA)
  follower.apply(
    leader.payload(
      `insert into t (a, b) values (current_timestamp, julianday('now', 'localtime')); insert into t (a) values (strftime('%f', 'now'))`,
    ),
  )
  expect(follower.dump()).toEqual(leader.dump())
})

test('U3: settings that change results are refused inside a write', () => {
  for (const pragma of ['foreign_keys = 0', 'recursive_triggers = 1', 'case_sensitive_like = 1']) {
    expect(judged(`pragma ${pragma}`)).toBe('refused SETTING')
  }
})

test('U4: functions of the user are unsafe until they are declared', () => {
  const db = database()
  db.function('mine', { deterministic: true }, (value) => value)
  db.aggregate('most', { start: 0, step: (sum: number, value) => sum + Number(value) })
  const sql = 'insert into t (a) values (mine(1))'
  const { verdict, reasons, functions } = explainSafety(db, sql)
  expect(verdict).toBe('unsafe')
  expect(reasons).toEqual([{ code: 'USER_FUNCTION', detail: 'mine' }])
  expect(functions).toEqual(['mine'])
  expect(explainSafety(db, 'insert into t (a) select most(a) from s').reasons).toEqual([
    { code: 'USER_FUNCTION', detail: 'most' },
  ])
  expect(statementFormat({ functions: ['Mine'] }).explainSafety(db, sql).verdict).toBe('safe')
})

test('U5: full-text and R-Tree tables are safe in the same build only', () => {
  const extra = `create virtual table f using fts5 (body); create virtual table r using rtree (id, x, y);
    create virtual table v using fts5vocab (f, row)`
  for (const sql of [
    `insert into f values ('x')`,
    `insert into f (f) values ('optimize')`,
    'insert into r values (1, 2, 3)',
    `delete from t where id in (select rowid from f where f match 'x')`,
  ]) {
    expect(judged(sql, extra)).toBe('safe')
    const loose = statementFormat({ otherSqlite: 'allow' })
    expect(loose.explainSafety(database(extra), sql).verdict).toBe('unsafe')
  }
  expect(judged('insert into t (a) select term from v order by term', extra)).toContain('NODE_STATE')
  expect(judged('create virtual table g using fts5 (a)')).toBe('safe')
  expect(judged('create virtual table g using dbstat')).toBe(unsafe('VIRTUAL_TABLE'))
})

test('U6: a trigger that lets SQLite choose ids fires in an order that nodes share, or else not', () => {
  const audit = (table: string) =>
    `create trigger tr after update on ${table} begin insert into auto (v) values (new.a); end`
  expect(judged('update t set a = 1', audit('t'))).toBe('safe')
  expect(judged('update loose set a = 1', audit('loose'))).toBe(unsafe('UNORDERED_IDS'))
  expect(judged('update loose set a = 1 where rowid = 5', audit('loose'))).toBe(unsafe('HIDDEN_ROWID'))
})

test('U7: several UNIQUE constraints are checked in the order of the schema, which nodes share', () => {
  expect(judged('insert into kind values (1, 2, 3) on conflict do update set w = 5')).toBe('safe')
  expect(judged('insert or replace into kind values (1, 2, 3), (4, 2, 3)')).toBe('safe')
  expect(judged('insert or ignore into kind select id, a, b from s order by id')).toBe('safe')
  expect(judged('insert or replace into kind select n, a, b from loose')).toBe(unsafe('UNORDERED_CONFLICT'))
  expect(judged('insert into words select a, b from loose where true on conflict do nothing')).toBe(
    unsafe('UNORDERED_CONFLICT'),
  )
})

test('U8: LIMIT without an order that decides', () => {
  const of = (tail: string) => `delete from t where id in (select id from s ${tail})`
  expect(judged(of('limit 3'))).toBe(unsafe('LIMIT_WITHOUT_ORDER'))
  expect(judged(of('where a > 3 limit ?'))).toBe(unsafe('LIMIT_WITHOUT_ORDER'))
  // Ties.
  expect(judged(of('order by b limit 3'))).toBe(unsafe('LIMIT_WITHOUT_ORDER'))
  expect(judged(of('order by b, id limit 3'))).toBe('safe')
  expect(judged(of('order by id desc limit ? offset 2'))).toBe('safe')
  // Served by an index, whose entries end with the key.
  expect(judged(of('order by a, id limit 3'))).toBe('safe')
  expect(judged('insert into t (a) select a from s order by b, id limit 5')).toBe('safe')
  expect(judged('insert into t (a) select a from s limit 5')).toContain('LIMIT_WITHOUT_ORDER')
  expect(judged('insert into words select a, b from pair order by b, a limit 5')).toBe('safe')
  // A subquery as a value takes the first of several rows.
  expect(judged('update t set a = (select a from s where n > 3)')).toBe(unsafe('LIMIT_WITHOUT_ORDER'))
  expect(judged('update t set a = (select a from s where n > 3 order by b limit 1)')).toBe(
    unsafe('LIMIT_WITHOUT_ORDER'),
  )
  expect(judged('update t set a = (select a from s where s.id = t.n)')).toBe('safe')
  expect(judged('update t set a = (select a from s where n > 3 order by id limit 1)')).toBe('safe')
  expect(judged('update t set a = (select max(n) from s)')).toBe('safe')
  expect(judged('update t set a = 1 where exists (select 1 from s where n = t.n)')).toBe('safe')
})

test('U9: tables that each node has for itself', () => {
  expect(judged('insert into t (a) select name from dbstat order by name')).toContain('NODE_STATE')
  expect(judged('insert into t (a) select cache_size from pragma_cache_size')).toContain('NODE_STATE')
  expect(judged('insert into t (a) select sql from sqlite_schema order by name')).toContain('NODE_STATE')
  const analysed = 'analyze'
  expect(judged('insert into t (a) select max(stat) from sqlite_stat1', analysed)).toBe(unsafe('STATISTICS'))
  expect(judged(`delete from sqlite_stat1 where idx = 'sa'`, analysed)).toBe('safe')
  expect(judged('analyze')).toBe('safe')
})

test('U10: other databases beside the one that is replicated', () => {
  expect(judged(`attach ':memory:' as other`)).toBe('refused ATTACH')
  expect(judged('detach other')).toBe('refused ATTACH')
})

test('U11: the tables of the project itself', () => {
  expect(judged('delete from _understudy_position')).toBe('refused OWN_TABLE')
  expect(judged('create table _understudy_mine (x)')).toBe('refused OWN_TABLE')
  expect(judged('insert into t (a) select sql from "_understudy_statement"')).toBe('refused OWN_TABLE')
})

test('U12: what comes from files', () => {
  const db = database()
  db.function('csv_line', (path) => String(path))
  expect(explainSafety(db, `insert into t (a) values (csv_line('data.csv'))`).verdict).toBe('unsafe')
  expect(judged('create virtual table c using csv (filename = "x.csv")')).toBe(unsafe('VIRTUAL_TABLE'))
})

test('U13: transactions are the node’s; of savepoints only what survives is logged', () => {
  for (const sql of ['begin', 'commit', 'rollback', 'savepoint a', 'release a', 'end']) {
    expect(judged(sql)).toBe('refused TRANSACTION')
  }
  const { leader, follower } = pair(SCHEMA)
  const { payloads } = leader.group('insert into t values (1, 1, 1, 1)', (c) => {
    c.exec('insert into t values (2, 2, 2, 2)')
    throw new Error('undone')
  })
  follower.apply(...payloads)
  expect(follower.all('select id from t')).toEqual([[1n]])
})

test('U14: DEFAULTs that differ, which neither the text nor the authorizer shows', () => {
  const extra = `create table d (id integer primary key, at default current_timestamp, r default (random()), x default (datetime('now')))`
  const { verdict, functions } = explainSafety(database(extra), 'insert into d (id) values (1)')
  expect(verdict).toBe('context')
  expect(functions).toEqual(['current_timestamp', 'datetime', 'random'])
})

test('U15: rows inserted from a SELECT get ids in its order', () => {
  expect(judged('insert into auto (v) select a from s')).toBe(unsafe('UNORDERED_IDS'))
  expect(judged('insert into auto (v) select a from s order by b')).toBe(unsafe('UNORDERED_IDS'))
  expect(judged('insert into auto (v) select a from s order by b, id')).toBe('safe')
  expect(judged('insert into auto (v) select a from s order by id')).toBe('safe')
  expect(judged('insert into auto (v) select distinct a from loose')).toBe(unsafe('UNORDERED_IDS'))
  expect(judged('insert into auto (v) select a from w')).toBe(unsafe('UNORDERED_IDS'))
  expect(judged('insert into auto (v) select a from s union all select a from t')).toBe(
    unsafe('UNORDERED_IDS'),
  )
  expect(judged('insert into auto (v) values (1), (2), (3)')).toBe('safe')
  expect(judged('insert into auto (v) select a from s where id = 3')).toBe('safe')
  expect(judged(`insert into auto (v) select value from json_each('[1,2]')`)).toBe('safe')
  expect(judged('insert into auto (v) select a || count(*) from s group by a')).toBe('safe')
  const strict = 'create table st (k text primary key not null, v)'
  expect(judged('insert into auto (v) select v from st order by k', strict)).toBe('safe')
  expect(judged('insert into auto (v) select v from words order by k')).toBe(unsafe('UNORDERED_IDS'))
  // Given ids.
  expect(judged('insert into auto select id, a from s')).toBe('safe')
  // No ids that one could see; nobody may look at the hidden ones.
  expect(judged('create table c as select a from s')).toBe('safe')
  expect(judged('insert into loose select a, b, n from s')).toBe('safe')
  expect(judged('update loose set a = rowid')).toBe(unsafe('HIDDEN_ROWID'))
})

test('U16: SQLite has one writer, so that the order of commits is the order of effects', () => {
  const { leader, follower } = pair(SCHEMA)
  const payloads = [1, 2, 3].map((n) =>
    leader.payload(`insert into auto (v) values (${n}); update auto set v = v * 2`),
  )
  follower.apply(...payloads)
  expect(follower.all('select v from auto order by id')).toEqual([[8n], [8n], [6n]])
})

test('U17: temporary tables and triggers', () => {
  expect(judged('create temp table x (a)')).toBe('refused TEMP')
  expect(judged('create temporary trigger x after insert on t begin select 1; end')).toBe('refused TEMP')
  expect(judged('insert into x values (1)', 'create temp table x (a)')).toBe('refused TEMP')
  expect(judged('insert into t (a) select a from temp.x', 'create temp table x (a)')).toBe('refused TEMP')
  const trigger = 'create temp trigger tr after insert on t begin insert into s (id) values (new.id); end'
  expect(judged('insert into t values (1, 1, 1, 1)', trigger)).toBe(unsafe('TEMP_TRIGGER'))
  const node = new TestNode(SCHEMA + ';' + trigger)
  expect(() => node.format.inspect?.(node.connection)).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNSUITABLE' }),
  )
})

test('U18: floating-point numbers', () => {
  for (const call of ['sin(a)', 'pow(a, 2)', 'exp(1)', 'ln(2)', 'log(10, a)', 'atan2(1, 2)']) {
    expect(judged(`update t set b = ${call}`)).toBe(unsafe('FLOAT_MATH'))
  }
  for (const call of ['sqrt(a)', 'ceil(a)', 'floor(a)', 'mod(7, a)', 'round(a, 2)', 'abs(a)']) {
    expect(judged(`update t set b = ${call}`)).toBe('safe')
  }
  expect(judged('update t set b = (select sum(a) from loose)')).toBe(unsafe('UNORDERED_SUM'))
  expect(judged('update t set b = (select sum(n) from loose)')).toBe('safe')
  expect(judged('update t set b = (select avg(a) from s)')).toBe('safe')
})

test('U19: another build of SQLite is refused at the handshake, and says which', () => {
  const { connection, format } = new TestNode(SCHEMA)
  const own = format.fingerprint?.(connection) ?? ''
  expect(own).toMatch(/^SQLite \d+\.\d+\.\d+, options [0-9a-f]{12}$/)
  expect(format.accepts?.(own, own)).toBeUndefined()
  expect(format.accepts?.(own, 'SQLite 3.50.0, options 000000000000')).toContain('SQLite 3.50.0')
  expect(format.accepts?.(own, own.replace(/.$/, 'x'))).toContain('other options')
  expect(statementFormat({ otherSqlite: 'allow' }).accepts?.(own, 'other')).toBeUndefined()
})

test('U20: a statement that fails part way is carried as one that fails', () => {
  const { leader, follower } = pair(`${SCHEMA}; insert into t (id) values (3)`)
  const payload = leader.payload((connection) => {
    expect(() =>
      connection.exec('insert or fail into t (id, a) values (1, random()), (2, 2), (3, 3), (4, 4)'),
    ).toThrow(/UNIQUE/)
    expect(() => connection.exec('update t set id = id + 1')).toThrow(/UNIQUE/)
    connection.exec('insert into t (id) values (9)')
  })
  follower.apply(payload)
  expect(follower.all('select id from t')).toEqual([[1n], [2n], [3n], [9n]])
  expect(follower.dump()).toEqual(leader.dump())
  // Where it does not fail in the same way, that is noticed.
  const other = new TestNode(SCHEMA).follow()
  try {
    other.apply(payload)
    expect.unreachable()
  } catch (error) {
    expect(isUnderstudyError(error, 'DIVERGED')).toBe(true)
  }
})
