/** Which node is next, by what is known of the nodes: no connection, no time but the numbers given. */
import type { Leadership, MemberAddress } from '@understudy/protocol'
import { describe, expect, test } from 'vitest'
import { Routes } from '../src/routing.ts'

const [A, B, C] = ['tcp://a:1', 'tcp://b:1', 'tcp://c:1'] as const
const RUN = '00000000000000aa'
const NONE: ReadonlySet<string> = new Set()

function routes(addresses: readonly string[] = [A, B, C], draw: number = 2 ** 31): Routes {
  const serves = (address: string): boolean => /^(tcp|tls|ws|wss):/.test(address)
  return new Routes({ addresses, serves, random: { uint32: () => draw } })
}

function said(node: string, epoch: number, more: Partial<Leadership> = {}): Leadership {
  return {
    node,
    cluster: 'c',
    role: more.takesWrites === true ? 'leader' : 'follower',
    takesWrites: false,
    forwardsWrites: false,
    epoch: { number: epoch, runId: RUN },
    applied: { epoch, lsn: 1, crc: 1 },
    members: [],
    ...more,
  }
}

const leads = (node: string, epoch: number): Leadership => said(node, epoch, { takesWrites: true })
const follows = (node: string, epoch: number, leader: MemberAddress): Leadership =>
  said(node, epoch, { leader })

describe('who leads', () => {
  test('is nobody before anybody spoke', () => {
    const state = routes()
    expect(state.leader).toBeUndefined()
    expect(state.forWrite(0, NONE)).toBeUndefined()
    expect(state.toAsk(0)).toEqual([A, B, C])
  })

  test('is whoever says so itself, and a change of it is news', () => {
    const state = routes()
    expect(state.learn(A, leads('a', 3))).toBe(true)
    expect(state.learn(A, leads('a', 3))).toBe(false)
    expect(state.learn(B, follows('b', 3, { name: 'a', address: A }))).toBe(false)
    expect([state.leader, state.forWrite(0, NONE)]).toEqual([A, A])
    expect(state.nameOf(A)).toBe('a')
    expect(state.epochOf(B)).toEqual({ number: 3, runId: RUN })
  })

  test('of two is the one of the higher epoch, in whatever order they are heard', () => {
    const state = routes()
    state.learn(B, leads('b', 4))
    expect(state.learn(A, leads('a', 3))).toBe(false)
    expect(state.leader).toBe(B)
  })

  test('is not one that is behind what any node has heard of', () => {
    const state = routes()
    state.learn(A, leads('a', 3))
    expect(state.learn(C, said('c', 4))).toBe(true)
    expect(state.leader).toBeUndefined()
    expect(state.forWrite(0, NONE)).toBeUndefined()
    state.learn(B, leads('b', 4))
    expect(state.leader).toBe(B)
  })

  test('is hinted at by followers, newest first, and never by one of a lower epoch', () => {
    const state = routes()
    state.learn(B, follows('b', 4, { name: 'c', address: C }))
    state.learn(A, follows('a', 3, { name: 'b', address: B }))
    expect([state.leader, state.forWrite(0, NONE)]).toEqual([undefined, C])
    expect(state.forWrite(0, new Set([C]))).toBeUndefined()
  })

  test('is not who answers NOT_LEADER, until it says again that it leads', () => {
    const state = routes()
    state.learn(A, leads('a', 3))
    state.notLeader(A, B)
    expect([state.leader, state.forWrite(0, NONE)]).toEqual([undefined, B])
    state.learn(A, leads('a', 5))
    expect(state.leader).toBe(A)
  })

  test('is a node that forwards, where the leader is out of reach', () => {
    const state = routes()
    state.learn(B, said('b', 3, { forwardsWrites: true }))
    expect(state.forForwarding(0, NONE)).toBe(B)
    expect(state.forForwarding(0, new Set([B]))).toBeUndefined()
  })
})

