/** Damaged payloads: refused as a whole before the database is touched, or applied as what they say; never a hang. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { rowFormat } from '../src/index.ts'
import { randomNumbers, TestNode } from './helpers.ts'

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

test('mutated payloads never change a follower that refuses them', () => {
  const payload = sample()
  const random = randomNumbers(0x9e3779b9)
  const follower = new TestNode(SETUP).follow()
  const rows = () =>
    JSON.stringify([
      follower.all('select *, typeof(a) from t'),
      follower.all('select k, hex(v) from w'),
      follower.all('pragma schema_version'),
    ])
  const before = rows()
  const codes = new Map<string, number>()
  for (let round = 0; round < 3000; round += 1) {
    const bytes = payload.slice()
    for (let flips = 1 + random(3); flips > 0; flips -= 1) bytes[random(bytes.length)] = random(256)
    follower.database.exec('begin')
    const changes = follower.all('select total_changes()')
    try {
      follower.applier?.apply(bytes)
      codes.set('applied', (codes.get('applied') ?? 0) + 1)
    } catch (error) {
      if (!isUnderstudyError(error)) throw error
      codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
      if (error.code === 'RECORD_CORRUPT') expect(follower.all('select total_changes()')).toEqual(changes)
    }
    follower.database.exec('rollback')
    expect(rows()).toBe(before)
  }
  expect([...codes.keys()].toSorted()).toEqual([
    'DIVERGED',
    'FORMAT_VERSION',
    'RECORD_CORRUPT',
    'SCHEMA_MISMATCH',
    'applied',
  ])
  expect(codes.get('RECORD_CORRUPT')).toBeGreaterThan(1000)
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
