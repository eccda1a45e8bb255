/** Payloads are bytes from elsewhere. */
import { existsSync } from 'node:fs'
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

// What a hostile leader may put into a record whose checksum is right, one line each.

const HOSTILE: readonly (readonly [string, string, string])[] = [
  ['ATTACH', `attach '/tmp/understudy-never' as x`, 'RECORD_CORRUPT'],
  ['DETACH', 'detach main', 'RECORD_CORRUPT'],
  ['VACUUM INTO', `vacuum into '/tmp/understudy-never'`, 'RECORD_CORRUPT'],
  ['BEGIN', 'begin', 'RECORD_CORRUPT'],
  ['COMMIT', 'commit', 'RECORD_CORRUPT'],
  ['COMMIT behind a comment', '/**/ -- x\n commit', 'RECORD_CORRUPT'],
  ['ROLLBACK', 'rollback', 'RECORD_CORRUPT'],
  ['SAVEPOINT', 'savepoint x', 'RECORD_CORRUPT'],
  ['RELEASE', 'release x', 'RECORD_CORRUPT'],
  ['writable_schema', 'pragma writable_schema = on', 'RECORD_CORRUPT'],
  ['journal_mode', 'pragma journal_mode(delete)', 'RECORD_CORRUPT'],
  ['trusted_schema', 'pragma main.trusted_schema = 1', 'RECORD_CORRUPT'],
  ['mmap_size', 'pragma mmap_size = 9999999999', 'RECORD_CORRUPT'],
  ['temp_store_directory', `pragma temp_store_directory = '/tmp'`, 'RECORD_CORRUPT'],
  ['synchronous', 'pragma synchronous = off', 'RECORD_CORRUPT'],
  ['locking_mode', 'pragma locking_mode = exclusive', 'RECORD_CORRUPT'],
  ['load_extension', `insert into kv (v) select load_extension('/tmp/x.so')`, 'DIVERGED'],
  ['fts3_tokenizer', `insert into kv (v) select fts3_tokenizer('simple', x'4141414141414141')`, 'DIVERGED'],
  ['writefile', `insert into kv (v) select writefile('/tmp/understudy-never', 'x')`, 'DIVERGED'],
  ['a write to the schema table', `delete from sqlite_schema`, 'DIVERGED'],
  ['a write to a shadow table', `delete from words_data`, 'DIVERGED'],
  ['the position', 'update _understudy_position set lsn = 9', 'RECORD_CORRUPT'],
  ['the position, in other letters', 'UPDATE _UnderStudy_Position SET lsn = 9', 'RECORD_CORRUPT'],
  ['the position in double quotes', 'delete from "_understudy_position"', 'RECORD_CORRUPT'],
  ['the position in single quotes', `delete from '_understudy_position'`, 'DIVERGED'],
  ['the position in backticks', 'delete from `_understudy_position`', 'RECORD_CORRUPT'],
  ['the position in brackets', 'delete from [_understudy_position]', 'RECORD_CORRUPT'],
  ['the position of main', 'delete from main._understudy_position', 'RECORD_CORRUPT'],
  ['the position behind WITH', 'with x as (select 1) delete from _understudy_position', 'RECORD_CORRUPT'],
  ['DROP of the position', 'drop table _understudy_position', 'RECORD_CORRUPT'],
  ['ALTER of the position', 'alter table _understudy_position rename to x', 'RECORD_CORRUPT'],
  ['ALTER to such a name in single quotes', "alter table kv rename to '_understudy_x'", 'RECORD_CORRUPT'],
  ['ALTER to the name of a table of the node', 'alter table kv rename to _understudy_x', 'RECORD_CORRUPT'],
  ['an index on the position', 'create unique index x on _understudy_position (lsn)', 'RECORD_CORRUPT'],
  [
    'a trigger on the position',
    'create trigger x after update on _understudy_position begin delete from kv; end',
    'RECORD_CORRUPT',
  ],
  [
    'a trigger that writes the position',
    'create trigger x after insert on kv begin delete from _understudy_position; end',
    'RECORD_CORRUPT',
  ],
  ['a view of the position', 'create view x as select * from _understudy_position', 'RECORD_CORRUPT'],
  ['a temporary table', 'create temporary table x (a)', 'RECORD_CORRUPT'],
  ['a second statement', 'insert into kv (n) values (1); delete from _understudy_position', 'RECORD_CORRUPT'],
  ['a second statement of another kind', 'insert into kv (n) values (1); commit', 'DIVERGED'],
  ['text after a NUL', 'insert into kv (n) values (1)\0; commit', 'DIVERGED'],
  [
    'a database function of SQLite that reads files',
    `create virtual table x using csv (filename = '/etc/passwd')`,
    'DIVERGED',
  ],
  ['a statement that reads', 'select 1', 'RECORD_CORRUPT'],
]

test.each(HOSTILE)('a record with a right checksum is refused: %s', (_name, sql, expected) => {
  const follower = new TestNode(
    `${KV}; create table _understudy_position (lsn); insert into _understudy_position values (7);
      create virtual table words using fts5 (body)`,
  ).follow()
  const before = follower.dump()
  expect(codeOf(follower, crafted(sql))).toBe(expected)
  expect(follower.dump()).toEqual(before)
  expect(follower.database.prepare('select lsn from _understudy_position').all()).toEqual([{ lsn: 7 }])
  expect(existsSync('/tmp/understudy-never')).toBe(false)
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
  expect(slow).toBe(0)
  expect(longestMs).toBeLessThan(2000)
}, 3_600_000)
