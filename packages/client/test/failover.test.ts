/** What a client does when nodes go, are silent, or lead on though they were replaced. */
import { UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { FakeCluster, insert, type FakeNode } from './fake-cluster.ts'

const never = <T>(): Promise<T> => new Promise<T>(() => {})
const ALL = ['a', 'b', 'c'] as const

function bodies({ entries }: FakeNode): string[] {
  return entries.map(({ body }) => body)
}

/** The leader appends, its followers have it, and then the leader is gone before it answers. */
function dieAfterAppend(
  world: FakeCluster,
  { isReplicated = true, of = 'process' }: { isReplicated?: boolean; of?: 'process' | 'machine' } = {},
): void {
  const a = world.node('a')
  a.onWrite = (body, asks) => {
    a.append(body, asks)
    if (isReplicated) world.replicate('a', 'b', 'c')
    world.network.crash('a', { of })
    world.clock.schedule(400, () => world.promote('b', ['c']))
    return never()
  }
}

describe('a write whose leader dies before it answers', () => {
  test.each([true, false])(
    'is in the next history once, whether the next leader had it (%s) or not',
    async (isReplicated) => {
      const world = await FakeCluster.of(ALL)
      const client = await world.client(ALL)
      dieAfterAppend(world, { isReplicated })
      const { value, ms } = await world.run(client.write(insert('x')))
      expect(value).toMatchObject({
        node: 'b',
        replayed: isReplicated,
        receipt: { position: { epoch: isReplicated ? 1 : 2 } },
      })
      expect(bodies(world.node('b'))).toEqual(['x'])
      // It heard of the promotion, and did not look for it.
      expect(ms).toBeLessThan(450)
      expect([client.node, client.address]).toEqual(['b', 'sim://b'])
    },
  )

  test('is given up as soon as another node is promoted, when the leader is silent', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    dieAfterAppend(world, { of: 'machine' })
    const { value, ms } = await world.run(client.write(insert('x')))
    expect(value).toMatchObject({ node: 'b', replayed: true })
    expect(ms).toBeLessThan(450)
  })

  test('is found by asking all nodes, by a client that was connected to that leader alone', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    expect((await world.run(client.write(insert('first')))).value?.node).toBe('a')
    for (const name of ['b', 'c']) world.network.reset('client', name)
    dieAfterAppend(world, { of: 'machine' })
    const { value, ms } = await world.run(client.write(insert('x')))
    expect(value?.node).toBe('b')
    // The leader is suspected after a second without an answer.
    expect(ms).toBeLessThan(1100)
  })

  test('without a key is OUTCOME_UNKNOWN and never sent twice', async () => {
    for (const options of [{ key: false }, { retry: false }] as const) {
      const world = await FakeCluster.of(ALL)
      const client = await world.client(ALL)
      dieAfterAppend(world)
      const { error } = await world.run(client.write(insert('x'), options))
      expect(error).toMatchObject({
        code: 'OUTCOME_UNKNOWN',
        details: { attempts: { 'sim://a': 'OUTCOME_UNKNOWN' } },
      })
      await world.clock.advance(5000)
      expect(world.node('b').asked.filter((kind) => kind.startsWith('write'))).toEqual([])
    }
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL, { keys: false })
    dieAfterAppend(world)
    expect((await world.run(client.write(insert('x')))).error).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  test('is OUTCOME_UNKNOWN at the end of its time, when nobody takes its place', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    const a = world.node('a')
    a.onWrite = () => (world.network.crash('a'), never())
    const { error, ms } = await world.run(client.write(insert('x'), { timeoutMs: 3000 }))
    expect(error).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('send it again with the same key') as string,
    })
    expect(ms).toBeLessThanOrEqual(3000)
  })
})

