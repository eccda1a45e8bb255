/** Not a byte is left on the leader's disk: it acknowledges nothing that it cannot keep, and another one takes over. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { canMount } from './support/live-nodes.ts'
import { ON, openFailover } from './support/rig/failover.ts'
import { SmallDisk } from './support/rig/machine.ts'

const able = canMount()
const skipped = able ? '' : ' (skipped: needs root, to mount a disk in memory)'

test.skipIf(!able)(`the disk of the leader is full${skipped}, ${ON}`, { timeout: 180_000 }, async () => {
  const disks = new Map<string, SmallDisk>()
  const { cluster } = await openFailover({
    before: (folder) => {
      for (const name of ['a', 'b', 'c']) disks.set(name, new SmallDisk(join(folder, name), 256))
    },
  })
  const load = cluster.load()
  await load.more(100)
  const former = await cluster.untilLeader()
  cluster.note(`the disk of ${former} is full`)
  disks.get(former)!.fill()
  await cluster.untilLeader(cluster.others(former))
  await load.more(50)
  disks.get(former)!.empty()
  cluster.note(`the disk of ${former} has room`)
  await cluster.kill(former)
  await cluster.bringBack(former)
  await load.more(50)
  const { writes } = await cluster.judge()
  expect(writes.ok).toBeGreaterThan(150)
})
