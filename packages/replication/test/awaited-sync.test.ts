import { FLAG_AWAITS_ACKS, UnderstudyError, type Clock, type LogRecord } from '@understudy/contracts'
import {
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type ConnectionHandler,
  type Message,
} from '@understudy/protocol'
import {
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'
import { expect, test } from 'vitest'
import { Followers, followLeader, semiSync, type Link } from '../src/index.ts'
import { AwaitedSync } from '../src/awaited-sync.ts'
import { MemoryLog } from './support/memory-log.ts'
import { FORMAT, World } from './support/world.ts'

/** A clock that a sync moves on by what it takes. */
function disk(): {
  readonly sync: AwaitedSync
  readonly log: MemoryLog
  readonly takes: (ms: number) => void
} {
  const log = new MemoryLog()
  let nowMs = 0
  let tookMs = 0
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    schedule: () => ({ cancel: () => undefined }),
  }
  const syncNow = log.syncNow.bind(log)
  log.syncNow = () => {
    nowMs += tookMs
    syncNow()
  }
  return { sync: new AwaitedSync(log, clock, 0.5), log, takes: (ms) => void (tookMs = ms) }
}

function syncs({ sync }: Pick<ReturnType<typeof disk>, 'sync'>, times: number): string {
  return Array.from({ length: times }, () => (sync.syncHere() === undefined ? '.' : 'h')).join('')
}

test('a disk of which nothing is known is probed now and then; a fast one is synced here from then on', () => {
  const made = disk()
  made.takes(0.2)
  expect(syncs(made, 40)).toBe(`${'.'.repeat(31)}${'h'.repeat(9)}`)
})

test('one slow sync among fast ones changes nothing, several in a row send syncs away until a probe is fast', () => {
  const made = disk()
  made.takes(0.2)
  syncs(made, 32)
  made.takes(2)
  expect(syncs(made, 1)).toBe('h')
  made.takes(0.2)
  expect(syncs(made, 20)).toBe('h'.repeat(20))
  made.takes(4)
  expect(syncs(made, 40)).toMatch(/^h{1,3}\.{31}h\./)
  made.takes(0.2)
  expect(syncs(made, 40)).toMatch(/^\.+h+$/)
})

test('what the log throws is thrown on', () => {
  const made = disk()
  syncs(made, 31)
  made.log.nextSyncError = new UnderstudyError('LOG_FAILED', 'no')
  expect(() => made.sync.syncHere()).toThrow(expect.objectContaining({ code: 'LOG_FAILED' }))
})

