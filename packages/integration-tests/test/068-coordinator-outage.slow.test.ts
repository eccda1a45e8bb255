/** The coordinator is gone: a leader whose followers all agree goes on. With the leader gone too, nobody leads until the coordinator is back. */
import { expect, test } from 'vitest'
import { HAS_ETCD } from './support/rig/etcd.ts'
import { LEASE_MS, ON, coordinatorReached, openFailover } from './support/rig/failover.ts'

const skipped = HAS_ETCD ? '' : ' (skipped: etcd is not installed)'

test.skipIf(!HAS_ETCD)(
  `etcd is killed, paused and cut off${skipped}, ${ON}`,
  { timeout: 240_000 },
  async () => {
    const { cluster, etcd } = await openFailover({ coordinator: 'etcd' })
    const load = cluster.load()
    await load.more(50)
    const cutOff = (how: 'cut' | 'heal') => (): void => {
      for (const name of cluster.names) cluster[how](name, etcd!.name)
    }
    const outages: [string, () => unknown, () => unknown][] = [
      ['killed', () => etcd!.kill(), () => etcd!.start()],
      ['paused', () => etcd!.pause(), () => etcd!.resume()],
      ['cut off', cutOff('cut'), cutOff('heal')],
    ]
    for (const [how, begin, end] of outages) {
      const leader = await cluster.untilLeader()
      const { epoch } = (await cluster.view(leader))!
      cluster.note(`etcd is ${how}`)
      await begin()
      await cluster.until(leader, 'to miss the coordinator', (view) => !coordinatorReached(view))
      // Beyond the end of any lease: it is the followers' word that keeps it.
      const since = performance.now()
      await cluster.until(leader, 'to lead on', () => performance.now() > since + 2 * LEASE_MS.etcd)
      await load.more(50)
      expect(await cluster.view(leader)).toMatchObject({ role: 'leader', epoch })
      cluster.note('etcd is back')
      await end()
      // A lease that is over stays over: with the coordinator a new epoch begins.
      await cluster.until(leader, 'to have the coordinator back', coordinatorReached)
      await cluster.untilLeader()
      await load.more(50)
    }
    const leader = await cluster.untilLeader()
    await etcd!.kill()
    await cluster.kill(leader)
    await etcd!.start()
    await cluster.untilLeader(cluster.others(leader))
    await load.more(50)
    const { writes } = await cluster.judge()
    expect(writes.ok).toBeGreaterThan(200)
  },
)
