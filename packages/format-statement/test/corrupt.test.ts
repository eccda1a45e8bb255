/** Payloads are bytes from elsewhere. */
import { expect, test } from 'vitest'
import { ByteReader, ByteWriter, type PlainValue } from '../src/bytes.ts'
import { encodePayload, writeEnd, writeStatement } from '../src/payload.ts'
import { fuzz, seal } from './fuzz.ts'
import { KV, pair, TestNode } from './helpers.ts'

const NO_DIGEST = { kind: 0, tables: [] }
/** Foreign keys are on. */
const HEAD = { flushes: false, settings: 1 }

function codeOf(node: TestNode, payload: Uint8Array): string {
  try {
    node.apply(payload)
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
  return 'applied'
}

/** A payload with one statement, its checksum right. */
function crafted(sql: string, changes: number = 0): Uint8Array {
  const body = new ByteWriter()
  writeStatement(body, 0, changes, [], [])
  writeEnd(body)
  return encodePayload(new ByteWriter(), HEAD, [{ number: 0, text: sql }], body.bytes(), NO_DIGEST)
}

test('cut off anywhere, or with any byte changed, it is refused and nothing is applied', () => {
  const { leader, follower } = pair(KV)
  const payload = leader.payload((connection) =>
    connection.exec('insert into kv (k, v, n) values (?, ?, random())', ['a', new Uint8Array(3)]),
  )
  const before = follower.dump()
  for (let length = 0; length < payload.length; length += 1) {
    expect(codeOf(follower, payload.subarray(0, length))).toBe('RECORD_CORRUPT')
    const changed = new Uint8Array(payload)
    changed[length] = (changed[length] as number) ^ 0x10
    expect(codeOf(follower, changed)).toBe(length === 0 ? 'FORMAT_VERSION' : 'RECORD_CORRUPT')
  }
  expect(follower.dump()).toEqual(before)
  expect(codeOf(follower, payload)).toBe('applied')
})

test('a payload of a newer version is not looked into', () => {
  const { leader, follower } = pair(KV)
  const payload = new Uint8Array(leader.payload('insert into kv (n) values (1)'))
  payload[0] = 2
  expect(codeOf(follower, seal(payload))).toBe('FORMAT_VERSION')
  expect(() => follower.format.describe?.(payload)).toThrow(
    expect.objectContaining({ code: 'FORMAT_VERSION' }),
  )
})

test('statements that no recorder writes down are not run', () => {
  const follower = new TestNode(`${KV}; create table _understudy_position (lsn)`).follow()
  const before = follower.dump()
  for (const sql of [
    'commit',
    ';; commit',
    '/* x */ rollback',
    'end',
    'savepoint a',
    'release w',
    'begin',
    `attach '/tmp/understudy-never' as x`,
    'detach x',
    'vacuum',
    `vacuum into '/tmp/understudy-never'`,
    'pragma writable_schema = 1',
    'pragma foreign_keys = 0',
    'pragma main.journal_mode = off',
    'pragma user_version',
    'reindex',
    'select 1',
    'explain insert into kv (n) values (1)',
    'delete from _understudy_position',
    'delete from main."_understudy_position"',
    'create temp table x (a)',
    'insert into temp.x values (1)',
    '',
    '-- nothing',
  ]) {
    expect([sql, codeOf(follower, crafted(sql))]).toEqual([sql, 'RECORD_CORRUPT'])
  }
  for (const sql of [
    'insert into kv (n) values (1); delete from kv',
    'insert into nowhere values (1)',
    'insert or rollback into kv (id) values (null, 1)',
    'update kv set n = n +',
  ]) {
    expect([sql, codeOf(follower, crafted(sql))]).toEqual([sql, 'DIVERGED'])
  }
  expect(codeOf(follower, crafted('insert or rollback into kv (id) values (1), (1)', 1))).toBe('DIVERGED')
  expect(follower.dump()).toEqual(before)
  expect(codeOf(follower, crafted('insert into kv (n) values (1)', 1))).toBe('applied')
})

test('numbers of texts must be known, and follow each other', () => {
  const follower = new TestNode(KV).follow()
  const body = new ByteWriter()
  writeStatement(body, 0, 1, [], [])
  writeEnd(body)
  const sql = 'insert into kv (n) values (1)'
  const payload = (number: number, text: string | undefined): Uint8Array =>
    encodePayload(new ByteWriter(), HEAD, [{ number, text }], body.bytes(), NO_DIGEST)
  expect(codeOf(follower, payload(7, undefined))).toBe('DIVERGED')
  expect(codeOf(follower, payload(2, sql))).toBe('DIVERGED')
  expect(codeOf(follower, payload(1, sql))).toBe('applied')
  expect(codeOf(follower, payload(1, sql))).toBe('applied')
  expect(codeOf(follower, payload(1, undefined))).toBe('applied')
  expect(codeOf(follower, payload(1, 'insert into kv (n) values (2)'))).toBe('DIVERGED')
})

test('every value comes back as it was', () => {
  const values: PlainValue[] = [
    null,
    0,
    -0,
    1,
    127,
    128,
    -1,
    -128,
    2 ** 31,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
    2 ** 53,
    2 ** 70,
    1.5,
    5e-324,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    0n,
    -1n,
    127n,
    2n ** 53n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    '',
    'a',
    'x'.repeat(63),
    'é'.repeat(31),
    'é'.repeat(32),
    'x'.repeat(64),
    'y'.repeat(70_000),
    'nul \0 in it',
    '\u{1F3AD}',
    new Uint8Array(0),
    new Uint8Array([0, 255]),
    new Uint8Array(70_000).fill(7),
  ]
  const writer = new ByteWriter(1)
  for (const value of values) writer.value(value)
  const reader = new ByteReader(writer.bytes())
  for (const value of values) {
    const read = reader.value()
    expect(read instanceof Uint8Array ? new Uint8Array(read) : read).toEqual(value)
  }
  expect(reader.left).toBe(0)
})

test('lengths beyond the end are refused before memory is taken', () => {
  for (const bytes of [
    [7, 0xff, 0xff, 0xff, 0xff, 0x0f],
    [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
    [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [1, 0x80, 0x00],
    [3, 0],
    [9],
    [0x7f],
  ]) {
    expect(() => new ByteReader(Uint8Array.from(bytes)).value()).toThrow(
      expect.objectContaining({ code: 'RECORD_CORRUPT' }),
    )
  }
})

test('mutated payloads never crash, hang or leave a wrong row', () => {
  const runs = Number(process.env['UNDERSTUDY_FUZZ_RUNS'] ?? 20_000)
  const seed = Number(process.env['UNDERSTUDY_FUZZ_SEED'] ?? 1)
  const { refused, accepted, slow, longestMs } = fuzz({ seed, runs })
  const total = [...refused.values()].reduce((sum, count) => sum + count, accepted)
  expect(total).toBe(runs)
  expect(refused.get('DIVERGED')).toBeGreaterThan(runs / 20)
  expect(refused.get('RECORD_CORRUPT')).toBeGreaterThan(runs / 2)
  // A machine under load may pause; a payload that is slow by itself is so each time.
  expect(slow).toBeLessThanOrEqual(2 + runs / 10_000)
  expect(longestMs).toBeLessThan(2000)
}, 3_600_000)
