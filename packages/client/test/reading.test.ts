/** Where reads go, what they wait for, and what a session sees of several nodes. */
import { UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { FakeCluster, insert } from './fake-cluster.ts'

const never = <T>(): Promise<T> => new Promise<T>(() => {})
const ALL = ['a', 'b', 'c'] as const

describe('preference', () => {
  test('the nearest is the one with the shortest way, as measured now', async () => {
    const world = await FakeCluster.of(ALL)
    const far = (name: string, ms: number): void => {
      world.network.setLatency('client', name, ms)
      world.network.setLatency(name, 'client', ms)
    }
    far('a', 20)
    far('b', 5)
    far('c', 60)
    const client = await world.client(ALL, { prefer: 'nearest' })
    await world.run(client.read('n'))
    await world.clock.advance(200)
    expect((await world.run(client.read('n'))).value?.node).toBe('b')
    far('b', 100)
    far('c', 1)
    for (let n = 0; n < 12; n++) {
      await world.clock.advance(6000)
      await world.run(client.read('n'))
    }
    expect((await world.run(client.read('n'))).value?.node).toBe('c')
  })

  test('the leader, and each in turn', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    for (let n = 0; n < 4; n++) expect((await world.run(client.read('n'))).value?.node).toBe('a')
    const seen = new Set<string | undefined>()
    for (let n = 0; n < 4; n++)
      seen.add((await world.run(client.read('n', [], { prefer: 'follower' }))).value?.node)
    expect(seen).toEqual(new Set(['b', 'c']))
  })

  test.each(['best', undefined])('prefer: %s is none, or the default', async (prefer) => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    const read = client.read('n', [], { prefer: prefer as 'any' })
    if (prefer === undefined) expect((await world.run(read)).value?.node).toBe('a')
    else await expect(read).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('a node runs what belongs to one connection, once', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(['c'])
    const work = client.withNode('leader', async (node) => [node.node, (await node.status())['node']])
    // Its leader is learnt, and connected.
    expect((await world.run(work)).value).toEqual(['a', 'a'])
    const failing = client.withNode('follower', () =>
      Promise.reject(new UnderstudyError('CONNECTION_LOST', 'mine')),
    )
    expect((await world.run(failing)).error?.message).toBe('mine')
  })
})

describe('a node that does not answer', () => {
  test('is not waited for alone; its answer is not wanted any more', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL, { hedgeAfterMs: 300 })
    await world.run(client.read('n'))
    let isAborted = false
    world.node('a').onRead = ({ signal }) => {
      signal.addEventListener('abort', () => (isAborted = true))
      return never()
    }
    const { value, ms } = await world.run(client.read('n'))
    expect(value?.node).not.toBe('a')
    expect(ms).toBeGreaterThanOrEqual(300)
    expect(ms).toBeLessThan(310)
    expect(isAborted).toBe(false)
    expect(
      ['b', 'c'].flatMap((name) => world.node(name).asked.filter((kind) => kind === 'read')),
    ).toHaveLength(1)
  })

  test('in time and was replaced meanwhile may still say what it did about who leads', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('x')))
    world.node('a').onStatus = async () => {
      world.promote('b', ['c'])
      await new Promise<void>((resolve) => void world.clock.schedule(20, resolve))
    }
    expect((await world.run(client.status())).value).toEqual({ node: 'a' })
    expect(client.node).toBe('b')
  })

  test('or is gone, makes way for another at once', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.read('n'))
    world.network.crash('a')
    const { value, ms } = await world.run(client.read('n'))
    expect(value?.node).not.toBe('a')
    expect(ms).toBeLessThan(20)
  })

  test('until it was replaced shows what is old: its answer is not used', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('x')))
    world.replicate('a', 'b', 'c')
    let isAnswered = false
    world.node('a').onRead = async () => {
      world.promote('b', ['c'])
      world.node('b').append('y', {})
      await new Promise<void>((resolve) => void world.clock.schedule(50, resolve))
      isAnswered = true
    }
    const { value } = await world.run(client.read('n', [], { prefer: 'leader' }))
    expect([isAnswered, value?.node, value?.rows]).toEqual([true, 'b', [[2]]])
  })

  test('and nobody else does: the read ends in time and says why', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    for (const name of ALL) world.network.crash(name)
    const { error, ms } = await world.run(client.read('n', [], { timeoutMs: 2000 }))
    expect(error).toMatchObject({
      code: 'CONNECT_FAILED',
      details: { attempts: { 'sim://b': 'CONNECT_FAILED' } },
    })
    expect(ms).toBeLessThanOrEqual(2000)
  })

  test('a read that waits for all of them is answered by the first that comes back', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    for (const name of ALL) world.network.crash(name)
    world.clock.schedule(5000, () => void world.node('c').listen())
    const { value, ms } = await world.run(client.read('n'))
    expect(value?.node).toBe('c')
    expect(ms).toBeLessThan(6100)
  })
})

