import { describe, expect, it } from 'vitest'
import { LOCAL_SLOT, UnderstudyError } from '@understudy/contracts'
import { createSnapshotServer } from '../src/index.ts'
import { CHUNK, FakeSource, world, type World, failureOf } from './support/world.ts'

/** Starts a bootstrap and breaks it for good once some chunks are there. */
async function abandon(w: World, node = 'follower'): Promise<void> {
  const abort = new AbortController()
  const failed = failureOf(w.receive({ node, target: `/new/${node}`, signal: abort.signal }))
  await w.clock.advance(40)
  abort.abort()
  expect(await w.clock.complete(failed)).toMatchObject({ code: 'ABORTED' })
  await w.clock.advance(5)
}

const SLOW = { bytesPerSecondMax: 50_000 }

describe('retention slots', () => {
  it('are reserved before the snapshot is opened, then moved to its position, before a byte leaves', async () => {
    const w = await world()
    w.serverTap = (message) => {
      if (message.type === 'snapshotStart' || message.type === 'snapshotChunk') w.events.push(message.type)
      return message
    }
    w.onSource = () => {
      w.point = { epoch: 1, lsn: 45, crc: 4545 }
    }
    await w.bootstrap()
    expect(w.events.slice(0, 5)).toEqual([
      'reserve follower 40',
      'open 40',
      'reserve follower 40',
      'snapshotStart',
      'snapshotChunk',
    ])
    await w.clock.advance(120_000)
    // A finished follower keeps its slot: its log goes on from there.
    expect(w.events.filter((event) => event.startsWith('release'))).toEqual([])
  })

  it('never stand above a snapshot that was opened later', async () => {
    let applied = 10
    const w = await world({
      server: {
        applied: () => ({ epoch: 1, lsn: applied, crc: 1 }),
        openSnapshot: async () => {
          applied = 25
          return new FakeSource(w.image, { epoch: 1, lsn: 25, crc: 1 })
        },
      },
    })
    await w.bootstrap()
    expect(w.events).toEqual(['reserve follower 10', 'reserve follower 25'])
  })

  it('are given back when the follower never comes back', async () => {
    const w = await world({ server: { ...SLOW, keepMs: 5000 } })
    await abandon(w)
    await w.clock.advance(4500)
    expect(w.sources[0]?.closed).toBe(false)
    expect(w.events).not.toContain('release follower 40')
    await w.clock.advance(1000)
    expect(w.sources[0]?.closed).toBe(true)
    expect(w.events.at(-1)).toBe('release follower 40')
  })

  it('that cannot be given back stay, and the snapshot is closed all the same', async () => {
    const w = await world({
      server: {
        ...SLOW,
        keepMs: 1000,
        releaseSlot: () => {
          throw new UnderstudyError('LOG_FAILED', 'no')
        },
      },
    })
    await abandon(w)
    await w.clock.advance(20_000)
    expect(w.sources[0]?.closed).toBe(true)
  })

  it('are given back when no snapshot could be opened', async () => {
    const w = await world({
      server: {
        openSnapshot: async () => {
          throw new UnderstudyError('STORAGE_FAILED', 'no')
        },
      },
    })
    await expect(w.bootstrap({ attemptsMax: 2 })).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      details: { fromPeer: true },
    })
    expect(w.events).toEqual([
      'reserve follower 40',
      'release follower 40',
      'reserve follower 40',
      'release follower 40',
    ])
  })

  it.each(['', LOCAL_SLOT])(
    'are never those of the node itself: a follower called "%s" is refused',
    async (node) => {
      const w = await world()
      const transportNode = 'follower'
      w.followerTap = (message) => (message.type === 'hello' ? { ...message, node } : message)
      await expect(w.bootstrap({ node: transportNode })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      expect(w.events).toEqual([])
    },
  )
})

