/** Damaged payloads: refused as a whole before the database is touched, or applied as what they say; never a hang. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { fuzz } from './fuzz.ts'
import { TestNode } from './helpers.ts'
import { plainCodec, type PlainTable } from './plain-reading.ts'

const SETUP = `create table t (id integer primary key autoincrement, a, b text); create table w (k text primary key not null, v) without rowid;
  insert into t values (1, 1, 'one'), (2, 2.5, null); insert into w values ('k', x'0102')`

function sample(): Uint8Array {
  return new TestNode(SETUP)
    .lead()
    .payload(
      `delete from t where id = 1; update t set a = 'new', b = 'text'; insert into t (a, b) values (x'ff', 'three'); update w set v = 1.5`,
      'create table u (id integer primary key); insert into u values (1); create trigger r after insert on u begin select 1; end; pragma user_version = 9',
    )
}

function codeOf(node: TestNode, payload: Uint8Array): string {
  try {
    node.apply(payload)
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
  return 'applied'
}

/** A payload that brings another text for that of a schema change or a trigger. */
function withText(
  text: string,
  instead: string,
  payload: Uint8Array = new TestNode(SETUP).lead().payload(text),
): Uint8Array {
  const codec = plainCodec()
  const group = codec.decode(payload)
  const bearers = [...(group.steps ?? []).map(({ schema }) => schema), ...(group.triggers?.triggers ?? [])]
  const found = bearers.find((bearer) => bearer?.sql === text)
  if (found === undefined) throw new Error('no such text')
  found.sql = instead
  return codec.encode(group)
}

test('a payload cut anywhere is RECORD_CORRUPT', () => {
  const payload = sample()
  const format = rowFormat()
  // Where the optional fields at the end begin, a shorter payload is a whole one.
  const whole: number[] = []
  for (let length = 0; length < payload.length; length += 1) {
    try {
      format.describe(payload.subarray(0, length))
      whole.push(length)
    } catch (error) {
      expect(isUnderstudyError(error, 'RECORD_CORRUPT')).toBe(true)
    }
  }
  expect(whole.length).toBeLessThanOrEqual(3)
})

test('mutated payloads do what another reader makes of them, or nothing', () => {
  const runs = Number(process.env['UNDERSTUDY_FUZZ_RUNS'] ?? 3000)
  const seed = Number(process.env['UNDERSTUDY_FUZZ_SEED'] ?? 1)
  const notes: string[] = []
  const { refused, accepted, slow, ...times } = fuzz({ seed, runs, note: (line) => notes.push(line) })
  const figures = { seed, runs, accepted, ...Object.fromEntries(refused), ...times, slow }
  process.stdout.write(`${[JSON.stringify(figures), ...notes].join('\n')}\n`)
  expect([...refused.keys()].toSorted()).toEqual([
    'DIVERGED',
    'FORMAT_VERSION',
    'RECORD_CORRUPT',
    'SCHEMA_MISMATCH',
  ])
  expect(accepted).toBeGreaterThan(runs / 10)
  expect(refused.get('RECORD_CORRUPT')).toBeGreaterThan(runs / 10)
  expect(refused.get('DIVERGED')).toBeGreaterThan(runs / 10)
  expect(slow).toBe(0)
}, 36_000_000)

test('a payload that names the columns of its table in another order, or another key, is refused', () => {
  const setup = 'create table t (id integer primary key, a, b)'
  const codec = plainCodec()
  const payload = new TestNode(setup).lead().payload('insert into t values (1, 2, 3)')
  const node = new TestNode(setup).follow()
  const changed = (change: (table: PlainTable) => void): Uint8Array => {
    const group = codec.decode(payload)
    for (const { rows } of group.steps ?? []) if (rows !== undefined) change(rows)
    return codec.encode(group)
  }
  expect(
    codeOf(
      node,
      changed((table) => (table.columns = table.columns.toReversed())),
    ),
  ).toBe('DIVERGED')
  expect(
    codeOf(
      node,
      changed((table) => (table.columns[1] = 'A')),
    ),
  ).toBe('DIVERGED')
  expect(
    codeOf(
      node,
      changed((table) => (table.key = [1])),
    ),
  ).toBe('DIVERGED')
  expect(
    codeOf(
      node,
      changed((table) => (table.table = 'T')),
    ),
  ).toBe('DIVERGED')
  expect(
    codeOf(
      node,
      changed((table) => (table.table = '_understudy_trigger')),
    ),
  ).toBe('DIVERGED')
  expect(node.all('select * from t')).toEqual([])
  expect(
    codeOf(
      node,
      changed(() => undefined),
    ),
  ).toBe('applied')
})

