/** A leader stands still for longer than its lease, with clients attached that keep on writing to it, and goes on. */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'

test(
  `an old leader that goes on after SIGSTOP answers no write and shows none, ${ON}`,
  { timeout: 120_000 },
  async () => {
    const { cluster } = await openFailover()
    const former = await cluster.untilLeader()
    const attached = cluster.load({
      place: former,
      name: 'attached',
      addresses: [cluster.network.listenAddress(former)],
      timeoutMs: 20_000,
    })
    const load = cluster.load()
    await attached.more(50)
    for (let round = 0; round < 2; round++) {
      const leader = await cluster.untilLeader()
      cluster.pause(leader)
      await cluster.untilLeader(cluster.others(leader))
      await load.more(50)
      cluster.resume(leader)
      await cluster.until(
        leader,
        'to follow',
        ({ role, state }) => role === 'follower' && state === 'streaming',
      )
      await load.more(50)
    }
    const { writes } = await cluster.judge()
    expect(writes.ok).toBeGreaterThan(100)
  },
)
