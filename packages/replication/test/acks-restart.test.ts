/** What a leader that restarts does with what it had not been acknowledged. */
import { CONTROL_ACKS, FORMAT_CONTROL, UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { any, async, redo, semiSync, shownUpTo, sync, type AckPolicy } from '../src/index.ts'
import { outcomeOf } from './support/pipeline.ts'
import { FORMAT, World, emptyDisk, type Disk, type TestLeader } from './support/world.ts'

const POLICY: AckPolicy = semiSync(['b', 'c'], { ackTimeoutMs: 1000, settleMs: 100, lagMsMax: 200 })

/** The disk of a node whose machine lost its power; with `process`, whose process died alone. */
function left(node: Disk, of: 'machine' | 'process'): Disk {
  return { log: node.log.crash(), storage: of === 'machine' ? node.storage.crash() : node.storage.kill() }
}

const keysOf = ({ storage }: Disk): string[] => storage.connection.committedEntries().map(([key]) => key)

/** A leader whose last write `tail` was not acknowledged when it died, after `acked` was. */
async function withTail(
  world: World,
  acks = POLICY,
  of: 'machine' | 'process' = 'process',
): Promise<{ disk: Disk; follower: Disk }> {
  const leader = await world.leader('a', emptyDisk(), { acks })
  const follower = world.follower('b', 'a')
  await world.clock.complete(leader.set('acked', '1'))
  await world.converge(leader, follower)
  await world.clock.advance(50)
  follower.clock.stop()
  world.network.crash('b')
  leader.leadership.pipeline.write((tx) => tx.set('tail', '1')).catch(() => {})
  await world.clock.advance(50)
  leader.clock.stop()
  world.network.crash('a')
  return { disk: left(leader, of), follower: left(follower, of) }
}

describe.each(['process', 'machine'] as const)('a leader that restarts after a crash of the %s', (of) => {
  test('shows nothing that is not acknowledged, takes writes meanwhile, and goes on once the set has it', async () => {
    const world = new World(1)
    const { disk, follower } = await withTail(world, POLICY, of)
    expect(keysOf(disk)).not.toContain('tail')
    const leader = await world.leader('a', disk, { acks: POLICY })
    const { pipeline } = leader.leadership
    expect(keysOf(leader)).toEqual(['acked'])
    expect(pipeline.acks).toMatchObject({ recovering: true, pending: { lsn: leader.log.end.lsn } })
    expect(pipeline.highWatermark).toBe(leader.storage.applied.lsn)
    const write = leader.set('new', '1')
    write.catch(() => {})
    await world.clock.advance(3000)
    expect([keysOf(leader), pipeline.queued]).toEqual([['acked'], 1])
    const back = world.follower('b', 'a', follower)
    await world.clock.complete(write)
    expect(keysOf(leader).sort()).toEqual(['acked', 'new', 'tail'])
    expect(pipeline.acks.recovering).toBe(false)
    await world.converge(leader, back)
    expect(back.storage.digest()).toBe(leader.storage.digest())
  })

  test('goes on at once when all it has was acknowledged', async () => {
    const world = new World(2)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    const follower = world.follower('b', 'a')
    for (const key of ['1', '2', '3']) await world.clock.complete(leader.set(key, key))
    await world.converge(leader, follower)
    leader.clock.stop()
    world.network.crash('a')
    const next = await world.leader(
      'a',
      { log: leader.log.crash(), storage: leader.storage.kill() },
      { acks: POLICY },
    )
    expect(next.leadership.pipeline.acks.recovering).toBe(false)
    expect(keysOf(next)).toEqual(['1', '2', '3'])
    await world.clock.complete(next.set('4', '4'))
  })

  test.each([
    ['without a policy', undefined],
    ['with the policy of an asynchronous cluster', async()],
  ] as const)('%s, still hides it until the old set has it', async (_, acks) => {
    const world = new World(3)
    const { disk, follower } = await withTail(world, POLICY, of)
    const leader = await world.leader('a', disk, acks === undefined ? {} : { acks })
    const { pipeline } = leader.leadership
    await world.clock.advance(3000)
    expect([keysOf(leader), pipeline.acks.recovering]).toEqual([['acked'], true])
    world.follower('b', 'a', follower)
    await world.clock.complete(leader.set('new', '1'))
    expect(keysOf(leader).sort()).toEqual(['acked', 'new', 'tail'])
    expect(pipeline.acks.effective).toBe(acks === undefined ? 'durable FIRST 1 (b, c)' : 'local')
  })

  test('several times in a row, still hides it', async () => {
    const world = new World(4)
    let { disk } = await withTail(world, POLICY, of)
    let leader: TestLeader | undefined
    for (let life = 0; life < 3; life++) {
      leader = await world.leader('a', disk, { acks: POLICY })
      await world.clock.advance(100)
      expect([keysOf(leader), leader.leadership.pipeline.acks.recovering]).toEqual([['acked'], true])
      leader.clock.stop()
      world.network.crash('a')
      disk = left(leader, of)
    }
  })

  test('a follower that restarts hides it too, and shows it when the leader says so', async () => {
    const world = new World(5)
    const leader = await world.leader('a', emptyDisk(), { acks: sync(['b', 'c'], { ackTimeoutMs: 1000 }) })
    const followers = ['b', 'c'].map((name) => world.follower(name, 'a'))
    await world.clock.complete(leader.set('acked', '1'))
    const [b, c] = followers as [(typeof followers)[0], (typeof followers)[0]]
    await world.converge(leader, b)
    await world.converge(leader, c)
    c.clock.stop()
    world.network.crash('c')
    const write = leader.set('tail', '1')
    expect(await world.clock.complete(outcomeOf(write))).toMatch('WRITTEN_NOT_ACKED')
    expect([b.log.durable, keysOf(b)]).toEqual([leader.log.end.lsn, ['acked']])
    b.clock.stop()
    world.network.crash('b')
    const disk = left(b, of)
    await world.clock.complete(
      redo({
        ...disk,
        formats: [FORMAT],
        clock: world.clock,
        upTo: shownUpTo(disk.log),
        defer: (run) => world.clock.schedule(0, run),
      }),
    )
    expect(keysOf(disk)).toEqual(['acked'])
    const back = world.follower('b', 'a', disk)
    const other = world.follower('c', 'a', left(c, of))
    await world.converge(leader, back)
    await world.converge(leader, other)
    expect(keysOf(back).sort()).toEqual(['acked', 'tail'])
  })
})

test('a torn transaction at the end is cut, and what was acknowledged before it is not hidden', async () => {
  const world = new World(6)
  const leader = await world.leader('a', emptyDisk(), { acks: POLICY, pipeline: { recordBytesMax: 20 } })
  const follower = world.follower('b', 'a')
  await world.clock.complete(leader.set('acked', '1'))
  await world.converge(leader, follower)
  leader.log.syncsAtOnce = false
  const end = leader.log.end.lsn
  void Promise.all(['1', '2'].map((key) => leader.set(`torn ${key}`, 'x'.repeat(100)))).catch(() => {})
  await world.clock.advance(10)
  leader.clock.stop()
  world.network.crash('a')
  leader.log.durable = end + 2
  const next = await world.leader('a', left(leader, 'machine'), { acks: POLICY })
  expect([next.leadership.cutRecords, next.leadership.pipeline.acks.recovering, keysOf(next)]).toEqual([
    2,
    false,
    ['acked'],
  ])
})

test('a policy that refuses does so during recovery, one that degrades shows the end after its record', async () => {
  const world = new World(7)
  const { disk } = await withTail(world)
  const failing = await world.leader('a', disk, { acks: { ...POLICY, onUnmet: 'fail' } })
  const queued = outcomeOf(failing.set('new', '1'))
  expect(await world.clock.complete(queued)).toBe('NOT_WRITTEN')
  expect(keysOf(failing)).toEqual(['acked'])
  failing.clock.stop()
  world.network.crash('a')
  const degrading = await world.leader('a', left(failing, 'process'), {
    acks: { ...POLICY, onUnmet: 'degrade' },
  })
  await world.clock.complete(degrading.set('new', '1'))
  expect(keysOf(degrading).sort()).toEqual(['acked', 'new', 'tail'])
  expect(degrading.leadership.pipeline.acks.effective).toBe('local')
})

test('closed during recovery: what waits is not written, and the end stays hidden', async () => {
  const world = new World(8)
  const { disk } = await withTail(world)
  const leader = await world.leader('a', disk, { acks: POLICY })
  const outcomes = Promise.all([outcomeOf(leader.set('new', '1')), leader.leadership.pipeline.close()])
  expect((await world.clock.complete(outcomes))[0]).toMatch(/^NOT_WRITTEN/)
  expect(keysOf(leader)).toEqual(['acked'])
})

test('the rule of an epoch is a record of its own; an epoch without one asks for no acks', async () => {
  const world = new World(9)
  const leader = await world.leader('a', emptyDisk(), { acks: sync(['b']) })
  const rules = [...leader.log.records(1)].filter(
    ({ format, payload }) => format === FORMAT_CONTROL && payload[0] === CONTROL_ACKS,
  )
  expect(rules.map(({ lsn, payload }) => `${lsn} ${Buffer.from(payload.subarray(1)).toString()}`)).toEqual([
    '2 durable ANY 1 (b)',
  ])
  expect((await new World(10).leader('a')).log.end.lsn).toBe(1)
})

test('a rule that names the leader, or cannot be met, is refused before anything is written', async () => {
  const world = new World(11)
  const disk = emptyDisk()
  await expect(
    world.leader('a', disk, { acks: { level: 'durable', of: any(1, ['a']) } }),
  ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' } satisfies Partial<UnderstudyError>)
  expect(disk.log.end.lsn).toBe(0)
})

describe('over the network', () => {
  test('the acks of followers carry writes; one that is gone is replaced by the other, and takes its place back later', async () => {
    const world = new World(12)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    const b = world.follower('b', 'a')
    const c = world.follower('c', 'a')
    const states = (): string =>
      leader.followers
        .status()
        .map(({ name, syncState }) => `${name} ${syncState}`)
        .sort()
        .join(', ')
    await world.clock.complete(leader.set('1', '1'))
    await world.converge(leader, b)
    await world.converge(leader, c)
    await world.clock.advance(1500)
    expect(states()).toBe('b sync, c potential')
    b.clock.pause()
    await world.clock.complete(leader.set('2', '2'))
    expect(states()).toBe('b potential, c sync')
    expect(b.log.end.lsn).toBeLessThan(leader.log.end.lsn)
    b.clock.resume()
    await world.converge(leader, b)
    await world.clock.advance(1500)
    expect(states()).toBe('b sync, c potential')
    const { receipt } = await world.clock.complete(leader.leadership.pipeline.write((tx) => tx.set('3', '3')))
    expect(receipt.members.map(({ name }) => name)).toContain('b')
  })

  test('what is received is acknowledged before it is durable there, when the rule asks for no more', async () => {
    const world = new World(14)
    const leader = await world.leader('a', emptyDisk(), { acks: sync(['b'], { level: 'received' }) })
    const follower = world.follower('b', 'a')
    await world.clock.complete(leader.set('first', '1'))
    await world.converge(leader, follower)
    follower.log.syncsAtOnce = false
    const { receipt } = await world.clock.complete(leader.leadership.pipeline.write((tx) => tx.set('2', '2')))
    expect(receipt).toMatchObject({ asked: 'received', reached: 'received', members: [{ name: 'b' }] })
    expect(receipt.members[0]).not.toHaveProperty('durableAt')
    expect(follower.log.durable).toBeLessThan(receipt.position.lsn)
    expect(keysOf(follower)).toEqual(['first'])
  })

  test('a member that is awaited does not rest: a lone writer is as fast as the link and the disk', async () => {
    const world = new World(13)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    const follower = world.follower('b', 'a')
    await world.clock.complete(leader.set('first', '1'))
    await world.converge(leader, follower)
    const startMs = world.clock.monotonic()
    for (let n = 0; n < 50; n++) await world.clock.complete(leader.set('k', `${n}`))
    const eachMs = (world.clock.monotonic() - startMs) / 50
    expect(eachMs).toBeLessThan(3)
  })
})
