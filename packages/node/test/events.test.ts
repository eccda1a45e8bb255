import { UnderstudyError } from '@understudy/contracts'
import { SimulatedClock } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { EventHub, type EventStream, type NodeEvent, type StampedEvent } from '../src/events.ts'
import { SlotWatch } from '../src/slot-watch.ts'
import { Cluster } from './helpers.ts'

async function rest(stream: EventStream): Promise<StampedEvent[]> {
  const all: StampedEvent[] = []
  for await (const event of stream) all.push(event)
  return all
}

const listening = (address: string): NodeEvent => ({ kind: 'listening', address })

describe('a stream of events', () => {
  test('carries what is told from its opening on, numbered, to each reader, and ends with `closed`', async () => {
    const hub = new EventHub(new SimulatedClock())
    hub.emit(listening('before'))
    const [one, two] = [hub.stream(), hub.stream()]
    const read = one.next()
    hub.emit(listening('x'))
    expect(await read).toMatchObject({ done: false, value: { sequence: 2, event: { address: 'x' } } })
    hub.emit(listening('y'))
    hub.close()
    hub.close()
    expect((await rest(one)).map(({ event: { kind } }) => kind)).toEqual(['listening', 'closed'])
    expect((await rest(two)).map(({ sequence }) => sequence)).toEqual([2, 3, 4])
    expect(await rest(hub.stream())).toEqual([])
  })

  test('drops the oldest when nobody reads, says how many, and where', async () => {
    const hub = new EventHub(new SimulatedClock())
    const stream = hub.stream({ bufferMax: 3 })
    for (let n = 1; n <= 10; n++) hub.emit(listening(`${n}`))
    const read = async (): Promise<unknown> => (await stream.next()).value
    expect(await read()).toMatchObject({ sequence: 7, event: { kind: 'eventsDropped', count: 7 } })
    expect(await read()).toMatchObject({ sequence: 8, event: { address: '8' } })
    for (let n = 11; n <= 12; n++) hub.emit(listening(`${n}`))
    expect(await read()).toMatchObject({ sequence: 9, event: { kind: 'eventsDropped', count: 1 } })
    hub.close()
    // `closed` needs room too.
    expect((await rest(stream)).map(({ sequence, event: { kind } }) => `${sequence} ${kind}`)).toEqual([
      '10 eventsDropped',
      '11 listening',
      '12 listening',
      '13 closed',
    ])
  })

  test('keeps only the newest progress, so that a snapshot pushes nothing out', async () => {
    const hub = new EventHub(new SimulatedClock())
    const stream = hub.stream({ bufferMax: 3 })
    hub.emit(listening('x'))
    for (let lsn = 1; lsn <= 100; lsn++)
      hub.emit({ kind: 'redo', applied: { epoch: 1, lsn, crc: 0 }, upTo: 100 })
    hub.close()
    expect(await rest(stream)).toMatchObject([
      { sequence: 1 },
      { sequence: 101, event: { applied: { lsn: 100 } } },
      { event: { kind: 'closed' } },
    ])
  })

  test('ends with its signal, and with the loop that is left; then it costs nothing', async () => {
    const hub = new EventHub(new SimulatedClock())
    const stop = new AbortController()
    const stream = hub.stream({ signal: stop.signal })
    const read = stream.next()
    stop.abort()
    expect(await read).toEqual({ done: true, value: undefined })
    hub.emit(listening('x'))
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    expect(await rest(hub.stream({ signal: stop.signal }))).toEqual([])
    const left = hub.stream()
    hub.emit(listening('y'))
    for await (const { event } of left) {
      expect(event).toMatchObject({ address: 'y' })
      break
    }
    expect(await left.next()).toEqual({ done: true, value: undefined })
  })

  test('refuses a buffer that is none', () => {
    const hub = new EventHub(new SimulatedClock())
    for (const bufferMax of [0, -1, 1.5, Number.NaN])
      expect(() => hub.stream({ bufferMax })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error,
      )
  })

  test('a listener that throws keeps no stream from its event', async () => {
    const warned = Promise.withResolvers<Error>()
    process.once('warning', (warning) => warned.resolve(warning))
    const hub = new EventHub(new SimulatedClock(), () => {
      throw new Error('mine')
    })
    const stream = hub.stream()
    hub.emit({ kind: 'failed', error: new UnderstudyError('LOG_FAILED', 'x') })
    expect(await stream.next()).toMatchObject({ value: { event: { kind: 'failed' } } })
    expect((await warned.promise).message).toBe('mine')
  })
})

