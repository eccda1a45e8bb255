/** The machine has no time for anybody: that is no reason for a failover. */
import { expect, onTestFinished, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'
import { Burners } from './support/rig/machine.ts'

test(
  `a leader that is slow because the machine is busy goes on leading, ${ON}`,
  { timeout: 180_000 },
  async () => {
    const { cluster } = await openFailover()
    const leader = await cluster.untilLeader()
    const before = await cluster.view(leader)
    const load = cluster.load({ writers: 16, timeoutMs: 20_000 })
    await load.more(50)
    const burners = new Burners(4)
    onTestFinished(() => burners.stop())
    await load.more(1000, 120_000)
    await burners.stop()
    const after = await cluster.view(leader)
    expect(after).toMatchObject({ role: 'leader', epoch: before?.epoch })
    await cluster.judge()
    expect(cluster.failovers).toBe(0)
  },
)