describe('snapshots', () => {
  it('are shared only while the log reaches back to them', async () => {
    const w = await world({ server: SLOW })
    await abandon(w)
    w.point = { epoch: 1, lsn: 90, crc: 1 }
    w.logFrom = 60
    const received = await w.bootstrap({ node: 'other', target: '/new/two' })
    expect(received.point.lsn).toBe(90)
    expect(w.sources.length).toBe(2)
  })

  it('are shared only while they are young', async () => {
    const w = await world({ chunks: 300, server: { ...SLOW, keepMs: 2000 } })
    const first = w.receive({ node: 'one', target: '/new/one' })
    await w.clock.advance(1000)
    const second = w.receive({ node: 'two', target: '/new/two' })
    await w.clock.advance(2000)
    expect(w.sources.length).toBe(1)
    const third = w.receive({ node: 'three', target: '/new/three' })
    await w.clock.complete(Promise.all([first, second, third]))
    expect(w.sources.length).toBe(2)
    expect(w.sources.map((source) => source.bytes)).toEqual([w.image, w.image])
  })

  it('that nobody reads make room when too many are open', async () => {
    const w = await world({ server: { ...SLOW, snapshotsMax: 1, keepMs: 60_000 } })
    await abandon(w)
    w.logFrom = 60
    w.point = { epoch: 1, lsn: 90, crc: 1 }
    await w.bootstrap({ node: 'other', target: '/new/two' })
    expect(w.sources[0]?.closed).toBe(true)
    expect(w.events).toContain('release follower 40')
  })

  it('that are all in use are shared whatever their age, or refused with OVERLOADED', async () => {
    const w = await world({ chunks: 300, server: { ...SLOW, snapshotsMax: 1, keepMs: 100 } })
    const first = w.receive({ node: 'one', target: '/new/one' })
    await w.clock.advance(1000)
    const second = w.receive({ node: 'two', target: '/new/two' })
    await w.clock.advance(500)
    w.logFrom = 60
    await expect(w.bootstrap({ node: 'three', target: '/new/three', attemptsMax: 1 })).rejects.toMatchObject({
      code: 'OVERLOADED',
    })
    await w.clock.complete(Promise.all([first, second]))
    expect(w.sources.length).toBe(1)
  })

  it('close when the server closes, and their followers are told', async () => {
    const w = await world({ chunks: 300, server: SLOW })
    const codes: string[] = []
    const receiving = w.receive({ onRetry: (error) => codes.push(error.code), attemptsMax: 2 })
    const failed = failureOf(receiving)
    await w.clock.advance(500)
    expect(w.server.transfers).toMatchObject([{ follower: 'follower', totalBytes: w.image.length }])
    expect(w.server.transfers[0]?.offset).toBeGreaterThan(10 * CHUNK)
    await w.clock.complete(w.server.close())
    expect(await w.clock.complete(failed)).toMatchObject({ code: 'CLOSED' })
    expect(codes).toEqual(['CLOSED'])
    expect(w.sources.every((source) => source.closed)).toBe(true)
    expect(w.server.transfers).toEqual([])
  })

  it('close when the server closes while one is being opened', async () => {
    const w = await world()
    w.onSource = () => void w.server.close()
    await expect(w.bootstrap({ attemptsMax: 1 })).rejects.toMatchObject({ code: 'CLOSED' })
    await w.clock.advance(10)
    expect(w.sources.map((source) => source.closed)).toEqual([true])
  })
})

it('a follower that dials again replaces its old connection', async () => {
  const w = await world({ chunks: 100, server: SLOW })
  const codes: string[] = []
  const old = w.receive({ target: '/new/old', attemptsMax: 1, onRetry: (error) => codes.push(error.code) })
  const failed = failureOf(old)
  await w.clock.advance(200)
  await w.bootstrap()
  expect(await failed).toMatchObject({ code: 'CONNECTION_LOST' })
  expect(w.read()).toEqual(w.image)
  expect(w.sources.length).toBe(1)
})

it('nothing runs on after a bootstrap but the snapshot’s own time', async () => {
  const w = await world({ server: { keepMs: 5000 } })
  await w.bootstrap()
  await w.clock.advance(20_000)
  expect(w.clock.pending).toBe(0)
  expect(w.network.connectionCount).toBe(0)
})

it.each([
  { chunkBytes: 100 },
  { chunkBytes: 9 * 1024 * 1024 },
  { windowBytes: 0 },
  { snapshotsMax: 0 },
  { keepMs: -1 },
  { bytesPerSecondMax: 0.5 },
])('an option out of its range is refused: %o', async (options) => {
  const w = await world()
  expect(() =>
    createSnapshotServer({
      openSnapshot: async () => new FakeSource(w.image, w.point),
      history: () => [],
      applied: () => w.point,
      reserveSlot: () => undefined,
      clock: w.clock,
      random: w.random,
      ...options,
    }),
  ).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})
