/** What the recorder writes down, and what it does not. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { statementFormat, type DescribedPayload, type UnsafeWarning } from '../src/index.ts'
import { KV, pair, TestNode } from './helpers.ts'

function described(node: TestNode, payload: Uint8Array): DescribedPayload {
  return node.format.describe?.(payload) as DescribedPayload
}

test('a write that throws leaves nothing, whatever it did', () => {
  const { leader, follower } = pair(KV)
  const sql = 'insert into kv (k) values (?)'
  const { payloads } = leader.group(
    (connection) => connection.exec(sql, ['one']),
    (connection) => {
      connection.exec('insert into kv (k, v) values (random(), ?)', ['gone'])
      connection.exec('create table gone (a); insert into gone values (1)')
      connection.exec('pragma user_version = 5')
      throw new Error('undone')
    },
    (connection) => connection.exec(sql, ['two']),
  )
  expect(payloads).toHaveLength(1)
  const { writes } = described(leader, payloads[0] as Uint8Array)
  expect(writes.map((write) => write.map(({ parameters }) => parameters))).toEqual([[['one']], [['two']]])
  follower.apply(...payloads)
  expect(follower.dump()).toEqual(leader.dump())
})

test('nothing changed, no payload', () => {
  const { leader } = pair(`${KV}; create table plain (id integer primary key)`)
  for (const write of [
    'select 1',
    'update kv set n = 1 where id = 99',
    'delete from kv',
    'create table if not exists kv (x)',
    'pragma user_version',
    'pragma user_version = 0',
    'insert or ignore into plain select * from plain',
  ]) {
    expect([write, leader.group(write).payloads]).toEqual([write, []])
  }
  expect(leader.group().payloads).toEqual([])
})

test('a row that is inserted and deleted again leaves its mark on AUTOINCREMENT', () => {
  const { leader, follower } = pair(KV)
  follower.apply(leader.payload('insert into kv (k) values (1); delete from kv'))
  expect(follower.all('select seq from sqlite_sequence')).toEqual([[1n]])
})

test('an AUTOINCREMENT counter that moves without a row is carried', () => {
  const setup =
    'create table a (id integer primary key autoincrement, u unique); insert into a (u) values (1)'
  const { leader, follower } = pair(setup)
  const ignored = 'insert or ignore into a (u) values (1)'
  for (let round = 0; round < 3; round += 1) {
    follower.apply(...leader.group(ignored).payloads)
    follower.apply(...leader.group('insert into a (u) select 9 where 0').payloads)
    expect(follower.dump()).toEqual(leader.dump())
  }
})

test('parameters come back as they were bound: by position, by name, several names for one', () => {
  const { leader, follower } = pair(KV)
  const named = Object.assign(Object.create(null) as Record<string, number>, { k: 1, $v: 2, '@n': 3 })
  follower.apply(
    leader.payload(
      (connection) => connection.exec('insert into kv (k, v, n) values (:k, $v, @n)', named),
      (connection) => connection.exec('insert into kv (k, v, n) values (?2, ?1, ?2)', ['x', 5n]),
      (connection) =>
        connection.exec('insert into kv (k, v) values (?, ?)', [
          new Uint16Array([258]),
          new DataView(new ArrayBuffer(2)),
        ]),
    ),
  )
  expect(follower.dump()).toEqual(leader.dump())
  expect(follower.all('select count(*) from kv')).toEqual([[3n]])
})

test('a text gets a number when it is met for the second time, and then travels no more', () => {
  const { leader, follower } = pair(KV)
  const long = `insert into kv (k, v) values (?, '${'x'.repeat(300)}')`
  const write = (n: number) => leader.payload((connection) => connection.exec(long, [n]))
  const payloads = [write(1), write(2), write(3), write(4)]
  expect(payloads.map((payload) => payload.length > 300)).toEqual([true, true, false, false])
  const entries = payloads.map((payload) => described(leader, payload).writes[0]?.[0])
  expect(entries.map((entry) => [entry?.number, entry?.sql === long])).toEqual([
    [undefined, true],
    [1, true],
    [1, false],
    [1, false],
  ])
  follower.apply(...payloads)
  expect(follower.dump()).toEqual(leader.dump())
  expect(follower.all('select number, sql from _understudy_statement')).toEqual([[1n, long]])
})

test('the dictionary outlives recorder and applier, and follows rollbacks', () => {
  const { leader, follower } = pair(KV)
  const insert = 'insert into kv (k) values (?)'
  const add = (node: TestNode, ...values: number[]) =>
    node.payload((connection) => values.forEach((value) => connection.exec(insert, [value])))
  // Lost with its group, the first time with the table itself.
  leader.lostGroup((connection) => [1, 2].forEach((value) => connection.exec(insert, [value])))
  follower.apply(add(leader, 1, 2))
  leader.lostGroup((connection) =>
    [1, 2].forEach(() => connection.exec(`update kv set n = coalesce(n, 0) + 1`)),
  )
  follower.apply(
    leader.payload((connection) =>
      [1, 2].forEach(() => connection.exec(`update kv set v = coalesce(v, 0) + 1`)),
    ),
  )
  // A follower whose transaction is rolled back after a definition, then applies again.
  const payload = leader.payload((connection) =>
    [1, 2].forEach((value) => connection.exec('update kv set n = ?', [value])),
  )
  follower.database.exec('begin')
  follower.applier?.apply(payload)
  follower.database.exec('rollback')
  follower.apply(payload)
  expect(follower.dump()).toEqual(leader.dump())
  leader.recorder?.close()
  leader.lead()
  follower.applier?.close()
  follower.follow()
  follower.apply(add(leader, 3), add(leader, 4))
  expect(follower.dump()).toEqual(leader.dump())
  expect(leader.all('select count(*) from _understudy_statement')).toEqual([[3n]])
  // The follower leads: its numbers go on.
  follower.applier?.close()
  follower.lead()
  leader.recorder?.close()
  leader.follow()
  leader.apply(
    follower.payload((connection) =>
      [1, 2].forEach((value) => connection.exec('update kv set k = ?', [value])),
    ),
  )
  expect(follower.dump()).toEqual(leader.dump())
  expect(leader.all('select max(number) from _understudy_statement')).toEqual([[4n]])
})

test('the dictionary holds the last 4096 texts', () => {
  const { leader, follower } = pair(KV)
  leader.database.exec('insert into kv (id, n) values (1, 0)')
  follower.database.exec('insert into kv (id, n) values (1, 0)')
  for (let batch = 0; batch < 45; batch += 1) {
    follower.apply(
      leader.payload((connection) => {
        for (let index = 0; index < 100; index += 1) {
          const sql = `update kv set n = n + 1 -- ${batch * 100 + index}`
          connection.exec(sql)
          connection.exec(sql)
        }
      }),
    )
  }
  expect(leader.all('select count(*), min(number), max(number) from _understudy_statement')).toEqual([
    [4096n, 405n, 4500n],
  ])
  // A text that fell out gets a new number.
  const payload = leader.payload('update kv set n = n + 1 -- 0; update kv set n = n + 1')
  follower.apply(payload)
  expect(follower.dump()).toEqual(leader.dump())
})

test('a text stands beside its number again after 16 MiB of payloads, and after a restart', () => {
  const { leader, follower } = pair(KV)
  const sql = 'insert into kv (id, v) values (1, ?) on conflict do update set v = excluded.v'
  const write = () => leader.payload((connection) => connection.exec(sql, [new Uint8Array(1_000_000)]))
  const withText: number[] = []
  for (let index = 0; index < 40; index += 1) {
    const payload = write()
    follower.apply(payload)
    if (described(leader, payload).writes[0]?.[0]?.sql !== undefined) withText.push(index)
  }
  expect(withText).toEqual([0, 1, 18, 35])
  leader.recorder?.close()
  leader.lead()
  const payload = write()
  expect(described(leader, payload).writes[0]?.[0]).toMatchObject({ sql, number: 1 })
  follower.apply(payload)
  expect(follower.dump()).toEqual(leader.dump())
})

test('payloads are small', () => {
  const { leader, follower } = pair(KV)
  const group = () =>
    leader.payload(
      ...Array.from({ length: 64 }, (_, index) => (connection: TestNode['connection']) => {
        connection.exec('insert into kv (k, v, n) values (?, ?, ?)', [
          `key-${100000 + index}`,
          'v'.repeat(100),
          index,
        ])
      }),
    )
  const payloads = [group(), group()]
  expect((payloads[1] as Uint8Array).length / 64).toBeLessThan(122)
  const many = leader.payload(
    `with recursive c (i) as (select 1 union all select i + 1 from c where i < 100000) insert into kv (id, n) select i + 1000, i from c`,
  )
  const update = leader.payload('update kv set n = n + 1 where id > 1000')
  expect(update.length).toBeLessThan(100)
  expect(many.length).toBeLessThan(220)
  follower.apply(...payloads, many, update)
  expect(follower.all('select sum(n) from kv')).toEqual(leader.all('select sum(n) from kv'))
})

test('full-text tables write down what they hold in memory at the same moments', () => {
  const { leader, follower } = pair(`${KV}; create virtual table f using fts5 (body)`)
  for (let round = 0; round < 5; round += 1) {
    const { payloads } = leader.group(
      `insert into f values ('one ${round}'), ('two')`,
      (connection) => {
        connection.exec(`insert into f values ('gone')`)
        throw new Error('undone')
      },
      `insert into f values ('three'); delete from f where rowid = 1`,
      `insert into kv (k) values (1)`,
    )
    follower.apply(...payloads)
    expect(follower.dump()).toEqual(leader.dump())
  }
  const both = [leader.payload(`insert into f values ('a')`), leader.payload(`insert into f values ('b')`)]
  follower.transaction(() => both.forEach((payload) => follower.applier?.apply(payload)))
  expect(follower.dump()).toEqual(leader.dump())
})

test('policy refuse: the statement is not run, the write may go on, and the error says why and what to do', () => {
  const { leader, follower } = pair(KV)
  const payload = leader.payload((connection) => {
    connection.exec('insert into kv (k) values (1)')
    let error: unknown
    try {
      connection.exec('insert into kv (k) select k from kv')
    } catch (caught) {
      error = caught
    }
    expect(isUnderstudyError(error, 'STATEMENT_UNSAFE')).toBe(true)
    expect(error).toMatchObject({ details: { reasons: ['UNORDERED_IDS'] } })
    expect(String(error)).toMatch(/UNORDERED_IDS.*not run.*ORDER BY/)
    connection.exec('insert into kv (k) values (2)')
  })
  follower.apply(payload)
  expect(follower.all('select k from kv')).toEqual([['1'], ['2']])
})

test('policy allow: logged with the tripwire, with a warning that does not repeat for ever', () => {
  const warnings: UnsafeWarning[] = []
  const { leader, follower } = pair(
    KV,
    statementFormat({ unsafe: 'allow', onWarning: (warning) => warnings.push(warning) }),
  )
  follower.apply(leader.payload('insert into kv (k) values (1)'))
  for (let round = 0; round < 6; round += 1)
    follower.apply(leader.payload('insert into kv (k) select k from kv'))
  expect(follower.dump()).toEqual(leader.dump())
  leader.payload((connection) => {
    for (let round = 0; round < 1000; round += 1)
      connection.exec('insert into kv (k) select k from kv limit 1')
  })
  expect(warnings.map(({ reason, suppressed }) => [reason.code, suppressed])).toEqual([
    ['UNORDERED_IDS', 0],
    ['LIMIT_WITHOUT_ORDER', 0],
    ['UNORDERED_IDS', 999],
  ])
})

test('options are checked', () => {
  for (const options of [
    { unsafe: 'maybe' },
    { unsafe: 'row' },
    { otherSqlite: 'yes' },
    { functions: 'f' },
    { functions: [1] },
    { unkown: 1 },
  ]) {
    expect(() => statementFormat(options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  }
})

test('close ends everything, twice without harm', () => {
  const node = new TestNode(KV).lead().follow()
  node.recorder?.close()
  node.recorder?.close()
  node.applier?.close()
  node.applier?.close()
  node.connection.exec('insert into kv (k) values (random())')
  expect(node.all('select count(*) from kv')).toEqual([[1n]])
})
