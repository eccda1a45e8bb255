/** What clients get over the wire: every value as it is, results by place, errors with codes, an end when the node ends. */
import { isUnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill } from './support/tcp-cluster.ts'

test('013 integers beyond 2^53, reals, texts, blobs and nulls come back as they went', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  const follower = await cluster.follower('b')
  const [writer, reader] = [await cluster.client(leader), await cluster.client(follower)]
  await writer.write([{ sql: 'create table v (id integer primary key, x)' }])
  const values = [
    9_007_199_254_740_993n,
    -(2n ** 63n),
    Number.MAX_SAFE_INTEGER,
    -0.5,
    Number.POSITIVE_INFINITY,
    'zero \u0000 and 🎭',
    new Uint8Array([0, 255, 1]),
    new Uint8Array(0),
    null,
  ]
  const { position, results } = await writer.write([
    ...values.map((x, id) => ({ sql: 'insert into v values (?, ?)', params: [id, x] })),
    { sql: 'update v set x = x where id < 3' },
  ])
  expect(results.map(({ changes }) => changes)).toEqual([...values.map(() => 1), 3])
  const { rows, columns } = await reader.read('select id, x from v order by id', [], { after: position })
  expect(columns).toEqual(['id', 'x'])
  expect(rows).toEqual(values.map((x, id) => [id, x]))
})

test('013 columns of one name stay apart, an empty result has its columns, RETURNING returns', async () => {
  const cluster = new TcpCluster()
  const client = await cluster.client(await cluster.leader())
  await client.write([{ sql: 'create table n (id integer primary key, v text)' }])
  const join = 'select a.id, b.id, a.v as id from n as a join n as b on b.id = a.id + 1'
  expect(await client.read(join)).toMatchObject({ columns: ['id', 'id', 'id'], rows: [] })
  const { results } = await client.write([
    { sql: "insert into n (v) values ('x'), ('y') returning id, id, v" },
    { sql: 'delete from n where id > 5' },
    { sql: 'select count(*) from n' },
  ])
  expect(results).toEqual([
    {
      columns: ['id', 'id', 'v'],
      rows: [
        [1, 1, 'x'],
        [2, 2, 'y'],
      ],
      changes: 2,
    },
    { columns: [], rows: [], changes: 0 },
    { columns: ['count(*)'], rows: [[2]], changes: 0 },
  ])
  expect((await client.read(join)).rows).toEqual([[1, 2, 'x']])
})

test('013 a result that is too large is refused without being collected, and says whether a write was done', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 0)
  const client = await cluster.client(leader)
  const endless = 'with recursive n(i) as (select 1 union all select i + 1 from n) select i from n'
  await expect(client.read(endless)).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
  const wide = `with recursive n(i) as (select 1 union all select i + 1 from n) select zeroblob(1000000) from n`
  await expect(client.read(wide)).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
  const many = 'with recursive n(i) as (select 1 union all select i + 1 from n where i < 100001)'
  const write = client.write([{ sql: `${many} insert into note (id) select i from n returning id` }])
  await expect(write).rejects.toMatchObject({
    code: 'RESULT_TOO_LARGE',
    message: expect.stringContaining('The write was done') as string,
  })
  expect(await countOf(leader)).toBe(100_001)
})

test('013 a write on a follower and bad SQL are told with codes', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 1)
  const follower = await cluster.follower('b')
  await caughtUp(leader, follower)
  const client = await cluster.client(follower)
  await expect(client.write([{ sql: 'delete from note' }])).rejects.toMatchObject({
    code: 'NOT_LEADER',
    message: expect.stringContaining(cluster.leaderAddress) as string,
  })
  await expect(client.read('delete from note')).rejects.toMatchObject({ code: 'WRITE_FORBIDDEN' })
  await expect(client.read('selec 1')).rejects.toMatchObject({ code: 'SQL_FAILED' })
  await expect(client.mark()).rejects.toMatchObject({ code: 'NOT_LEADER' })
  await expect(client.dropSlot('local')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(client.dropSlot('nobody')).rejects.toMatchObject({ code: 'SLOT_UNKNOWN' })
  expect(await countOf(leader)).toBe(1)
})

test('013 clients and followers of a leader that stops are told at once', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 1)
  const follower = await cluster.follower('b')
  await cluster.events['b']?.untilState('streaming')
  const client = await cluster.client(leader)
  const writes = Array.from({ length: 20 }, (_, i) =>
    client.write([{ sql: 'insert into note (body) values (?)', params: [`n${i}`] }]),
  )
  // The first answer proves that the others are on their way.
  await writes[0]
  const closing = leader.close()
  const outcomes = await Promise.allSettled(writes)
  await closing
  await cluster.events['b']?.untilState('disconnected')
  await expect(client.status()).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
  let acknowledged = 0
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') acknowledged++
    else expect(isUnderstudyError(outcome.reason)).toBe(true)
  }
  const again = await cluster.leader()
  expect(await countOf(again)).toBeGreaterThanOrEqual(1 + acknowledged)
  await caughtUp(again, follower)
  expect(await countOf(follower)).toBe(await countOf(again))
})
