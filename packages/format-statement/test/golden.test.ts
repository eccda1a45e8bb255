/** Payloads of released versions stay readable. Never change what stands here; add a line for each new version. */
import { expect, test } from 'vitest'
import { KV, TestNode } from './helpers.ts'

const SETUP = `${KV}; create table w (k text collate nocase primary key, at default current_timestamp) without rowid`

function payloads(node: TestNode): string[] {
  const groups = [
    node.group(
      ...[1, 2].map((n) => (connection: TestNode['connection']) => {
        connection.exec('insert into kv (k, v, n) values (?, ?, ?)', [`key ${n}`, null, BigInt(n)])
      }),
      (connection) => connection.exec('insert into kv (k, n) values (:k, @n)', { k: 'ü', n: -1.5 }),
    ),
    node.group((connection) => {
      connection.exec(`update kv set v = x'00ff' where n < 2`)
      throw new Error('undone')
    }, 'create table made (a); pragma user_version = 3'),
    node.group((connection) => {
      expect(() => connection.exec('insert or fail into kv (id) values (9), (1)')).toThrow('UNIQUE')
      connection.exec('insert into kv (k, v, n) values (?, ?, ?)', ['last', new Uint8Array([7]), 2n ** 60n])
    }),
  ]
  return groups.flatMap((group) => group.payloads.map((payload) => Buffer.from(payload).toString('hex')))
}

function shown(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)
}

const VERSION_1: readonly string[] = [
  '010101020329696e7365727420696e746f206b7620286b2c20762c206e292076616c75657320283f2c203f2c203f290025696e7365727420696e746f206b7620286b2c206e292076616c75657320283a6b2c20406e292e110103456b6579203100050100110103456b6579203200050200220102016b42c3bc016e03000000000000f8bf0001026b76035a14fcca2bc51464',
  '010301020016637265617465207461626c65206d616465202861293b0017707261676d6120757365725f76657273696f6e203d203305100020000000149b083d',
  '01030102002b696e73657274206f72206661696c20696e746f206b7620286964292076616c756573202839292c2028312902171801210103446c6173740801070400000000000000100001026b76026224fe47ccd279c9',
]

test('version 1', () => {
  expect(payloads(new TestNode(SETUP).lead())).toEqual(VERSION_1)
  const follower = new TestNode(SETUP).follow()
  follower.apply(...VERSION_1.map((hex) => Buffer.from(hex, 'hex')))
  expect(follower.all('select * from kv').map((row) => row.map(shown).join(' '))).toEqual([
    '1 key 1 null 1',
    '2 key 2 null 2',
    '3 ü null -1.5',
    '9 null null null',
    '10 last 07 1152921504606846976',
  ])
  expect(follower.all('pragma user_version')).toEqual([[3n]])
})
