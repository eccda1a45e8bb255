/** One transaction that is much larger than a frame, a segment and a window arrives whole. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf } from './support/tcp-cluster.ts'

const BLOB_BYTES = 50 * 1024 * 1024
const ROWS = 100_000

test('009 a blob of 50 MB and 100,000 rows in one transaction', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  const follower = await cluster.follower('b')
  await leader.write((tx) =>
    tx.exec(
      'create table big (id integer primary key, body blob); create table row (id integer primary key, n integer, t text)',
    ),
  )
  const blob = new Uint8Array(BLOB_BYTES)
  for (let at = 0; at < blob.length; at += 4096) blob[at] = (at / 4096) & 0xff
  const { receipt } = await leader.write((tx) => {
    tx.run('insert into big values (1, ?)', [blob])
    for (let i = 0; i < ROWS; i++) tx.run('insert into row values (?, ?, ?)', [i, i * 7, `row ${i}`])
  })
  expect(receipt.position.lsn).toBeGreaterThan(10)
  const seen = await follower.read((tx) => tx.get('select body from big'), {
    after: receipt.position,
    timeoutMs: 60_000,
  })
  expect(Buffer.compare(seen?.['body'] as Uint8Array, blob)).toBe(0)
  expect(await countOf(follower, 'row')).toBe(ROWS)
  // Nobody ever sees a part of it: one more record right behind it.
  await leader.write([{ sql: 'delete from row where id >= 10' }])
  await caughtUp(leader, follower)
  expect(await countOf(follower, 'row')).toBe(10)
  await cluster.verify(leader, follower)
}, 120_000)