test('a slot is news when it no longer keeps the log, and when it does again', () => {
  const told: string[] = []
  const watch = new SlotWatch(({ name, state }) => told.push(`${name} ${state}`))
  const look = (state: 'reserved' | 'extended' | 'unreserved' | 'lost'): void =>
    watch.look([
      { name: 'b', lsn: 1, state, heldBytes: 0, safeBytes: 0 },
      { name: 'local', lsn: 1, state: 'reserved', heldBytes: 0, safeBytes: undefined },
    ])
  for (const state of [
    'reserved',
    'extended',
    'unreserved',
    'unreserved',
    'lost',
    'lost',
    'reserved',
  ] as const)
    look(state)
  expect(told).toEqual(['b unreserved', 'b lost', 'b reserved'])
})

describe('a node', () => {
  test('tells of its follower: come, streaming, gone, its slot lost, forgotten', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(1, { segmentBytes: 64 * 1024, slotBytesMax: 128 * 1024 })
    const stream = leader.events()
    const follower = await cluster.start('b', 'follower')
    await cluster.events['a']!.until('followerChanged', ({ state }) => state === 'streaming')
    expect(() => leader.forget('b')).toThrow(expect.objectContaining({ code: 'MEMBER_IN_USE' }) as Error)
    expect(() => follower.forget('x')).toThrow(expect.objectContaining({ code: 'NOT_LEADER' }) as Error)
    await follower.close()
    await cluster.events['a']!.until('followerLeft')
    for (let n = 0; n < 8; n++)
      await leader.write((tx) => tx.run('update note set body = ? where id = 1', [`${n}`.repeat(60_000)]))
    await leader.checkpoint()
    expect(leader.status().absentFollowers).toMatchObject([
      { name: 'b', state: 'disconnected', sinceIsAtLeast: false, slot: { state: 'lost' } },
    ])
    leader.forget('b')
    expect(leader.status().absentFollowers).toEqual([])
    expect(leader.slots().map(({ name }) => name)).toEqual(['local'])
    await leader.close()
    const told = (await rest(stream)).map(({ event }) =>
      'name' in event ? `${event.kind} ${event.name}` : event.kind,
    )
    // Whether it catches up first is a matter of moments.
    expect(told.filter((kind, at) => kind !== told[at - 1])).toEqual([
      'followerJoined b',
      'followerChanged b',
      'followerLeft b',
      'slot b',
      'followerForgotten b',
      'closed',
    ])
  })

  test('can be observed before it has started', async () => {
    const cluster = new Cluster()
    const seen: unknown[] = []
    let stream: EventStream | undefined
    const leader = await cluster.start('a', 'leader', {
      observe: (node) => {
        seen.push(node.name, node.status().state)
        stream = node.events()
      },
    })
    expect(seen).toEqual(['a', 'starting'])
    expect(leader.status().state).toBe('leading')
    expect(await stream?.next()).toMatchObject({ value: { event: { kind: 'leading' } } })
  })

  test('says how a follower is behind, and that it does not know once the leader is gone', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(10)
    const follower = await cluster.start('b', 'follower')
    await cluster.events['b']!.until('state', ({ state }) => state === 'streaming')
    const { receipt } = await leader.write((tx) => tx.run("insert into note (body) values ('x')"))
    await follower.read(() => 1, { after: receipt.position })
    expect(follower.status().following?.lag).toEqual({ records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false })
    expect(leader.status().followers).toMatchObject([{ name: 'b', syncState: 'async', state: 'streaming' }])
    await leader.close()
    await cluster.events['b']!.until('state', ({ state }) => state === 'disconnected')
    const status = follower.status()
    expect(status.following).toMatchObject({ leaderLsn: receipt.position.lsn })
    expect(status.following?.lag).toBeUndefined()
    expect(status.following?.heardMs).toBeUndefined()
  })
})
