/** The new leader dies as well, before the old one is back. */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'

test(
  `the new leader dies as soon as it leads; with the first one back there is a third, ${ON}`,
  { timeout: 180_000 },
  async () => {
    const { cluster } = await openFailover()
    const load = cluster.load()
    await load.more(100)
    const first = await cluster.untilLeader()
    await cluster.kill(first)
    const second = await cluster.untilLeader(cluster.others(first))
    await cluster.kill(second)
    const last = cluster.names.filter((name) => name !== first && name !== second)
    // One of three proves nothing alone.
    await cluster.restart(first)
    const third = await cluster.untilLeader([first, ...last])
    await load.more(50)
    await cluster.restart(second)
    await load.more(50)
    expect(third).not.toBe(second)
    const { writes } = await cluster.judge()
    expect(cluster.failovers).toBeGreaterThanOrEqual(2)
    expect(writes.ok).toBeGreaterThan(100)
  },
)