describe('how old a read may be', () => {
  test('is proven by the node, or another one is asked', async () => {
    const world = await FakeCluster.of(ALL)
    world.node('b').stalenessMs = 40
    const client = await world.client(ALL, { prefer: 'follower' })
    const nodes = async (maxStalenessMs: number): Promise<Set<string | undefined>> => {
      const seen = new Set<string | undefined>()
      for (let n = 0; n < 4; n++)
        seen.add((await world.run(client.read('n', [], { maxStalenessMs }))).value?.node)
      return seen
    }
    expect(await nodes(50)).toEqual(new Set(['b']))
    expect(await nodes(30)).toEqual(new Set(['a']))
    for (const maxStalenessMs of [0, 1.5, -1])
      await expect(client.read('n', [], { maxStalenessMs })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
  })

  test('that nobody can prove ends as TOO_STALE, also when the leader is gone', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL, { prefer: 'follower', timeoutMs: 1000 })
    world.network.crash('a')
    const { error } = await world.run(client.read('n', [], { maxStalenessMs: 50 }))
    expect(error).toMatchObject({ code: 'TOO_STALE' })
  })
})

describe('a session', () => {
  test('waits for a follower that is behind, or asks the leader instead', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL, { prefer: 'follower', hedgeAfterMs: 200 })
    await world.run(client.write(insert('x')))
    const first = await world.run(client.read('n'))
    expect(first.value).toMatchObject({ node: 'a', rows: [[1]] })
    world.replicate('a', 'b', 'c')
    expect((await world.run(client.read('n'))).value).toMatchObject({
      rows: [[1]],
      node: expect.stringMatching(/[bc]/) as string,
    })
  })

  test('never goes back in time, and another client goes on from its token', async () => {
    const world = await FakeCluster.of(ALL)
    const writer = await world.client(ALL, { session: false })
    const reader = await world.client(ALL)
    for (let n = 1; n <= 3; n++) await world.run(writer.write(insert(`${n}`)))
    expect((await world.run(reader.read('n'))).value?.rows).toEqual([[3]])
    // Followers have nothing yet.
    for (const prefer of ['follower', 'any', 'nearest'] as const)
      expect((await world.run(reader.read('n', [], { prefer }))).value?.rows).toEqual([[3]])
    const next = await world.client(ALL, { prefer: 'follower', token: reader.token! })
    expect(next.token).toBe(reader.token)
    expect((await world.run(next.read('n'))).value?.rows).toEqual([[3]])
    const free = await world.client(ALL, { prefer: 'follower', session: false })
    expect((await world.run(free.read('n'))).value?.rows).toEqual([[0]])
    expect((await world.run(free.read('n', [], { after: reader.token! }))).value?.rows).toEqual([[3]])
  })

  test('is told of what was lost at once, by every node, until it accepts that', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('kept')))
    world.replicate('a', 'b', 'c')
    const { value: lost } = await world.run(client.write(insert('lost')))
    world.network.crash('a')
    world.promote('b', ['c'])
    const other = await world.client(['b', 'c'], { token: lost!.token! })
    for (const prefer of ['leader', 'follower'] as const) {
      const { error, ms } = await world.run(other.read('n', [], { prefer }))
      expect(error).toMatchObject({ code: 'POSITION_LOST', position: { epoch: 1, lsn: 2 } })
      expect(ms).toBeLessThan(20)
    }
    // What the session writes then does not hide it, although the new history goes beyond.
    for (let n = 0; n < 3; n++) await world.run(client.write(insert(`${n}`)))
    world.replicate('b', 'c')
    for (const prefer of ['leader', 'follower'] as const)
      expect((await world.run(client.read('n', [], { prefer }))).error).toMatchObject({
        code: 'POSITION_LOST',
        position: { epoch: 1, lsn: 2 },
      })
    client.resetToken()
    expect((await world.run(client.read('n'))).value?.rows).toEqual([[4]])
  })

  test('goes on over a failover that lost nothing, and asks no node twice about it', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    await world.run(client.write(insert('one')))
    world.replicate('a', 'b', 'c')
    world.network.crash('a')
    world.promote('b', ['c'])
    await world.run(client.write(insert('two')))
    for (let n = 0; n < 3; n++)
      expect((await world.run(client.read('n'))).value).toMatchObject({ node: 'b', rows: [[2]] })
    expect(world.node('b').asked.filter((kind) => kind === 'verdict')).toHaveLength(1)
  })

  test('of another cluster, and what is no token, is refused before anything is sent', async () => {
    const world = await FakeCluster.of(ALL)
    const client = await world.client(ALL)
    const foreign = 'u1.00000000000000ff.1.1.00000001.00000000000000aa'
    await expect(client.read('n', [], { after: foreign })).rejects.toMatchObject({ code: 'FOREIGN_CLUSTER' })
    await expect(client.read('n', [], { after: 'x' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => client.resetToken(foreign)).toThrow(expect.objectContaining({ code: 'FOREIGN_CLUSTER' }))
    const connecting = world.run(world.connecting(ALL, { token: foreign }))
    expect((await connecting).error).toMatchObject({ code: 'FOREIGN_CLUSTER' })
  })
})

