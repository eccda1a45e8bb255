/** Writes with a key: done once, however often they are sent. */
import { UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { type WriteOptions, type WriteResult } from '../src/index.ts'
import { POLICY, says } from './support/acked.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'
import { World, emptyDisk, type Disk, type TestLeader } from './support/world.ts'

type Of = Pick<TestPipeline, 'pipeline'>
type Answer = WriteResult<unknown>

/** Adds one to a counter under a key: whoever does it twice is seen. */
function add({ pipeline }: Of, key: string, options: WriteOptions = {}): Promise<Answer> {
  return pipeline.write(
    (tx) => {
      const count = String(Number(tx.get('count') ?? 0) + 1)
      tx.set('count', count)
      return { count }
    },
    { key, ...options },
  )
}

const plain = (receipt: object): unknown => JSON.parse(JSON.stringify(receipt))
const countOf = ({ storage }: Pick<TestPipeline, 'storage'>): string | undefined => storage.get('count')

describe('a retry', () => {
  test('is answered with the first receipt and value, and writes nothing', async () => {
    const made = testPipeline()
    const first = await made.clock.complete(add(made, 'k'))
    await made.clock.complete(made.set('other', '1'))
    const end = made.log.end.lsn
    const again = await made.clock.complete(add(made, 'k'))
    expect(plain(again.receipt)).toEqual(plain(first.receipt))
    expect(again).toMatchObject({ value: { count: '1' }, replayed: true, valueKept: true })
    expect(first).not.toHaveProperty('replayed')
    expect([countOf(made), made.log.end.lsn]).toEqual(['1', end])
  })

  test('in the same group gets the first one’s place; each of many keys gets its own', async () => {
    const made = testPipeline()
    const answers = await made.clock.complete(
      Promise.all([add(made, 'a'), made.set('x', '1'), add(made, 'b'), add(made, 'a'), add(made, 'b')]),
    )
    expect(made.log.counts.append).toBe(1)
    const places = answers.map((answer) => ('receipt' in answer ? answer.receipt.index : undefined))
    expect(places).toEqual([0, undefined, 2, 0, 2])
    expect(countOf(made)).toBe('2')
    // The next group notes the record of the one before, and both stay known.
    await made.clock.complete(made.set('y', '1'))
    await made.clock.complete(made.set('z', '1'))
    for (const key of ['a', 'b']) {
      const { receipt } = await made.clock.complete(add(made, key))
      expect(receipt.position).toEqual({ epoch: 1, lsn: 2 })
    }
  })

  test('while the first one is being synced waits for it', async () => {
    const made = testPipeline()
    const first = add(made, 'k')
    await made.clock.step()
    const again = add(made, 'k')
    const [one, two] = await made.clock.complete(Promise.all([first, again]))
    expect(two.receipt.position).toEqual(one.receipt.position)
    expect(countOf(made)).toBe('1')
  })

  test('of a write that threw runs, and of one that comes after it in its group, too', async () => {
    const made = testPipeline()
    const fails = (): Promise<Answer> =>
      made.pipeline.write(
        (tx) => {
          tx.set('never', '1')
          throw new Error('no')
        },
        { key: 'k' },
      )
    const outcomes = Promise.all([outcomeOf(fails()), outcomeOf(fails()), add(made, 'k')])
    expect((await made.clock.complete(outcomes)).slice(0, 2)).toEqual(['no', 'no'])
    expect([countOf(made), made.storage.get('never')]).toEqual(['1', undefined])
    expect((await made.clock.complete(add(made, 'k'))).replayed).toBe(true)
  })

  test('with another body is refused where that can be known', async () => {
    const made = testPipeline()
    await made.clock.complete(add(made, 'k', { fingerprint: 'order 17 of 3 pens' }))
    expect(await made.clock.complete(outcomeOf(add(made, 'k', { fingerprint: 'order 17 of 4 pens' })))).toBe(
      'KEY_REUSED',
    )
    expect(await made.clock.complete(outcomeOf(add(made, 'k')))).toBe('KEY_REUSED')
    expect((await made.clock.complete(add(made, 'k', { fingerprint: 'order 17 of 3 pens' }))).replayed).toBe(
      true,
    )
    const both = [add(made, 'm', { fingerprint: '1' }), add(made, 'm', { fingerprint: '2' })].map(outcomeOf)
    expect(await made.clock.complete(Promise.all(both))).toEqual(['resolved', 'KEY_REUSED'])
    expect(countOf(made)).toBe('2')
  })

  test('gets no value that JSON does not give back, and undefined where that was the value', async () => {
    const made = testPipeline()
    const values = [undefined, 5n, new Date(0), 'x'.repeat(5000), { a: [1, null, 'ä'] }, [undefined], -0, '']
    const write = (at: number): Promise<Answer> =>
      made.pipeline.write((tx) => (tx.set(`v${at}`, '1'), values[at]), { key: `v${at}` })
    for (const at of values.keys()) await made.clock.complete(write(at))
    const again = await made.clock.complete(Promise.all(values.map((_, at) => write(at))))
    expect(again.map(({ valueKept }) => valueKept)).toEqual([
      true,
      false,
      false,
      false,
      true,
      false,
      false,
      true,
    ])
    expect(again[4]?.value).toEqual({ a: [1, null, 'ä'] })
    expect(again[7]?.value).toBe('')
    expect(again[3]?.value).toBeUndefined()
  })

  test.each([
    ['', 'empty'],
    ['a\u0000b', 'control character'],
    ['ä'.repeat(128), '256 bytes'],
  ])('a key that is none is refused: %s', async (key, why) => {
    const made = testPipeline()
    const refused = made.clock.complete(made.pipeline.write((tx) => tx.set('x', '1'), { key }))
    await expect(refused).rejects.toThrow(why)
  })

  test('a key in a storage that keeps none, and a fingerprint without a key, are refused', async () => {
    const made = testPipeline()
    expect(await outcomeOf(made.pipeline.write(() => 1, { fingerprint: 'x' }))).toBe('INVALID_ARGUMENT')
    const { storage } = made
    const without = testPipeline({
      storage: new Proxy(storage, {
        get: (of, name) => {
          const value: unknown = name === 'keys' ? undefined : Reflect.get(of, name, of)
          return typeof value === 'function' ? (value.bind(of) as unknown) : value
        },
      }),
    })
    expect(await outcomeOf(add(without, 'k'))).toBe('INVALID_ARGUMENT')
  })
})

describe('a retry where followers must acknowledge', () => {
  const acked = (): TestPipeline => testPipeline({ node: 'a', acks: POLICY })

  test('waits for the open group of the first, which was written and not acknowledged', async () => {
    const made = acked()
    expect(await made.clock.complete(outcomeOf(add(made, 'k')))).toBe('WRITTEN_NOT_ACKED 1/2')
    expect(await made.clock.complete(outcomeOf(add(made, 'k', { ackTimeoutMs: 50 })))).toBe(
      'WRITTEN_NOT_ACKED 1/2',
    )
    const given = new AbortController()
    const aborted = outcomeOf(add(made, 'k', { signal: given.signal }))
    given.abort()
    expect(await made.clock.complete(aborted)).toBe('WRITTEN_NOT_ACKED 1/2')
    const again = add(made, 'k')
    await made.clock.advance(100)
    says(made, 'b', 2)
    const { receipt, value } = await made.clock.complete(again)
    expect(receipt).toMatchObject({ position: { lsn: 2 }, asked: 'durable', reached: 'durable' })
    expect(receipt.members.map(({ name }) => name)).toEqual(['b'])
    expect([value, countOf(made)]).toEqual([{ count: '1' }, '1'])
  })

  test('also where other writes are refused meanwhile', async () => {
    const made = testPipeline({ node: 'a', acks: { ...POLICY, onUnmet: 'fail' } })
    const first = outcomeOf(add(made, 'k'))
    await made.clock.advance(1100)
    expect(await first).toBe('WRITTEN_NOT_ACKED 1/2')
    expect(await outcomeOf(add(made, 'other'))).toBe('NOT_WRITTEN')
    const again = add(made, 'k')
    says(made, 'c', 2)
    expect((await made.clock.complete(again)).replayed).toBe(true)
  })

  test('is answered where a write of its set would be refused', async () => {
    const made = testPipeline({ node: 'a' })
    const asks = { of: { kind: 'any', count: 1, names: ['b'] }, onlyIfReady: true, ackTimeoutMs: 50 } as const
    expect(await outcomeOf(add(made, 'k', asks))).toBe('NOT_WRITTEN')
    says(made, 'x', 1)
    expect(await outcomeOf(add(made, 'k', asks))).toBe('NOT_WRITTEN')
    await made.clock.complete(add(made, 'k'))
    expect(await made.clock.complete(outcomeOf(add(made, 'k', asks)))).toBe('WRITTEN_NOT_ACKED 1/2')
    says(made, 'b', 2)
    expect((await made.clock.complete(add(made, 'k', asks))).replayed).toBe(true)
    expect(countOf(made)).toBe('1')
  })

  test('waits for the acks that it asks for itself', async () => {
    const made = testPipeline({ node: 'a' })
    await made.clock.complete(add(made, 'k'))
    const strict = { ack: 'durable', of: { kind: 'any', count: 1, names: ['b'] }, ackTimeoutMs: 200 } as const
    expect(await made.clock.complete(outcomeOf(add(made, 'k', strict)))).toBe('WRITTEN_NOT_ACKED 1/2')
    const again = add(made, 'k', strict)
    says(made, 'x', 2)
    await made.clock.advance(10)
    says(made, 'b', 2)
    const { receipt } = await made.clock.complete(again)
    expect(receipt).toMatchObject({ asked: 'durable', reached: 'durable', members: [{ name: 'b' }] })
  })

  test('shares the fate of the first when the node stops', async () => {
    const made = acked()
    const first = outcomeOf(add(made, 'k'))
    await made.clock.advance(10)
    const again = outcomeOf(add(made, 'k'))
    made.pipeline.stop(new UnderstudyError('NOT_LEADER', 'stopped'))
    expect(await made.clock.complete(Promise.all([first, again]))).toEqual([
      'OUTCOME_UNKNOWN 1/2 <- NOT_LEADER',
      'OUTCOME_UNKNOWN 1/2 <- NOT_LEADER',
    ])
  })

  test('that reaches its deadline in the queue is told of the first, not that nothing was written', async () => {
    const made = testPipeline({ node: 'a', acks: POLICY, limits: { groupWritesMax: 1 } })
    const first = outcomeOf(add(made, 'k'))
    const twin = outcomeOf(add(made, 'k', { timeoutMs: 100 }))
    const other = outcomeOf(add(made, 'other', { timeoutMs: 100 }))
    await made.clock.advance(500)
    expect(await other).toBe('NOT_WRITTEN')
    says(made, 'b', 2)
    expect(await made.clock.complete(Promise.all([first, twin]))).toEqual(['resolved', 'resolved'])
    expect(countOf(made)).toBe('1')
  })
})

/** The disk of a node whose process, or machine, died. */
function left(node: Disk, of: 'machine' | 'process'): Disk {
  return { log: node.log.crash(), storage: of === 'machine' ? node.storage.crash() : node.storage.kill() }
}

const leaderOf = ({ leadership }: TestLeader): Of => leadership

describe.each(['process', 'machine'] as const)('after a crash of the %s', (of) => {
  test('a retry of what was not acknowledged is answered once the set has it, and never that it was not written', async () => {
    const world = new World(7)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    const follower = world.follower('b', 'a')
    await world.clock.complete(leader.set('acked', '1'))
    await world.converge(leader, follower)
    follower.clock.stop()
    world.network.crash('b')
    add(leaderOf(leader), 'k').catch(() => {})
    await world.clock.advance(50)
    leader.clock.stop()
    world.network.crash('a')
    const next = await world.leader('a', left(leader, of), { acks: POLICY })
    const late = outcomeOf(add(leaderOf(next), 'k', { timeoutMs: 100 }))
    await world.clock.advance(500)
    expect(await late).toMatch(/^OUTCOME_UNKNOWN/)
    const again = add(leaderOf(next), 'k')
    const back = world.follower('b', 'a', left(follower, of))
    const { receipt, value } = await world.clock.complete(again)
    expect(receipt.position.epoch).toBe(1)
    expect([value, next.storage.get('count')]).toEqual([{ count: '1' }, '1'])
    await world.converge(next, back)
    expect(back.storage.digest()).toBe(next.storage.digest())
  })

  test('a retry is answered by the next life, and by a follower that leads', async () => {
    const world = new World(8)
    const leader = await world.leader('a')
    const follower = world.follower('b', 'a')
    const first = await world.clock.complete(add(leaderOf(leader), 'k', { fingerprint: 'f' }))
    await world.clock.complete(add(leaderOf(leader), 'newest'))
    await world.converge(leader, follower)
    for (const node of [leader, follower]) {
      node.clock.stop()
      world.network.crash(node.name)
    }
    for (const node of [follower, leader]) {
      const disk = left(node, of)
      const next = await world.leader(node.name, disk)
      const again = await world.clock.complete(add(leaderOf(next), 'k', { fingerprint: 'f' }))
      expect(plain(again.receipt)).toEqual(plain(first.receipt))
      expect(await world.clock.complete(outcomeOf(add(leaderOf(next), 'k', { fingerprint: 'g' })))).toBe(
        'KEY_REUSED',
      )
      expect((await world.clock.complete(add(leaderOf(next), 'newest'))).receipt.position).toEqual({
        epoch: 1,
        lsn: 3,
      })
      next.clock.stop()
      world.network.crash(node.name)
    }
  })
})

describe('what is kept', () => {
  test('the newest so many keys, for so long, and a few go with each new one', async () => {
    const made = testPipeline({ limits: { keysMax: 5, keyKeepMs: 60_000 } })
    for (let i = 0; i < 12; i++) await made.clock.complete(add(made, `k${i}`))
    const keys = (): string[] =>
      made.storage.connection
        .committedEntries()
        .filter(([key]) => key.startsWith('_key/of/'))
        .map(([key]) => key.slice(8))
        .sort()
    expect(keys()).toEqual(['k10', 'k11', 'k7', 'k8', 'k9'])
    await made.clock.advance(60_001)
    await made.clock.complete(add(made, 'n0'))
    expect(keys()).toEqual(['k10', 'k11', 'k9', 'n0'])
    for (const key of ['n1', 'n2', 'n3']) await made.clock.complete(add(made, key))
    expect(keys()).toEqual(['n0', 'n1', 'n2', 'n3'])
    // Groups go with their last key.
    const groups = made.storage.connection.committedEntries().filter(([key]) => key.startsWith('_key/group/'))
    expect(groups).toHaveLength(3)
  })

  test('a receipt outlives its record in the log, once a later group noted where it was', async () => {
    const made = testPipeline()
    const first = await made.clock.complete(add(made, 'k'))
    await made.clock.complete(made.set('x', '1'))
    const last = await made.clock.complete(add(made, 'last'))
    made.log.collectTo(last.receipt.position.lsn + 1)
    const again = await made.clock.complete(add(made, 'k'))
    expect(plain(again.receipt)).toEqual(plain(first.receipt))
  })

  test('without a note and without the record there is no receipt, and that is said', async () => {
    const made = testPipeline()
    await made.clock.complete(add(made, 'k'))
    await made.clock.complete(made.pipeline.close())
    made.log.collectTo(made.log.end.lsn + 1)
    const { log, storage, clock } = made
    const next = testPipeline({ log, storage, clock, defer: (run) => clock.schedule(0, run) })
    expect(await clock.complete(outcomeOf(add(next, 'k')))).toBe('LOG_TRUNCATED')
    expect(countOf(made)).toBe('1')
  })

  test('writes without a key make no rows of keys', async () => {
    const made = testPipeline()
    await made.clock.complete(made.set('a', '1'))
    expect(made.storage.connection.committedEntries()).toEqual([['a', '1']])
  })
})