describe('addresses that nodes name', () => {
  test('are added, and found by the name that the caller reaches under another one', () => {
    const state = routes([A, B])
    state.connected(A, 'a')
    state.learn(B, follows('b', 3, { name: 'a', address: 'tcp://10.0.0.1:1' }))
    expect(state.forWrite(0, NONE)).toBe(A)
    const members = [
      { name: 'a', address: 'tcp://10.0.0.1:1' },
      { name: 'c', address: C },
    ]
    state.learn(B, said('b', 3, { members }))
    expect(state.addresses).toEqual([A, B, C])
  })

  test('are not followed when no transport serves them, when they say nothing, or when they are less protected', () => {
    const state = routes(['wss://a/', A])
    const members = ['ftp://x', '', 'tcp://y:1', 'tls://z:1'].map((address, n) => ({
      name: `n${n}`,
      address,
    }))
    state.learn('wss://a/', said('a', 3, { members, leader: { name: 'y', address: 'tcp://y:1' } }))
    expect(state.addresses).toEqual(['wss://a/', A, 'tls://z:1'])
    expect(state.refused).toEqual(['tcp://y:1'])
    expect(state.forWrite(0, NONE)).toBeUndefined()
    state.notLeader('wss://a/', 'ws://y/')
    expect(state.forWrite(0, NONE)).toBeUndefined()
    // The caller's own list is the caller's own decision.
    state.notLeader('wss://a/', A)
    expect(state.forWrite(0, NONE)).toBe(A)
  })

  test('are at most so many', () => {
    const state = routes([A])
    const members = Array.from({ length: 200 }, (_, n) => ({ name: `n${n}`, address: `tcp://n${n}:1` }))
    state.learn(A, said('a', 1, { members }))
    state.learn(
      A,
      said('a', 1, {
        members: members.map(({ name }) => ({ name: `x${name}`, address: `tcp://x${name}:1` })),
      }),
    )
    expect(state.addresses).toHaveLength(256)
  })
})

describe('a node that failed', () => {
  test('is left alone for a pause that doubles up to a second, of which a half is left to chance', () => {
    const pauses = (draw: number): number[] => {
      const state = routes([A], draw)
      return Array.from({ length: 7 }, () => {
        state.failed(A, 1000)
        let ms = 1
        while (state.toAsk(1000 + ms).length === 0) ms++
        return ms
      })
    }
    expect(pauses(0)).toEqual([25, 50, 100, 200, 400, 500, 500])
    expect(pauses(2 ** 32 - 1)).toEqual([50, 100, 200, 400, 800, 1000, 1000])
  })

  test('leads no more, is hinted at no more, and is asked again in its time', () => {
    const state = routes()
    state.learn(A, leads('a', 3))
    state.learn(B, follows('b', 3, { name: 'a', address: A }))
    state.failed(A, 100)
    expect(state.leader).toBeUndefined()
    expect(state.forWrite(100, NONE)).toBeUndefined()
    expect(state.toAsk(100)).toEqual([B, C])
    expect(state.pauseMs(100, 9)).toBeCloseTo(37.5)
    expect(state.pauseMs(99_999, 1)).toBeCloseTo(37.5)
    expect(state.toAsk(200)).toEqual([A, B, C])
    // What it followed is not forgotten: another follower names it, and it is back.
    state.learn(B, follows('b', 3, { name: 'a', address: A }))
    expect(state.forWrite(200, NONE)).toBe(A)
    state.connected(A, 'a')
    state.failed(A, 300)
    expect(state.toAsk(338)).toEqual([A, B, C])
  })
})

describe('the order of a read', () => {
  const informed = (): Routes => {
    const state = routes()
    state.learn(A, leads('a', 3))
    state.learn(B, said('b', 3))
    state.learn(C, said('c', 3))
    return state
  }

  test('begins with the leader, with followers, or with each in turn', () => {
    const state = informed()
    expect(state.forRead('leader', 0)[0]).toBe(A)
    expect(state.forRead('follower', 0).at(-1)).toBe(A)
    const firsts = [0, 1, 2].map(() => state.forRead('any', 0)[0])
    expect(new Set(firsts)).toEqual(new Set([A, B, C]))
    const followers = [0, 1, 2, 3, 4, 5].map(() => state.forRead('follower', 0)[0])
    expect(new Set(followers)).toEqual(new Set([B, C]))
  })

  test('begins where the leader is said to be, while nobody says so itself', () => {
    const state = routes()
    state.learn(A, follows('a', 3, { name: 'c', address: C }))
    expect(state.forRead('leader', 0)[0]).toBe(C)
    expect(state.forRead('follower', 0).at(-1)).toBe(C)
  })

  test('is by measured distance, which follows what it becomes', () => {
    const state = informed()
    state.measured(B, 20)
    state.measured(C, 5)
    expect(state.forRead('nearest', 0)).toEqual([C, B, A])
    for (let n = 0; n < 10; n++) state.measured(C, 100)
    state.measured(A, 10)
    expect(state.forRead('nearest', 0)).toEqual([A, B, C])
    // One outlier does not change it.
    state.measured(A, 25)
    expect(state.forRead('nearest', 0)[0]).toBe(A)
  })

  test('has nodes that failed at its end, and never leaves one out', () => {
    const state = informed()
    state.measured(C, 1)
    state.failed(C, 0)
    expect(state.forRead('nearest', 10).at(-1)).toBe(C)
    expect(state.forRead('nearest', 5000)[0]).toBe(C)
    for (const address of [A, B]) state.failed(address, 0)
    expect(new Set(state.forRead('any', 1))).toEqual(new Set([A, B, C]))
  })
})
