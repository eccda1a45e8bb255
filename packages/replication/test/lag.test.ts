import { LOCAL_SLOT } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { semiSync } from '../src/index.ts'
import { World, emptyDisk, type TestFollower, type TestLeader } from './support/world.ts'

async function pair(
  acks?: ReturnType<typeof semiSync>,
): Promise<{ world: World; leader: TestLeader; follower: TestFollower }> {
  const world = new World()
  const leader = await world.leader('a', emptyDisk(), acks && { acks })
  const follower = world.follower('b', 'a')
  await world.converge(leader, follower)
  await world.clock.advance(1100)
  return { world, leader, follower }
}

function lagOfB({ followers }: TestLeader): unknown {
  return followers.status()[0]?.lag
}

describe('lag', () => {
  test('grows while a follower does not get on, by all three numbers, and is unknown once the link is down', async () => {
    const { world, leader, follower } = await pair()
    expect(lagOfB(leader)).toEqual({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })
    world.network.cut('a', 'b')
    world.network.cut('b', 'a')
    const before = leader.log.end.lsn
    await world.clock.complete(leader.set('k', '1'))
    await world.clock.advance(100)
    await world.clock.complete(leader.set('k', '2'))
    const bytes = leader.log.bytesAfter(before)
    expect(bytes).toBeGreaterThan(0)
    await world.clock.advance(900)
    const first = lagOfB(leader) as { ageMs: number }
    expect(first).toMatchObject({ records: 2, bytes, ageIsAtLeast: false })
    expect(first.ageMs).toBeGreaterThanOrEqual(1000)
    expect(first.ageMs).toBeLessThan(1010)
    await world.clock.advance(1500)
    expect(lagOfB(leader)).toMatchObject({ records: 2, ageMs: expect.closeTo(first.ageMs + 1500, 3) })
    expect(leader.followers.status()[0]?.heardMs).toBeGreaterThan(1000)
    // The follower knows nothing of those two, and says so instead of 0.
    expect(follower.following.report()).toMatchObject({ lag: undefined, state: 'streaming' })
    await world.clock.advance(6000)
    expect(leader.followers.status()).toEqual([])
    expect(leader.followers.absent()).toMatchObject([
      { name: 'b', state: 'disconnected', sinceIsAtLeast: false },
    ])
    expect(follower.following.report()).toMatchObject({ lag: undefined, heardMs: undefined })
    world.network.healAll()
    await world.converge(leader, follower)
    await world.clock.advance(1100)
    expect(lagOfB(leader)).toEqual({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })
    expect(follower.following.report().lag).toEqual({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })
  })

  test('is unknown until a follower says what it has applied', async () => {
    const world = new World()
    const leader = await world.leader('a')
    world.follower('b', 'a')
    await world.clock.runUntil(() => leader.followers.status().length === 1, { withinMs: 1000, what: 'b' })
    expect(leader.followers.status()[0]).toMatchObject({
      applied: undefined,
      lag: undefined,
      heardMs: undefined,
    })
  })

  test('of commits from before this leader the age is a least one', async () => {
    const { world, leader } = await pair()
    await world.clock.complete(leader.set('k', '1'))
    const again = await world.leader('a2', { log: leader.log.crash(), storage: leader.storage })
    const slow = emptyDisk()
    const follower = world.follower('c', 'a2', slow)
    await world.clock.runUntil(() => again.followers.status().length === 1, { withinMs: 1000, what: 'c' })
    slow.log.syncsAtOnce = false
    await world.clock.advance(3000)
    const lag = again.followers.status()[0]?.lag
    expect(lag).toMatchObject({ records: again.log.durable, ageIsAtLeast: true })
    expect(lag?.ageMs).toBeGreaterThanOrEqual(2900)
    slow.log.releaseSyncs()
    slow.log.syncsAtOnce = true
    await world.converge(again, follower)
  })

  test('what waits for acks counts: it is durable here and not applied there', async () => {
    const { world, leader, follower } = await pair(semiSync(['b'], { ackTimeoutMs: 60_000 }))
    follower.log.syncsAtOnce = false
    const write = leader.set('k', '1')
    await world.clock.advance(500)
    expect(lagOfB(leader)).toMatchObject({ records: 1 })
    expect((lagOfB(leader) as { ageMs: number }).ageMs).toBeGreaterThan(450)
    follower.log.releaseSyncs()
    follower.log.syncsAtOnce = true
    await world.clock.complete(write)
    await world.converge(leader, follower)
    await world.clock.advance(1100)
    expect(lagOfB(leader)).toMatchObject({ records: 0, ageMs: 0 })
  })
})

