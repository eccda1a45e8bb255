/** Cuts that leave each side with its own idea of who is there, with clients on both sides. */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'
import type { ProcessCluster } from './support/rig/cluster.ts'

const CUTS: Record<string, (cluster: ProcessCluster, leader: string, others: string[]) => void> = {
  'the leader hears nobody, and all hear it': (cluster, leader, others) => {
    for (const other of others) cluster.cutOneWay(other, leader)
  },
  'nobody hears the leader, and it hears all': (cluster, leader, others) => {
    for (const other of others) cluster.cutOneWay(leader, other)
  },
  'one follower alone is cut from the leader': (cluster, leader, [one = '']) => cluster.cut(leader, one),
  'the leader hears one, and another one hears the leader': (cluster, leader, [one = '', other = '']) => {
    cluster.cutOneWay(leader, one)
    cluster.cutOneWay(other, leader)
  },
  'the followers do not hear each other, nor one of them the leader': (
    cluster,
    leader,
    [one = '', other = ''],
  ) => {
    cluster.cut(one, other)
    cluster.cutOneWay(leader, one)
  },
}

test.for(Object.entries(CUTS))(`%s, ${ON}`, { timeout: 120_000 }, async ([, cut]) => {
  const { cluster } = await openFailover()
  const leader = await cluster.untilLeader()
  const others = cluster.others(leader)
  const loads = cluster.names.map((place) =>
    cluster.load({ place, writers: 2, registers: { clients: 2, keys: 5 } }),
  )
  const everywhere = cluster.load()
  await everywhere.more(50)
  cut(cluster, leader, others)
  // Clients that reach everybody find who leads, or the one that still does.
  await everywhere.more(100, 60_000)
  cluster.healAll()
  await everywhere.more(50)
  const { writes } = await cluster.judge()
  expect(writes.ok).toBeGreaterThan(100)
  expect(loads.every((load) => load.acked > 0)).toBe(true)
})
