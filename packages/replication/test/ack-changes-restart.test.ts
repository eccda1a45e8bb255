/** A leader that dies while its ack rule changes, or with a write of a rule of its own: what the log says holds at the next start. */
import { CONTROL_ACKS, FORMAT_CONTROL, LOCAL_SLOT } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { any, async, shownUpTo, type AckPolicy, type WriteOptions } from '../src/index.ts'
import { World, emptyDisk, type Disk, type TestFollower, type TestLeader } from './support/world.ts'

const of = (...names: readonly string[]): AckPolicy => ({
  level: 'durable',
  of: any(names.length, names),
  ackTimeoutMs: 1000,
  settleMs: 100,
  lagMsMax: 200,
})
const OLD = of('b')
const NEW = of('c')
const THIRD = of('d')

const left = ({ log, storage }: Disk): Disk => ({ log: log.crash(), storage: storage.kill() })

const keysOf = ({ storage }: Disk): string[] =>
  storage.connection
    .committedEntries()
    .map(([key]) => key)
    .sort()

const rulesOf = ({ log }: Disk, from = 1): string[] =>
  [...log.records(from)]
    .filter(({ format, payload }) => format === FORMAT_CONTROL && payload[0] === CONTROL_ACKS)
    .map(({ payload }) => Buffer.from(payload.subarray(1)).toString())

function crash(world: World, node: TestLeader | TestFollower): Disk {
  node.clock.stop()
  world.network.crash(node.name)
  return left(node)
}

/** A leader that died after the record of the change from `OLD` to `NEW`: of their members only b has it. */
async function inTheMiddle(world: World): Promise<{ disk: Disk; b: Disk; c: Disk }> {
  const leader = await world.leader('a', emptyDisk(), { acks: OLD })
  const b = world.follower('b', 'a')
  const c = world.follower('c', 'a')
  await world.clock.complete(leader.set('acked', '1'))
  await world.converge(leader, b)
  await world.converge(leader, c)
  await world.clock.advance(50)
  const change = leader.leadership.pipeline.changeAcks(NEW)
  change.catch(() => {})
  const cDisk = crash(world, c)
  await world.clock.advance(100)
  expect(leader.leadership.pipeline.acks.change).toMatchObject({ missing: ['c'] })
  return { disk: crash(world, leader), b: crash(world, b), c: cDisk }
}

describe('a crash in the middle of a change', () => {
  test.each([
    ['with the new policy', NEW, 'durable ANY 1 (c) after durable ANY 1 (b)'],
    ['without a policy', undefined, 'durable ANY 1 (c) after durable ANY 1 (b)'],
    ['with a third one', THIRD, 'durable ANY 1 (d) after durable ANY 1 (b)'],
    ['with an asynchronous one', async(), 'local after durable ANY 1 (b)'],
  ] as const)('%s: both the old rule and that hold until the log satisfies them', async (_, acks, said) => {
    const world = new World(1)
    const { disk, b, c } = await inTheMiddle(world)
    const leader = await world.leader('a', disk, acks === undefined ? {} : { acks })
    const { pipeline, epoch } = leader.leadership
    expect(rulesOf(leader, epoch.firstLsn)).toEqual([said])
    expect(pipeline.acks.change?.to).toBe(said.split(' after ')[0])
    const write = leader.set('new', '1')
    write.catch(() => {})
    world.follower('c', 'a', c)
    world.follower('d', 'a')
    await world.clock.advance(2000)
    expect([keysOf(leader), pipeline.queued]).toEqual([['acked'], 1])
    world.follower('b', 'a', b)
    await world.clock.complete(write)
    expect(pipeline.acks.effective).toBe(said.split(' after ')[0])
    expect(rulesOf(leader, epoch.firstLsn)).toEqual([said, said.split(' after ')[0]])
  })

  test('with the old policy: the change is gone, as nothing was acknowledged by its rule alone', async () => {
    const world = new World(2)
    const { disk, b } = await inTheMiddle(world)
    const leader = await world.leader('a', disk, { acks: OLD })
    const { pipeline, epoch } = leader.leadership
    expect(rulesOf(leader, epoch.firstLsn)).toEqual(['durable ANY 1 (b)'])
    world.follower('b', 'a', b)
    await world.clock.complete(leader.set('new', '1'))
    expect(pipeline.acks).toMatchObject({ effective: 'durable ANY 1 (b)', change: undefined })
  })

  test('several crashes later both still hold', async () => {
    const world = new World(3)
    let { disk } = await inTheMiddle(world)
    for (const acks of [NEW, NEW, THIRD, NEW]) {
      const leader = await world.leader('a', disk, { acks })
      await world.clock.advance(100)
      expect(leader.leadership.pipeline.acks.effective).toMatch(/^durable ANY 1 \(b\) and /)
      disk = crash(world, leader)
    }
  })
})