test('an awaited record is durable and acknowledged before the batch before it is applied', async () => {
  const clock = new SimulatedClock()
  const leader = new MemoryLog()
  const log = new MemoryLog()
  const storage = new MemoryStorage()
  const told: string[] = []
  const unsent: string[] = []
  const deferred: (() => void)[] = []
  let handler: ConnectionHandler | undefined
  const link: Link = {
    remote: 'leader',
    start: (given) => void (handler = given),
    // As transports do: what was sent in a turn leaves at its end, or when it is flushed.
    send: (message) => {
      if (message.type !== 'ack') return true
      unsent.push(`ack ${message.received} ${message.durable} ${message.applied}`)
      deferred.push(() => void told.push(...unsent.splice(0)))
      return true
    },
    flush: () => void told.push(...unsent.splice(0)),
    pause: () => undefined,
    resume: () => undefined,
    close: () => undefined,
  }
  const source = new MemoryStorage()
  const world = new World()
  const made = await world.leader('a', { log: leader, storage: source }, { acks: semiSync(['b']) })
  const following = followLeader<MemoryConnection, MemoryTransaction>({
    dial: async () => link,
    log,
    storage,
    formats: [FORMAT],
    node: 'b',
    cluster: 'c',
    clock: clock.view(),
    random: new SeededRandom(1),
    defer: (run) => void deferred.push(run),
    onApplied: ({ lsn }) => void told.push(`applied ${lsn}`),
  })
  await clock.runUntil(() => handler !== undefined, { withinMs: 1000, what: 'the Hello' })
  const say = (message: Message): void => handler?.message(message)
  say(welcome(leader))
  const send = (from: number, upTo: number, highWatermark: number): void => {
    const { bytes } = leader.read(from, { upTo }) ?? { bytes: new Uint8Array() }
    say({ type: 'records', highWatermark, bytes })
  }
  const isAwaited = ({ flags }: LogRecord): boolean => (flags & FLAG_AWAITS_ACKS) !== 0
  // The first ones are synced elsewhere, until the disk is known to be fast.
  for (let lsn = leader.end.lsn + 1; lsn <= 40; lsn++) {
    const write = made.leadership.pipeline.write((tx) => tx.set(`k${lsn}`, '1'))
    await world.clock.runUntil(() => leader.durable >= lsn, { withinMs: 1000, what: 'a record' })
    made.leadership.pipeline.follower('b', {
      streams: true,
      received: lsn,
      durable: lsn,
      applied: 0,
      unackedBytes: 0,
    })
    await world.clock.complete(write)
  }
  expect([...leader.records(40)].every(isAwaited)).toBe(true)
  send(1, 2, 0)
  for (let lsn = 3; lsn < 40; lsn++) {
    send(lsn, lsn, lsn - 1)
    await Promise.resolve()
    await clock.runUntil(() => log.durable >= lsn, { withinMs: 1000, what: 'a sync' })
  }
  expect(log.counts.syncNow).toBeGreaterThan(0)
  while (deferred.length > 0) deferred.shift()?.()
  told.length = 0
  send(40, 40, 39)
  expect([log.durable, ...told]).toEqual([40, 'ack 40 40 38'])
  while (deferred.length > 0) deferred.shift()?.()
  expect(told).toEqual(['ack 40 40 38', 'applied 39'])
  // Nobody waits for that one.
  await clock.runUntil(() => deferred.length > 0, { withinMs: 5, what: 'the ack of what is applied' })
  while (deferred.length > 0) deferred.shift()?.()
  expect(told.at(-1)).toBe('ack 40 40 39')
  // Not more than the leader said may be shown.
  expect(storage.applied.lsn).toBe(39)
  await following.close()
})

test('a leader sends at once, and first, what it waits for, and gathers the rest until the end of the turn', async () => {
  const world = new World()
  const { log, leadership } = await world.leader('a')
  const { pipeline } = leadership
  const told: string[] = []
  const linkOf = (name: string): Link => ({
    remote: name,
    start: () => undefined,
    send: ({ type }) => {
      told.push(`${type} ${name}`)
      return true
    },
    flush: () => void told.push(`flush ${name}`),
    pause: () => undefined,
    resume: () => undefined,
    close: () => undefined,
  })
  const formats = [{ id: FORMAT.id, version: FORMAT.version }]
  const awaited = new Set<string>()
  const followers = new Followers({
    log,
    cluster: 'c',
    node: 'a',
    clock: world.clock.view(),
    formats,
    highWatermark: () => pipeline.highWatermark,
    isAwaited: (name) => awaited.has(name),
    onMustStopLeading: () => undefined,
  })
  for (const node of ['c', 'b'])
    followers.accept(linkOf(node), {
      type: 'hello',
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION,
      purpose: 'replicate',
      cluster: 'c',
      node,
      history: [],
      end: { epoch: 0, lsn: 0, crc: 0 },
      formats,
    })
  const write = async (key: string): Promise<string[]> => {
    await world.clock.advance(100)
    await world.clock.complete(pipeline.write((tx) => tx.set(key, '1')))
    told.length = 0
    followers.wake()
    return [...told]
  }
  expect(await write('gathered')).toEqual(['records c', 'records b'])
  awaited.add('b')
  expect(await write('awaited')).toEqual(['records b', 'flush b', 'records c'])
  followers.close()
})

function welcome(log: MemoryLog): Message {
  return {
    type: 'welcome',
    version: 1,
    cluster: 'c',
    node: 'a',
    history: log.history,
    end: log.end,
    verdict: { kind: 'continue', from: 1 },
    heartbeatMs: 1000,
    deadlineMs: 5000,
  }
}