describe('without a leader', () => {
  test('writes wait, and go on within a round trip of the promotion', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    world.replicate('a', 'b', 'c')
    world.network.crash('a')
    const writes = [1, 2, 3].map((n) => client.write(insert(`${n}`)))
    world.clock.schedule(7000, () => world.promote('b', ['c']))
    const { value, ms } = await world.run(Promise.all(writes))
    expect(value?.map(({ node }) => node)).toEqual(['b', 'b', 'b'])
    expect(ms).toBeGreaterThanOrEqual(7000)
    expect(ms).toBeLessThan(7010)
    expect(bodies(world.node('b')).toSorted()).toEqual(['1', '2', '3', 'first'])
  })

  test('they end in time with what happened at each node, and that nothing was written', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    world.network.crash('a')
    const { error, ms } = await world.run(client.write(insert('x'), { timeoutMs: 2000 }))
    expect(error).toMatchObject({
      code: 'NOT_WRITTEN',
      details: { attempts: { 'sim://a': 'CONNECT_FAILED' } },
    })
    expect(error?.message).toMatch(/No leader took the write within 2000 ms.*Nothing was written/)
    expect(ms).toBeLessThanOrEqual(2000)
    expect(ms).toBeGreaterThan(1700)
    // What waits does not ask without end.
    expect(world.node('b').asked.length).toBeLessThan(20)
  })

  test('nodes that name each other do not send a client round and round', async () => {
    const world = await FakeCluster.of(ALL)
    for (const [name, leader] of [
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'a'],
    ] as const) {
      world.node(name).isLeader = false
      world.node(name).leader = leader
    }
    const client = await world.client(ALL)
    const { error } = await world.run(client.write(insert('x'), { timeoutMs: 3000 }))
    expect(error?.code).toBe('NOT_WRITTEN')
    const writes = [...world.nodes.values()].flatMap(({ asked }) =>
      asked.filter((kind) => kind.startsWith('write')),
    )
    expect(writes.length).toBeGreaterThan(2)
    expect(writes.length).toBeLessThan(60)
  })

  test('a follower that sends writes on is asked when the leader cannot be reached from here', async () => {
    const world = await FakeCluster.of(ALL)
    const b = world.node('b')
    b.forwards = true
    b.onWrite = (body, asks) => world.node('a').append(body, asks)
    world.network.partition(['client'], ['a'])
    const client = await world.client(['b'])
    const { value } = await world.run(client.write(insert('x')))
    expect(value).toMatchObject({ node: 'b', receipt: { position: { epoch: 1, lsn: 1 } } })
  })
})

describe('a node that refuses', () => {
  test('for now is asked again, for good is believed', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    const a = world.node('a')
    const refusals: (UnderstudyError['code'] | undefined)[] = [
      'NOT_WRITTEN',
      'OVERLOADED',
      'LOG_FAILED',
      undefined,
    ]
    a.onWrite = (body, asks) => {
      const code = refusals.shift()
      if (code === undefined) return a.append(body, asks)
      throw new UnderstudyError(code, 'Not now.')
    }
    expect((await world.run(client.write(insert('x')))).value?.node).toBe('a')
    const keys = new Set(a.asked.filter((kind) => kind.startsWith('write')))
    expect(keys.size).toBe(1)
    for (const code of ['SQL_FAILED', 'EXPECTATION_FAILED', 'FORBIDDEN', 'WRITTEN_NOT_ACKED'] as const) {
      const before = a.asked.length
      a.onWrite = () => {
        throw new UnderstudyError(code, 'For good.')
      }
      expect((await world.run(client.write(insert('y')))).error).toMatchObject({
        code,
        details: { fromPeer: true },
      })
      expect(a.asked.slice(before).filter((kind) => kind.startsWith('write'))).toHaveLength(1)
    }
    a.onWrite = () => {
      throw new UnderstudyError('NOT_WRITTEN', 'Not now.')
    }
    expect((await world.run(client.write(insert('z'), { retry: false }))).error).toMatchObject({
      code: 'NOT_WRITTEN',
    })
    a.onWrite = () => {
      throw new UnderstudyError('LOG_FAILED', 'In trouble.')
    }
    expect((await world.run(client.write(insert('z'), { key: false }))).error).toMatchObject({
      code: 'LOG_FAILED',
    })
  })

  test('a command is given to the next leader when the old one refused, and never twice when it did not answer', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(['b', 'a', 'c'])
    expect((await world.run(client.mark())).value).toEqual({ epoch: 0, lsn: 0 })
    world.promote('b')
    expect((await world.run(client.mark())).value).toBeDefined()
    expect(world.node('b').asked.filter((kind) => kind === 'mark')).toHaveLength(1)
  })

  test('WRITTEN_NOT_ACKED of a leader that was replaced is sent to the next one under its key', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    const a = world.node('a')
    a.onWrite = (body, asks) => {
      a.append(body, asks)
      world.replicate('a', 'b', 'c')
      world.promote('b', ['c'])
      a.isLeader = false
      throw new UnderstudyError('WRITTEN_NOT_ACKED', 'Stopped.', {
        position: { epoch: 1, lsn: 2 },
        crc: 1002,
      })
    }
    const { value } = await world.run(client.write(insert('x')))
    expect(value).toMatchObject({ node: 'b', replayed: true, receipt: { position: { epoch: 1, lsn: 2 } } })
  })
})

