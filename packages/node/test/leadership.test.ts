/** What a node says of who leads, over a connection and to those who wait for a change. */
import { SimulatedClock } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { LeadershipWatch, leadershipOf, type LeadershipView } from '../src/leadership.ts'
import { clientOf } from './client.ts'
import { Cluster } from './helpers.ts'

const RUN = '00000000000000aa'
const HISTORY = [{ number: 3, runId: RUN, leader: 'a', firstLsn: 1, crcBefore: 0 }]
const REPORT = { lag: { records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false }, heardMs: 20, rttMs: 3 }

function view(given: Partial<LeadershipView>): LeadershipView {
  return {
    name: 'b',
    cluster: 'c',
    role: 'follower',
    address: 'tcp://b:1',
    leaderAddress: 'tcp://a:1',
    leaderName: undefined,
    members: [],
    forwardsWrites: false,
    takesWrites: false,
    history: HISTORY,
    applied: { epoch: 3, lsn: 9, crc: 7 },
    report: undefined,
    ...given,
  }
}

function reported(given: object): Partial<LeadershipView> {
  return { report: { ...REPORT, ...given } as unknown as NonNullable<LeadershipView['report']> }
}

describe('what a node says', () => {
  test('a leader names itself', () => {
    expect(
      leadershipOf(view({ name: 'a', role: 'leader', takesWrites: true, leaderAddress: undefined })),
    ).toEqual({
      node: 'a',
      cluster: 'c',
      role: 'leader',
      takesWrites: true,
      forwardsWrites: false,
      epoch: { number: 3, runId: RUN },
      applied: { epoch: 3, lsn: 9, crc: 7 },
      stalenessMs: 0,
      leader: { name: 'a', address: 'tcp://b:1' },
      members: [{ name: 'a', address: 'tcp://b:1' }],
    })
  })

  test('a leader that stopped leads nobody, and proves nothing', () => {
    const said = leadershipOf(view({ name: 'a', role: 'leader', leaderAddress: undefined }))
    expect(said.leader).toBeUndefined()
    expect(said).not.toHaveProperty('stalenessMs')
  })

  test('a follower names the leader of its history at the address that it was given', () => {
    const said = leadershipOf(view({}))
    expect(said.leader).toEqual({ name: 'a', address: 'tcp://a:1' })
    expect(said.members).toEqual([
      { name: 'b', address: 'tcp://b:1' },
      { name: 'a', address: 'tcp://a:1' },
    ])
    const members = [{ name: 'c', address: 'tcp://c:1' }]
    const member = leadershipOf(view({ name: 'a', leaderName: 'c', leaderAddress: 'tcp://c:1', members }))
    expect([member.leader, member.members]).toEqual([members[0], members])
    const everywhere = { name: 'a', role: 'leader', takesWrites: true } as const
    for (const address of ['tcp://0.0.0.0:7401', 'ws://[::]:7401/c'])
      expect(leadershipOf(view({ ...everywhere, address }))).toMatchObject({
        leader: { name: 'a', address: '' },
      })
    // It led itself, and has heard nothing of the next one yet.
    const former = leadershipOf(view({ name: 'a' }))
    expect(former.leader).toEqual({ name: '', address: 'tcp://a:1' })
  })

  test.each([
    ['what the leader said last came a while ago', {}, 23],
    ['something of it is not applied', { lag: { ...REPORT.lag, records: 1, ageMs: 80 } }, 83],
    [
      'something may be older than it has heard',
      { lag: { ...REPORT.lag, records: 1, ageIsAtLeast: true } },
      undefined,
    ],
    ['the link is down', { lag: undefined }, undefined],
    ['nobody knows how long messages travel', { rttMs: undefined }, undefined],
  ])('its reads are as old as proven when %s', (_, given, stalenessMs) => {
    expect(leadershipOf(view(reported(given))).stalenessMs).toBe(stalenessMs)
  })
})

