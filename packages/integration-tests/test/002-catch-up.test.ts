/** A follower that was away gets what it missed from the log, not by a snapshot. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote, load } from './support/tcp-cluster.ts'

test('002 a follower that was away catches up from the log, across segments and checkpoints', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader({ segmentBytes: 64 * 1024, rewindBytesMax: 0 })
  await fill(leader, 10)
  const away = await cluster.follower('b')
  await caughtUp(leader, away)
  await away.close()

  for (let i = 0; i < 20; i++) await fill(leader, 100)
  await leader.write((tx) => tx.exec('create table late (id integer primary key)'))
  await leader.write([{ sql: 'insert into late values (1)' }])
  await leader.checkpoint()
  const slot = leader.slots().find(({ name }) => name === 'b')
  expect(slot?.heldBytes).toBeGreaterThan(3 * 64 * 1024)
  const { log } = leader.status()
  expect(log.first).toBeLessThanOrEqual((slot?.lsn ?? 0) + 1)

  const back = await cluster.follower('b')
  await cluster.events['b']?.untilState('streaming')
  await caughtUp(leader, back)
  expect(cluster.events['b']?.of('bootstrapped')).toEqual([])
  expect(cluster.events['b']?.of('state').map(({ state }) => state)).toEqual(
    expect.arrayContaining(['catchup', 'streaming']),
  )
  expect(await countOf(back)).toBe(2010)
  expect(await countOf(back, 'late')).toBe(1)
  await cluster.verify(leader, back)

  // What it has now is let go of with the next checkpoint, where no way back is kept.
  await insertNote(leader, 'after')
  await caughtUp(leader, back)
  await leader.checkpoint()
  expect(leader.status().log.first).toBeGreaterThan(log.first)
})

test('002 a follower catches up while the leader goes on writing', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 10)
  await (await cluster.follower('b')).close()
  const writers = load(16, (n) => insertNote(leader, `n${n}`))
  await writers.more(3000)
  const follower = await cluster.follower('b')
  await cluster.events['b']?.untilState('streaming')
  await writers.more(500)
  await cluster.verify(leader, follower)
  await writers.stop()
  await caughtUp(leader, follower)
  expect(await countOf(follower)).toBe(10 + writers.writes)
  expect(cluster.events['b']?.of('bootstrapped')).toEqual([])
})
