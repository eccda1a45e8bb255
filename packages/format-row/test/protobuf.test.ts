/** Payloads are what row.proto says, by the word of another implementation of protobuf. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import { KV, TestNode } from './helpers.ts'

// protobufjs finds its own dependency `long` in CommonJS only; without it 64-bit integers lose digits.
const long = createRequire(createRequire(import.meta.url).resolve('protobufjs'))('long') as {
  default?: unknown
}
protobuf.util.Long = (long.default ?? long) as typeof protobuf.util.Long
protobuf.configure()

const { Root, util } = protobuf
const root = new Root().loadSync(join(import.meta.dirname, '../src/row.proto'), { keepCase: true })
const Group = root.lookupType('understudy.row.v1.Group')

const decode = (payload: Uint8Array): Record<string, unknown> =>
  Group.toObject(Group.decode(payload), { longs: String, bytes: String, defaults: false, oneofs: false })

const base64 = (text: string): string => util.base64.encode(Buffer.from(text), 0, Buffer.byteLength(text))

const SETUP = `create table t (a text not null, b integer, c, d, primary key (b, a)); insert into t values ('x', 1, 2, 3), ('y', 1, 2, 3);
  create table auto (id integer primary key autoincrement); create table nc (k text collate nocase primary key not null)`

test('every kind of change decodes with the published .proto', () => {
  const leader = new TestNode(SETUP).lead()
  const payload = leader.payload(
    `delete from t where a = 'y'; update t set c = null, d = x'ff00'; insert into t values ('z', -5, 2.5, 9223372036854775807)`,
    `insert into auto values (7); insert into nc values ('q'); pragma user_version = -3; pragma application_id = 5`,
  )
  const group = decode(payload)
  expect(group).toMatchObject({ version: 1, writes: 2, changes: '5', user_version: -3, application_id: 5 })
  const steps = (group['steps'] as { rows: Record<string, unknown> }[]).map((step) => step.rows)
  expect(steps.find((rows) => rows['table'] === 't')).toEqual({
    table: 't',
    columns: ['a', 'b', 'c', 'd'],
    key: [1, 0],
    deletes: [{ values: [{ text: base64('y') }, { integer: '1' }, { integer: '2' }, { integer: '3' }] }],
    updates: [
      {
        key: [{ integer: '1' }, { text: base64('x') }],
        changed: [2, 3],
        old: [{ integer: '2' }, { integer: '3' }],
        new: [{ null: true }, { blob: util.base64.encode(Uint8Array.of(255, 0), 0, 2) }],
      },
    ],
    inserts: [
      {
        values: [{ text: base64('z') }, { integer: '-5' }, { real: 2.5 }, { integer: '9223372036854775807' }],
      },
    ],
  })
  expect(steps.find((rows) => rows['table'] === 'nc')).toMatchObject({
    replace: true,
    inserts: [{ values: [{ text: base64('q') }] }],
  })
  expect(group['sequences']).toEqual({
    sequences: [{ name: { text: base64('auto') }, value: { integer: '7' } }],
  })
})

test('schema changes, triggers and statistics decode with the published .proto', () => {
  const leader = new TestNode(SETUP).lead()
  const trigger = 'create trigger r after insert on u begin select 1; end'
  const group = decode(
    leader.payload(`create table u (id integer primary key); insert into u values (1); ${trigger}; analyze`),
  )
  const steps = group['steps'] as { schema?: { sql: string }; rows?: { table: string } }[]
  expect(steps.map((step) => step.schema?.sql ?? step.rows?.table)).toEqual([
    'create table u (id integer primary key);',
    'u',
  ])
  expect(group['triggers']).toEqual({
    triggers: [{ name: 'r', sql: trigger.replace('create trigger', 'CREATE TRIGGER') }],
  })
  expect((group['statistics'] as { rows: unknown[] }).rows.length).toBeGreaterThan(0)
})

test('another implementation encodes what it decoded to the same bytes', () => {
  const leader = new TestNode(SETUP).lead()
  const payloads = [
    leader.payload(`update t set c = 'é'; insert into t values ('w', 9, -0.0, -9223372036854775808)`),
    leader.payload('insert into auto default values', 'insert into auto default values'),
    leader.payload(
      `create table u (id integer primary key, v); insert into u values (300, zeroblob(20000)); pragma user_version = 4`,
    ),
    leader.payload(`create trigger r after insert on u begin select 1; end`),
    leader.payload(`delete from sqlite_sequence`),
  ]
  for (const payload of payloads) {
    expect(Buffer.from(Group.encode(Group.decode(payload)).finish()).toString('hex')).toBe(
      Buffer.from(payload).toString('hex'),
    )
  }
})

test('integers of every length are the same in both implementations', () => {
  const leader = new TestNode('create table t (id integer primary key)').lead()
  const values: bigint[] = []
  for (let bit = 0n; bit < 63n; bit += 1n)
    values.push(1n << bit, -(1n << bit), (1n << bit) - 1n, -(1n << bit) - 1n)
  values.push(2n ** 63n - 1n, -(2n ** 63n))
  const unique = [...new Set(values.map((value) => BigInt.asIntN(64, value)))]
  const payload = leader.payload((connection) => {
    for (const value of unique) connection.exec('insert into t values (?)', [value])
  })
  const [step] = decode(payload)['steps'] as { rows: { inserts: { values: { integer: string }[] }[] } }[]
  const decoded = step?.rows.inserts.map((row) => BigInt(row.values[0]?.integer ?? 0)) ?? []
  expect(decoded.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(unique.toSorted((a, b) => (a < b ? -1 : 1)))
  const follower = new TestNode('create table t (id integer primary key)').follow()
  follower.apply(payload)
  expect(follower.all('select cast(id as text) from t order by id')).toEqual(
    leader.all('select cast(id as text) from t order by id'),
  )
})

test('a row of the reference table takes less than 140 bytes in groups of 64', () => {
  const leader = new TestNode(KV).lead()
  let bytes = 0
  for (let group = 0; group < 20; group += 1) {
    const writes = Array.from({ length: 64 }, (_, row) => (connection: TestNode['connection']) => {
      connection.exec('insert into kv (k, v, n) values (?, ?, ?)', [
        `key-${100_000 + row}`,
        'v'.repeat(100),
        group * 64 + row,
      ])
    })
    bytes += leader.payload(...writes).length
  }
  expect(bytes / (20 * 64)).toBeLessThan(140)
})
