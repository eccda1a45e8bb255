/** Every candidate keeps its log for every follower of its leader: whoever leads next serves them from it. */
import { LOCAL_SLOT, isUnderstudyError } from '@understudy/contracts'
import type { UnderstudyNode } from '@understudy/node'
import { expect, test } from 'vitest'
import { promote } from './support/parted.ts'
import { TcpCluster, caughtUp, countOf, fill } from './support/tcp-cluster.ts'

const SMALL = {
  segmentBytes: 64 * 1024,
  checkpointBytes: 64 * 1024,
  rewindBytesMax: 0,
  link: { heartbeatMs: 20 },
}

const slotOf = (node: UnderstudyNode, name: string): number =>
  node.slots().find((slot) => slot.name === name)?.lsn ?? -1

/** Asks again and again, in turns of the event loop, until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** False while it is still leaving. */
function isForgotten(leader: UnderstudyNode, name: string): boolean {
  try {
    leader.forget(name)
    return true
  } catch (error) {
    if (isUnderstudyError(error, 'MEMBER_IN_USE')) return false
    throw error
  }
}

test('032 a follower that is far behind at a promotion catches up from the log of the new leader', async () => {
  const cluster = new TcpCluster()
  const a = await cluster.leader(SMALL)
  await fill(a, 10)
  const b = await cluster.follower('b', SMALL)
  const late = await cluster.follower('c', SMALL)
  await caughtUp(a, b, late)
  await until(() => slotOf(a, 'c') >= 2)
  const left = late.applied.lsn
  await late.close()
  for (let more = 0; more < 40; more++) await fill(a, 200)
  await caughtUp(a, b)
  await b.checkpoint()
  // A checkpoint would let go of everything.
  expect(slotOf(b, 'c')).toBeLessThanOrEqual(left)
  await until(() => slotOf(b, 'a') === b.applied.lsn)
  expect(b.status().log.first).toBeLessThanOrEqual(left + 1)
  // One who was forgotten holds nothing here either.
  await cluster.follower('d', SMALL).then((d) => d.close())
  await until(() => slotOf(b, 'd') >= 0)
  await until(() => isForgotten(a, 'd'))
  await until(() => slotOf(b, 'd') === -1)
  const end = b.applied.lsn
  await b.close()
  await a.close()

  promote(cluster, 'b')
  const leader = await cluster.start('b', { role: 'leader', listen: 'tcp://127.0.0.1:0', ...SMALL })
  expect(leader.slots().map(({ name }) => name)).toEqual(['a', 'c', LOCAL_SLOT])
  for (let more = 0; more < 10; more++) await fill(leader, 200)
  await leader.checkpoint()
  expect(slotOf(leader, 'c')).toBeLessThanOrEqual(left)
  // The former leader is kept, too, what it needs to come back.
  expect(slotOf(leader, 'a')).toBe(end)
  const c = await cluster.follower('c', { ...SMALL, leader: leader.address ?? '' })
  await cluster.events['c']?.untilState('streaming')
  await caughtUp(leader, c)
  expect(cluster.events['c']?.of('bootstrapped')).toEqual([])
  expect(await countOf(c)).toBe(10 + 50 * 200)
  const former = await cluster.follower('a', { ...SMALL, leader: leader.address ?? '', rejoin: true })
  await caughtUp(leader, former)
  expect(cluster.events['a']?.of('bootstrapped')).toEqual([])
  await cluster.verify(leader, c, former)
})
