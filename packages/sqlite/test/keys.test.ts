/** The tables of keys: whose they are, what stands in them. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { KeyedWrite, StatementInfo } from '@understudy/contracts'
import { openStorage, type SqliteStorage } from '../src/index.ts'
import { commitOne, opened, point, temporaryFolder } from './helpers.ts'

const LIMITS = { keepMs: 1000, keysMax: 3, droppedMax: 2 }
const write = (after: number, more: Partial<KeyedWrite> = {}): KeyedWrite => ({
  epoch: 1,
  after,
  index: 0,
  digest: undefined,
  value: undefined,
  ...more,
})

function put(
  storage: SqliteStorage,
  key: string,
  after: number,
  atMs = 0,
  more: Partial<KeyedWrite> = {},
): void {
  commitOne(storage, after + 1, () => storage.keys.put(key, write(after, more), atMs, LIMITS))
}

test('a key is found as it was put, and a database without keys has no tables for them', () => {
  const storage = opened()
  const tables = (): unknown =>
    storage.connection.database.prepare('select count(*) n from sqlite_schema').get()
  const before = tables()
  expect([storage.keys.find('k'), storage.keys.settled(1), storage.keys.unsettled()]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
  expect(tables()).toEqual(before)
  const row = { index: 7, digest: new Uint8Array([1, 2]), value: '{"a":1}' }
  put(storage, 'k', 4, 0, row)
  expect(storage.keys.find('k')).toEqual(write(4, row))
  expect(storage.keys.find('K')).toBeUndefined()
  expect(storage.keys.unsettled()).toEqual({ epoch: 1, lsn: 4 })
  commitOne(storage, 6, () => storage.keys.settle(4, point(5)))
  expect([storage.keys.settled(4), storage.keys.unsettled()]).toEqual([point(5), undefined])
})

test('goes with its write, and so do the tables', () => {
  const storage = opened()
  expect(() =>
    commitOne(storage, 1, () => {
      storage.keys.put('k', write(0), 0, LIMITS)
      expect(storage.keys.find('k')).toBeDefined()
      throw new Error('mine')
    }),
  ).toThrow('mine')
  storage.rollback()
  expect(storage.keys.find('k')).toBeUndefined()
  put(storage, 'k', 1)
  expect(storage.keys.find('k')).toEqual(write(1))
})

test('the oldest keys go, a few with each new one, and their groups with the last of them', () => {
  const storage = opened()
  const kept = (): string => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].filter((key) => storage.keys.find(key) !== undefined)
    return `${keys.join('')} ${[1, 2, 3].filter((after) => storage.keys.settled(after) !== undefined).join('')}`
  }
  put(storage, 'a', 1)
  commitOne(storage, 3, () => {
    storage.keys.settle(1, point(2))
    storage.keys.put('b', write(2), 0, LIMITS)
    storage.keys.put('c', write(2), 0, LIMITS)
  })
  expect(kept()).toBe('abc 1')
  commitOne(storage, 4, () => {
    storage.keys.settle(2, point(3))
    storage.keys.put('d', write(3), 0, LIMITS)
  })
  expect(kept()).toBe('bcd 2')
  put(storage, 'e', 4)
  expect(kept()).toBe('cde 2')
  // c, d and e are too old now, and two go at a time.
  put(storage, 'f', 5, 1001)
  expect(kept()).toBe('ef ')
  put(storage, 'g', 6, 1001)
  expect(kept()).toBe('fg ')
})

const REFUSED = [
  'delete from _understudykeys',
  "update _UnderstudyKeys set key = 'x'",
  'insert into _understudykeygroups values (1, 1, 1, 1)',
  'drop table _understudykeys',
  'drop index _understudykeys_key',
  'alter table _understudykeys add column mine',
  'create trigger mine after insert on _understudykeys begin select 1; end',
  'create index mine on _understudykeys (value)',
  'create table _understudykeymine (v)',
  'alter table t rename to _understudykeymine',
]

test.each(REFUSED)('a callback may not run: %s', (sql) => {
  const storage = opened()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key, v)'))
  put(storage, 'k', 1)
  const forbidden = expect.objectContaining({ code: 'WRITE_FORBIDDEN' })
  commitOne(storage, 3, (tx) => {
    expect(() => tx.exec(sql)).toThrow(forbidden)
    expect(() => tx.run(sql)).toThrow(forbidden)
  })
  expect(storage.keys.find('k')).toBeDefined()
})

test('the texts of the node’s own statements are refused to a callback that sends the same', () => {
  const storage = opened()
  const seen: StatementInfo[] = []
  storage.connection.observe({ before: (statement) => seen.push(statement), after: () => {} })
  put(storage, 'k', 1)
  put(storage, 'm', 2)
  const texts = new Set(seen.filter(({ effect }) => effect === 'rows').map(({ sql }) => sql))
  expect(texts.size).toBeGreaterThan(0)
  for (const sql of texts)
    commitOne(storage, 4, (tx) => {
      expect(() => tx.run(sql, [9, 'x', 0, 1, 1, 1, null, null])).toThrow(
        expect.objectContaining({ code: 'WRITE_FORBIDDEN' }),
      )
    })
})

test('no trigger of the user’s changes keys, and SQL out of a record may', () => {
  const storage = opened()
  put(storage, 'k', 1)
  commitOne(storage, 3, (tx) => {
    tx.exec('create table t (id integer primary key, v)')
    expect(() => {
      tx.exec('create trigger mine after insert on t begin delete from _understudykeys; end')
      tx.run('insert into t (v) values (1)')
    }).toThrow(expect.objectContaining({ code: 'WRITE_FORBIDDEN' }))
  })
  expect(storage.keys.find('k')).toBeDefined()
  storage.begin()
  const { connection } = storage
  connection.internal(() =>
    connection.guarded(() => connection.database.prepare('delete from _understudykeys where id = 1').run()),
  )
  storage.commit()
  expect(storage.keys.find('k')).toBeUndefined()
})

test.each([
  ['other columns', 'create table _understudykeys (id integer primary key, key)'],
  ['something that hangs on them', 'create table _understudykeytrap (v)'],
])('tables with %s are not used, and other writes go on', async (_, sql) => {
  const path = join(temporaryFolder(), 'data.db')
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
  const storage = openStorage({ path })
  const unsuitable = expect.objectContaining({ code: 'DATABASE_UNSUITABLE' })
  expect(() => storage.keys.find('k')).toThrow(unsuitable)
  storage.begin()
  expect(() => storage.keys.put('k', write(0), 0, LIMITS)).toThrow(unsuitable)
  storage.rollback()
  commitOne(storage, 1, (tx) => tx.exec('create table t (id integer primary key)'))
  await storage.close()
})
