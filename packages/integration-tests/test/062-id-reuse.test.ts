/**
 * The incident that this project exists to prevent: an asynchronous leader gives ids to rows that its successor never gets, a store outside keeps what it
 * knows under those ids, and the successor gives them to other rows.
 */
import { expect, test } from 'vitest'
import { ON, openFailover } from './support/rig/failover.ts'

test(
  `no id that a write returned is given to another row, also of writes that are lost, ${ON}`,
  { timeout: 120_000 },
  async () => {
    const { cluster } = await openFailover({ acks: 'async' })
    const former = await cluster.untilLeader()
    // The store outside: each client keeps the id of every write that was answered.
    const beside = cluster.load({
      place: former,
      name: 'beside',
      addresses: [cluster.network.listenAddress(former)],
    })
    await beside.more(100)
    // Answered by the old leader alone: nobody else ever gets them.
    cluster.isolate(former)
    await beside.more(100)
    await cluster.kill(former)
    // The coordinator had the ceilings before an id was answered: the next leader begins above them.
    await cluster.untilLeader(cluster.others(former))
    const load = cluster.load()
    await load.more(200)
    await cluster.bringBack(former)
    await load.more(50)
    const { lost } = await cluster.judge({ mayLose: true })
    expect(lost).toBeGreaterThan(0)
  },
)