describe('who is gone', () => {
  test('is listed with its slot, also one that this leader has never seen', async () => {
    const world = new World()
    const disk = emptyDisk()
    const leader = await world.leader('a', disk)
    disk.log.slots.reserve('x', 1)
    disk.log.slots.reserve(LOCAL_SLOT, 1)
    await world.clock.advance(500)
    const [gone, ...others] = leader.followers.absent()
    expect(others).toEqual([])
    expect(gone).toMatchObject({ name: 'x', state: 'disconnected', sinceIsAtLeast: true, slot: { lsn: 1 } })
    expect(gone?.sinceMs).toBeGreaterThanOrEqual(500)
  })

  test('is forgotten with its slot, but not while it is connected or the ack rule names it', async () => {
    const { world, leader, follower } = await pair(semiSync(['b', 'm']))
    leader.log.slots.reserve('x', 1)
    leader.log.slots.reserve('m', 1)
    const forget = (name: string): unknown => {
      try {
        leader.followers.forget(name)
        return 'forgotten'
      } catch (error) {
        return error
      }
    }
    expect(forget('b')).toMatchObject({
      code: 'MEMBER_IN_USE',
      message: expect.stringContaining('connected'),
    })
    expect(forget('m')).toMatchObject({ code: 'MEMBER_IN_USE', message: expect.stringContaining('ack rule') })
    await follower.following.close()
    await world.clock.advance(100)
    expect(forget('b')).toMatchObject({ code: 'MEMBER_IN_USE', message: expect.stringContaining('ack rule') })
    expect(forget(LOCAL_SLOT)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(forget('nobody')).toMatchObject({ code: 'SLOT_UNKNOWN' })
    expect(
      leader.followers
        .absent()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(['b', 'm', 'x'])
    expect(forget('x')).toBe('forgotten')
    expect(leader.log.slots.get('x')).toBeUndefined()
    expect(
      leader.followers
        .absent()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(['b', 'm'])
  })
})

describe('what changes of a follower', () => {
  test('is told once: its state, and what it is to the ack rule', async () => {
    const world = new World()
    const acks = semiSync(['b', 'c'], { settleMs: 2000, lagMsMax: 500 })
    const leader = await world.leader('a', emptyDisk(), { acks })
    const changes = (): string[] =>
      leader.events.flatMap((event) =>
        event.kind === 'changed' ? [`${event.name} ${event.state} ${event.syncState}`] : [],
      )
    const b = world.follower('b', 'a')
    await world.converge(leader, b)
    const c = world.follower('c', 'a')
    await world.converge(leader, c)
    await world.clock.advance(3000)
    const soFar = changes()
    expect(soFar.at(-1)).toBe('c streaming potential')
    expect(soFar).toContain('b streaming sync')
    // Its disk stands still: c takes its place.
    b.log.syncsAtOnce = false
    const write = leader.set('k', '1')
    await world.clock.complete(write)
    await world.clock.advance(2000)
    expect(changes().slice(soFar.length).toSorted()).toEqual(['b streaming potential', 'c streaming sync'])
    await world.clock.advance(10_000)
    expect(changes().length).toBe(soFar.length + 2)
  })
})