test('another policy of the options is a change like any other, also when nothing is hidden', async () => {
  const world = new World(4)
  const leader = await world.leader('a', emptyDisk(), { acks: OLD })
  const b = world.follower('b', 'a')
  await world.clock.complete(leader.set('acked', '1'))
  await world.converge(leader, b)
  const disk = crash(world, leader)
  const next = await world.leader('a', disk, { acks: NEW })
  const { pipeline } = next.leadership
  expect(pipeline.acks).toMatchObject({ recovering: false, change: { to: 'durable ANY 1 (c)' } })
  expect(keysOf(next)).toEqual(['acked'])
  const write = next.set('new', '1')
  write.catch(() => {})
  await world.clock.advance(2000)
  expect(keysOf(next)).toEqual(['acked'])
  const c = world.follower('c', 'a')
  await world.clock.complete(write)
  await world.converge(next, c)
  expect(keysOf(c)).toEqual(['acked', 'new'])
})

test('a change that ended stays, without a policy in the options', async () => {
  const world = new World(5)
  const leader = await world.leader('a', emptyDisk(), { acks: OLD })
  const followers = [world.follower('b', 'a'), world.follower('c', 'a')]
  await world.clock.complete(leader.set('1', '1'))
  for (const each of followers) await world.converge(leader, each)
  await world.clock.advance(50)
  await world.clock.complete(leader.leadership.pipeline.changeAcks(NEW))
  const next = await world.leader('a', crash(world, leader))
  expect(next.leadership.pipeline.acks).toMatchObject({ rule: 'durable ANY 1 (c)', change: undefined })
})

test('what lies below the own slot of the log is not looked at', async () => {
  const world = new World(6)
  const leader = await world.leader('a', emptyDisk(), { acks: OLD })
  const disk = crash(world, leader)
  disk.log.slots.reserve(LOCAL_SLOT, 2)
  const next = await world.leader('a', disk, { acks: NEW })
  expect(next.leadership.pipeline.acks.change).toBeUndefined()
})

describe.each<[string, AckPolicy, WriteOptions]>([
  ['an asynchronous cluster', async(), { ack: 'durable', of: any(1, ['c']) }],
  ['a cluster of another rule', OLD, { of: any(1, ['c']) }],
])('a write with a rule of its own, in %s', (_, acks, options) => {
  test('is hidden after a crash until its own set has it', async () => {
    const world = new World(7)
    const leader = await world.leader('a', emptyDisk(), { acks })
    const b = world.follower('b', 'a')
    await world.clock.complete(leader.set('acked', '1'))
    await world.converge(leader, b)
    const write = leader.leadership.pipeline.write((tx) => tx.set('tail', '1'), options)
    write.catch(() => {})
    await world.clock.advance(100)
    expect(b.log.end.lsn).toBe(leader.log.end.lsn)
    const disk = crash(world, leader)
    expect(shownUpTo(disk.log)).toBe(disk.log.end.lsn - 2)
    const next = await world.leader('a', disk, { acks })
    await world.clock.advance(2000)
    expect([keysOf(next), next.leadership.pipeline.acks.recovering]).toEqual([['acked'], true])
    expect(keysOf(b)).toEqual(['acked'])
    const c = world.follower('c', 'a')
    await world.converge(next, c)
    await world.converge(next, b)
    expect([next, b, c].map(keysOf)).toEqual(Array.from({ length: 3 }, () => ['acked', 'tail']))
  })
})

test('a loss that is accepted ends a recovery whose members do not come back', async () => {
  const world = new World(8)
  const { disk, c } = await inTheMiddle(world)
  const leader = await world.leader('a', disk, { acks: NEW })
  const { pipeline } = leader.leadership
  world.follower('c', 'a', c)
  await world.clock.advance(1000)
  expect(pipeline.acks.change).toMatchObject({ missing: ['b'] })
  await world.clock.complete(pipeline.changeAcks(NEW, { acceptLoss: true }))
  await world.clock.complete(leader.set('new', '1'))
  expect(keysOf(leader)).toEqual(['acked', 'new'])
  expect(pipeline.acks).toMatchObject({ effective: 'durable ANY 1 (c)', degraded: false, recovering: false })
})

test('the rules of a group that was torn off hide nothing', async () => {
  const world = new World(9)
  const leader = await world.leader('a', emptyDisk(), { acks: async(), pipeline: { recordBytesMax: 20 } })
  await world.clock.complete(leader.set('1', '1'))
  leader.log.syncsAtOnce = false
  const end = leader.log.end.lsn
  const write = leader.leadership.pipeline.write((tx) => tx.set('torn', 'x'.repeat(100)), {
    of: any(1, ['c']),
  })
  write.catch(() => {})
  await world.clock.advance(10)
  leader.clock.stop()
  world.network.crash('a')
  leader.log.durable = end + 2
  const disk = { log: leader.log.crash(), storage: leader.storage.crash() }
  const next = await world.leader('a', disk, { acks: async() })
  expect(next.leadership.cutRecords).toBe(1)
  expect([keysOf(next), next.leadership.pipeline.acks.recovering]).toEqual([['1'], false])
})
