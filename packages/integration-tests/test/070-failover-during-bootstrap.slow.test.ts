/** The leader dies while a new follower has half of a snapshot. */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'

test(`the leader dies while a follower is still bootstrapping, ${ON}`, { timeout: 180_000 }, async () => {
  const { cluster } = await openFailover({
    first: ['a', 'b'],
    // The new one is no member of the set yet: of one that is, and has nothing, nobody could prove that it had nothing before.
    acks: 'any 1 (a, b) durable',
    snapshotRates: { c: 4 * 1024 * 1024 },
  })
  const client = await cluster.client(await cluster.untilLeader())
  await client.write([{ sql: 'create table ballast (id integer primary key, bytes blob)' }])
  for (let n = 0; n < 20; n++)
    await client.write([{ sql: 'insert into ballast (bytes) values (randomblob(1048576))' }])
  const load = cluster.load()
  await load.more(50)
  const c = cluster.start('c')
  await c.until(
    'snapshot',
    ({ progress }) => (progress as { receivedBytes: number }).receivedBytes > 2 * 1024 * 1024,
  )
  const former = await cluster.untilLeader()
  await cluster.kill(former)
  // What has half of a snapshot has nothing to lead with; of the set of b only a is left, which must have its writes.
  await cluster.until('b', 'to begin an epoch', ({ role, epoch }) => role === 'leader' && epoch > 1)
  await cluster.until('c', 'to have its snapshot from b', ({ state }) => state === 'streaming')
  await cluster.bringBack(former)
  await cluster.untilLeader(['b'])
  await load.more(50)
  const { writes } = await cluster.judge()
  expect(writes.ok).toBeGreaterThan(100)
  expect(c.events.some(({ kind }) => kind === 'bootstrapped')).toBe(true)
})