describe('connecting', () => {
  test('takes the first node that answers, and learns the others when it needs them', async () => {
    const world = await FakeCluster.of(ALL)
    world.network.crash('a', { of: 'machine' })
    const { value: client, ms } = await world.run(world.connecting(ALL))
    expect(ms).toBeLessThan(300)
    expect(client?.node).toBe('b')
    expect(world.network.connectionCount).toBeLessThanOrEqual(2)
    await world.run(client!.close())
  })

  test('to nobody fails with what each said', async () => {
    const world = await FakeCluster.of(ALL)
    for (const name of ALL) world.network.crash(name)
    const { error } = await world.run(world.connecting(ALL))
    expect(error).toMatchObject({
      code: 'CONNECT_FAILED',
      details: { attempts: { 'sim://a': 'CONNECT_FAILED' } },
    })
    expect(world.clock.pending).toBe(0)
  })

  test('leaves out a node of another cluster', async () => {
    const world = await FakeCluster.of(['a', 'b'])
    const wanted = { cluster: '00000000000000ff' }
    expect((await world.run(world.connecting(['a', 'b'], wanted))).error).toMatchObject({
      code: 'FOREIGN_CLUSTER',
    })
    world.node('b').cluster = wanted.cluster
    const { value: client } = await world.run(world.connecting(['a', 'b'], wanted))
    expect([client?.node, client?.cluster]).toEqual(['b', wanted.cluster])
    await world.run(client!.close())
    // Without a wish the first one decides.
    const either = await world.client(['a', 'b'], { prefer: 'follower' })
    expect(either.cluster).toBe(world.cluster)
    expect((await world.run(either.read('n'))).value?.node).toBe('a')
  })

  test.each([
    { hedgeAfterMs: 0 },
    { timeoutMs: 1.5 },
    { prefer: 'x' as 'any' },
    { maxStalenessMs: 0 },
    { token: 'x' },
  ])('%j is refused', async (options) => {
    const world = await FakeCluster.of(ALL)
    await expect(world.connecting(ALL, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(world.connecting([])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(world.connecting(['a', 'a'])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
