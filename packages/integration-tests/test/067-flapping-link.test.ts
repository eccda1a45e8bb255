/** A link comes and goes faster than anybody can make up their mind. */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'

test(`links that flap, one direction at a time, under load, ${ON}`, { timeout: 180_000 }, async () => {
  const { cluster } = await openFailover()
  const load = cluster.load()
  await load.more(50)
  for (let round = 0; round < 12; round++) {
    const leader = cluster.leader
    const [one = '', other = ''] = cluster.others(leader)
    // By turns: one follower, the other one, the way back, all of it.
    if (round % 4 !== 1) cluster.cutOneWay(leader, one)
    if (round % 4 !== 0) cluster.cutOneWay(other, leader)
    if (round % 4 === 3) cluster.isolate(leader)
    const before = load.acked + load.failed
    await load.until(() => load.acked + load.failed > before + 8, 30_000, 'some answers')
    cluster.healAll()
    await cluster.untilLeader()
    await load.more(10, 60_000)
  }
  const { writes } = await cluster.judge()
  expect(writes.ok).toBeGreaterThan(50)
})