describe('a leader that was replaced', () => {
  test('and answers all the same is not believed: the write is done again where it counts', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    world.replicate('a', 'b', 'c')
    const a = world.node('a')
    // Its answer is on its way when the next one is promoted, and everybody else tells so first.
    a.onWrite = async (body, asks) => {
      const answer = a.append(body, asks)
      world.promote('b', ['c'])
      await new Promise<void>((resolve) => void world.clock.schedule(50, resolve))
      return answer
    }
    const { value } = await world.run(client.write(insert('x')))
    expect(value).toMatchObject({ node: 'b', replayed: false, receipt: { position: { epoch: 2 } } })
    expect(bodies(world.node('b'))).toEqual(['first', 'x'])
  })

  test('and whose answer comes without a key leaves its outcome unknown', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    const a = world.node('a')
    a.onWrite = async (body, asks) => {
      const answer = a.append(body, asks)
      world.promote('b', ['c'])
      await new Promise<void>((resolve) => void world.clock.schedule(50, resolve))
      return answer
    }
    expect((await world.run(client.write(insert('x'), { key: false }))).error).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    })
  })

  test('is neither written to nor read from once the client has heard of the next one', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    world.replicate('a', 'b', 'c')
    // It leads on, for those who do not know.
    world.promote('b', ['c'])
    await world.clock.advance(10)
    const before = world.node('a').asked.length
    for (let n = 0; n < 6; n++) {
      expect((await world.run(client.write(insert(`${n}`)))).value?.node).toBe('b')
      expect((await world.run(client.read('n', [], { prefer: 'any' }))).value?.node).not.toBe('a')
      world.replicate('b', 'c')
    }
    expect(
      world
        .node('a')
        .asked.slice(before)
        .filter((kind) => kind !== 'whoLeads'),
    ).toEqual([])
  })
})

describe('closing and giving up', () => {
  test('a closed client keeps no timer and no connection; what was sent is unknown, the rest is CLOSED', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('first')))
    world.node('a').onWrite = () => never()
    const write = client.write(insert('x')).catch((error: unknown) => error)
    const unsent = (await world.client(['c']))
      .write(insert('y'), { timeoutMs: 500 })
      .catch((error: unknown) => error)
    await world.clock.advance(5)
    const closed = world.run(client.close())
    expect(await write).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    await closed
    await expect(client.read('n')).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(client.write(insert('z'))).rejects.toMatchObject({ code: 'CLOSED' })
    expect((await world.run(unsent)).value).toBeDefined()
  })

  test('nothing is left of it', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('x')))
    await world.run(client.read('n', [], { prefer: 'nearest' }))
    expect(world.network.connectionCount).toBe(3)
    await world.run(client.close())
    await world.clock.advance(10)
    expect([world.network.connectionCount, world.clock.pending]).toEqual([0, 0])
  })

  test('a caller that gives up is told whether the write may be done', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    world.node('a').onWrite = () => never()
    const abort = new AbortController()
    const sent = client.write(insert('x'), { signal: abort.signal }).catch((error: unknown) => error)
    await world.clock.advance(20)
    abort.abort()
    expect(await sent).toMatchObject({
      code: 'ABORTED',
      message: expect.stringContaining('may be done') as string,
    })
    await expect(client.write(insert('y'), { signal: abort.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    world.network.crash('a')
    await world.clock.advance(5)
    const waiting = new AbortController()
    const unsent = client.write(insert('z'), { signal: waiting.signal }).catch((error: unknown) => error)
    await world.clock.advance(500)
    waiting.abort()
    expect(await unsent).toMatchObject({
      code: 'ABORTED',
      message: expect.stringContaining('Nothing was done') as string,
    })
  })
})