test('a schema change is one statement that makes, alters or drops what users have', () => {
  const follower = new TestNode(SETUP).follow()
  for (const [sql, code] of [
    ['create table u (a primary key); drop table t', 'DIVERGED'],
    ['create view u as select 1\0 garbage', 'DIVERGED'],
    ['drop table _understudy_trigger', 'DIVERGED'],
    ['create index i on _understudy_trigger (name)', 'DIVERGED'],
    ['drop table nowhere', 'DIVERGED'],
    ['create', 'DIVERGED'],
    ['commit', 'RECORD_CORRUPT'],
    [`attach '/tmp/understudy-never' as x`, 'RECORD_CORRUPT'],
    ['; /* create */ detach x', 'RECORD_CORRUPT'],
    ['create /* */ temp view x as select 1', 'RECORD_CORRUPT'],
    ['pragma writable_schema = 1', 'RECORD_CORRUPT'],
    ['insert into t values (9, 9, 9)', 'RECORD_CORRUPT'],
    ['-- create', 'RECORD_CORRUPT'],
    ['', 'RECORD_CORRUPT'],
  ]) {
    expect([sql, codeOf(follower, withText('create view seen as select 1', sql as string))]).toEqual([
      sql,
      code,
    ])
  }
  const commented = '/* a view */ ; -- of one\n create view seen as select 1'
  expect(codeOf(follower, new TestNode(SETUP).lead().payload(commented))).toBe('applied')
})

test('triggers that could not be put back are refused while they are brought', () => {
  const setup = 'create table t (id integer primary key)'
  const trigger = 'create trigger r after insert on t begin select 1; end'
  const follower = new TestNode(setup).follow()
  for (const [sql, code] of [
    ['CREATE TRIGGER r after insert on nowhere begin select 1; end', 'DIVERGED'],
    ['CREATE TRIGGER r after insert on t begin select 1; end; drop table t', 'DIVERGED'],
    ['CREATE TRIGGER r after insert on t begin select; end', 'DIVERGED'],
    ['drop table t', 'RECORD_CORRUPT'],
  ]) {
    const text = trigger.replace('create trigger', 'CREATE TRIGGER')
    const payload = withText(text, sql as string, new TestNode(setup).lead().payload(trigger))
    expect([sql, codeOf(follower, payload)]).toEqual([sql, code])
  }
  const twice = plainCodec().decode(new TestNode(setup).lead().payload(trigger))
  const [only] = twice.triggers?.triggers ?? []
  if (only !== undefined) twice.triggers?.triggers?.push(only)
  expect(codeOf(follower, plainCodec().encode(twice))).toBe('DIVERGED')
  expect(codeOf(follower, new TestNode(setup).lead().payload(trigger))).toBe('applied')
  follower.transaction(() => follower.applier?.restore())
  expect(follower.all("select name from sqlite_schema where type = 'trigger'")).toEqual([['r']])
})

test('a counter whose name is not UTF-8 is refused, not stored as another', () => {
  const payload = Buffer.from(
    new TestNode(SETUP).lead().payload(`update sqlite_sequence set name = 'abc' where name = 't'`),
  )
  payload[payload.lastIndexOf('abc')] = 0xff
  expect(codeOf(new TestNode(SETUP).follow(), payload)).toBe('RECORD_CORRUPT')
})

test('a payload of a newer version says which version is needed', () => {
  const payload = sample()
  expect(payload.subarray(0, 2)).toEqual(Uint8Array.of(0x08, 1))
  payload[1] = 2
  const follower = new TestNode(SETUP).follow()
  expect(() => follower.apply(payload)).toThrow(
    expect.objectContaining({ code: 'FORMAT_VERSION', details: { version: 2, versionMax: 1 } }),
  )
})

test('a field that version 1 does not have is RECORD_CORRUPT', () => {
  const format = rowFormat()
  const unknown = Buffer.concat([sample(), Uint8Array.of((15 << 3) | 2, 1, 0)])
  expect(() => format.describe(unknown)).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }))
})

test('tables of SQLite itself cannot be written through a payload', () => {
  const leader = new TestNode('create table sqlitex (id integer primary key)').lead()
  const payload = Buffer.from(leader.payload('insert into sqlitex values (1)'))
  const at = payload.indexOf('sqlitex')
  payload.write('sqlite_', at)
  expect(() => rowFormat().describe(payload)).toThrow(expect.objectContaining({ code: 'RECORD_CORRUPT' }))
})

test('a count of rows that is not the number of rows is RECORD_CORRUPT', () => {
  const leader = new TestNode('create table t (id integer primary key)').lead()
  const payload = leader.payload('insert into t values (1), (2)')
  expect(payload.subarray(4, 6)).toEqual(Uint8Array.of(0x18, 2))
  payload[5] = 3
  expect(() => rowFormat().describe(payload)).toThrow(/2 rows where 3 were announced/)
})

test('a header remembered from an earlier payload does not outlive a change of its bytes', () => {
  const leader = new TestNode('create table t (id integer primary key, v)').lead()
  const follower = new TestNode('create table t (id integer primary key, v)').follow()
  const first = leader.payload('insert into t values (1, 1)')
  const second = leader.payload('insert into t values (2, 2)')
  follower.apply(first)
  first.fill(0xff)
  follower.apply(second)
  expect(follower.all('select * from t')).toEqual([
    [1, 1],
    [2, 2],
  ])
})
