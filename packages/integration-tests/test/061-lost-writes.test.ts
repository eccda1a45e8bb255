/** The leader is lost again and again, each time another way: nothing that was acknowledged is. */
import { expect, test } from 'vitest'
import type { ProcessCluster } from './support/rig/cluster.ts'
import { ON, openFailover } from './support/rig/failover.ts'

const WAYS: Record<string, (cluster: ProcessCluster, leader: string) => void | Promise<void>> = {
  'is killed': (cluster, leader) => cluster.kill(leader),
  'stands still': (cluster, leader) => cluster.pause(leader),
  'is cut off from the others, but not from its clients': (cluster, leader) => cluster.isolate(leader),
}

test.for(Object.entries(WAYS))(
  `no acknowledged write is lost when the leader %s, ${ON}`,
  { timeout: 120_000 },
  async ([, lose]) => {
    const { cluster } = await openFailover()
    const load = cluster.load()
    await load.more(100)
    for (let round = 0; round < 2; round++) {
      const former = await cluster.untilLeader()
      await lose(cluster, former)
      await cluster.untilLeader(cluster.others(former))
      await load.more(50)
      await cluster.bringBack(former)
      await load.more(50)
    }
    const { writes, registers } = await cluster.judge()
    expect(cluster.failovers).toBeGreaterThanOrEqual(2)
    expect(writes.ok).toBeGreaterThan(100)
    expect(registers.ok).toBeGreaterThan(100)
  },
)