describe('waiting for a change', () => {
  const stamp = { number: 3, runId: RUN }
  function watched(): {
    clock: SimulatedClock
    watch: LeadershipWatch
    set: (given: Partial<LeadershipView>) => void
  } {
    const clock = new SimulatedClock()
    let current = view({})
    const watch = new LeadershipWatch(clock, () => leadershipOf(current))
    return { clock, watch, set: (given) => void (current = view(given)) }
  }

  test('is over at once when another epoch is known, or nothing is to be waited for', async () => {
    const { clock, watch } = watched()
    expect(await watch.next(undefined, 1000)).toMatchObject({ epoch: stamp })
    expect(await watch.next({ number: 2, runId: RUN }, 1000)).toMatchObject({ epoch: stamp })
    expect(await watch.next({ number: 3, runId: 'ff'.repeat(8) }, 1000)).toMatchObject({ epoch: stamp })
    expect(await watch.next(stamp, 0)).toMatchObject({ epoch: stamp })
    expect(clock.pending).toBe(0)
  })

  test('ends with an event, and without one within a quarter of a second', async () => {
    const { clock, watch, set } = watched()
    const newer = [{ ...HISTORY[0]!, number: 4 }]
    const first = watch.next(stamp, 60_000)
    watch.look()
    set({ history: newer })
    watch.look()
    expect(await first).toMatchObject({ epoch: { number: 4 } })
    set({})
    const second = watch.next(stamp, 60_000)
    set({ history: newer })
    await clock.advance(250)
    expect(await second).toMatchObject({ epoch: { number: 4 } })
    expect(clock.pending).toBe(0)
  })

  test('ends when nobody leads any more, with its time, by its signal and with the node', async () => {
    const { clock, watch, set } = watched()
    const leaderless = watch.next(stamp, 60_000)
    set({ leaderAddress: undefined })
    watch.look()
    expect(await leaderless).not.toHaveProperty('leader')
    set({})
    const late = watch.next(stamp, 600)
    await clock.advance(600)
    expect(await late).toMatchObject({ epoch: stamp })
    const abort = new AbortController()
    const aborted = watch.next(stamp, 60_000, abort.signal)
    abort.abort()
    await aborted
    const closed = watch.next(stamp, 60_000)
    watch.close()
    await closed
    await watch.next(stamp, 60_000)
    expect(clock.pending).toBe(0)
  })
})

describe('over a connection', () => {
  const statement = { sql: 'select count(*) as n from note', parameters: [] }

  test('any node is asked, and closes at once while somebody waits', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader()
    const follower = await cluster.start('b', 'follower')
    const epoch = leader.leadership().epoch!
    const ask = await clientOf(cluster, 'b')
    expect(await ask({ kind: 'whoLeads', waitMs: 0 })).toMatchObject({
      node: 'b',
      role: 'follower',
      takesWrites: false,
      epoch,
      leader: { name: 'a', address: 'memory://a' },
    })
    const waiting = ask({ kind: 'whoLeads', unlessEpoch: epoch, waitMs: 60_000 })
    // It is there before the node closes.
    await (
      await clientOf(cluster, 'b')
    )({ kind: 'status' })
    await follower.close()
    expect(await waiting).toMatchObject({ node: 'b', takesWrites: false })
  })

  test('a read says which record it saw; one that allows no age is refused by a follower alone', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(3)
    const follower = await cluster.start('b', 'follower')
    await follower.read(() => 0, { after: leader.applied })
    const [onLeader, onFollower] = [await clientOf(cluster, 'a'), await clientOf(cluster, 'b')]
    const { runId } = leader.leadership().epoch!
    const { epoch, lsn, crc } = leader.applied
    const shown = { position: { epoch, lsn }, proof: { crc, runId } }
    expect(await onFollower({ kind: 'read', statement, timeoutMs: 1000 })).toMatchObject(shown)
    const fresh = { kind: 'read', statement, stalenessMsMax: 1, timeoutMs: 1000 } as const
    expect(await onLeader(fresh)).toMatchObject(shown)
    await leader.close()
    await cluster.events['b']?.until('state', ({ state }) => state === 'disconnected')
    expect(await onFollower({ ...fresh, stalenessMsMax: 86_400_000 })).toMatchObject({ code: 'TOO_STALE' })
    // Who says nothing of age is answered.
    expect(await onFollower({ kind: 'read', statement, timeoutMs: 1000 })).toMatchObject(shown)
  })

  test('a position of an epoch after its own is not lost on a leader, which may be a former one', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(3)
    const { epoch, lsn } = leader.applied
    await expect(leader.read(() => 0, { after: { epoch: epoch + 1, lsn: 1 } })).rejects.toMatchObject({
      code: 'EPOCH_STALE',
    })
    await expect(leader.read(() => 0, { after: { epoch, lsn: lsn + 1 } })).rejects.toMatchObject({
      code: 'POSITION_LOST',
    })
  })
})
