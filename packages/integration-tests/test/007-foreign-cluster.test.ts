/** Nodes of different clusters never exchange anything. */
import { rmSync } from 'node:fs'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

test('007 a follower that meets the leader of another cluster stops, keeps its data and says so', async () => {
  const [ours, theirs] = [new TcpCluster(), new TcpCluster()]
  const leader = await ours.leader()
  const foreign = await theirs.leader()
  await fill(leader, 3)
  await fill(foreign, 7)
  const first = await ours.follower('b')
  await caughtUp(leader, first)
  await first.close()

  const lost = await ours.follower('b', { leader: foreign.address ?? '' })
  const { error } = await (ours.events['b'] as NonNullable<(typeof ours.events)[string]>).until('failed')
  expect(error.code).toBe('FOREIGN_CLUSTER')
  expect(lost.failure).toBe(error)
  expect(lost.status()).toMatchObject({ state: 'failed', failure: { code: 'FOREIGN_CLUSTER' } })
  expect(await countOf(lost)).toBe(3)
  expect(foreign.slots().map(({ name }) => name)).toEqual(['local'])
  await lost.close()

  // Pointed back, it goes on where it was.
  await insertNote(leader, 'more')
  const back = await ours.follower('b')
  await caughtUp(leader, back)
  expect(await countOf(back)).toBe(4)
  expect(ours.events['b']?.of('bootstrapped')).toEqual([])
})

test('007 a leader whose directory was lost is another cluster, also at the same address', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 3)
  const follower = await cluster.follower('b', { link: { heartbeatMs: 50, deadlineMs: 500 } })
  await caughtUp(leader, follower)
  await leader.close()
  rmSync(cluster.directory('a'), { recursive: true })
  const impostor = await cluster.leader()
  expect(impostor.cluster).not.toBe(leader.cluster)
  const failed = await cluster.events['b']?.until('failed')
  expect(failed?.error.code).toBe('FOREIGN_CLUSTER')
  expect(await countOf(follower)).toBe(3)
})

test('007 a client that asks for another cluster is refused', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await expect(cluster.client(leader, '00c0ffee00c0ffee')).rejects.toMatchObject({ code: 'FOREIGN_CLUSTER' })
  expect((await cluster.client(leader, leader.cluster)).node).toBe('a')
})
