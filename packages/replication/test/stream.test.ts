import { FLAG_CONTINUES, ORIGIN, UnderstudyError } from '@understudy/contracts'
import { MemoryStorage, memoryFormat } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { outcomeOf } from './support/pipeline.ts'
import type { Link, PositionToken } from '../src/index.ts'
import { FORMAT, World, emptyDisk, type Disk, type TestFollower, type TestLeader } from './support/world.ts'

async function pair(seed = 1): Promise<{ world: World; leader: TestLeader; follower: TestFollower }> {
  const world = new World(seed)
  const leader = await world.leader('a')
  const follower = world.follower('b', 'a')
  await world.converge(leader, follower)
  return { world, leader, follower }
}

/** A copy of a node's log and storage: what a backup of its disk would hold. */
function copyOf({ log, storage }: Disk): Disk {
  const copy = log.crash()
  const { committedNote: note, committedPreparedFor: preparedFor } = storage.connection
  const image = new MemoryStorage({}, { note, preparedFor, entries: storage.connection.committedEntries() })
  return { log: copy, storage: image }
}

describe('streaming', () => {
  test('every commit reaches the follower, byte for byte in the log', async () => {
    const { world, leader, follower } = await pair()
    const writers = Array.from({ length: 8 }, async (_, i) => {
      for (let n = 0; n < 50; n++) await leader.set(`k${i}`, `${n}`)
    })
    await world.clock.complete(Promise.all(writers))
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
    expect(follower.log.read(1, { bytesMax: 1e9 })).toEqual(leader.log.read(1, { bytesMax: 1e9 }))
    expect(follower.states).toEqual(['catchup', 'streaming'])
    await world.clock.advance(1100)
    expect(leader.followers.status()).toMatchObject([
      {
        name: 'b',
        state: 'streaming',
        durable: leader.log.end.lsn,
        applied: leader.log.end.lsn,
        lag: { records: 0, bytes: 0, ageMs: 0, ageIsAtLeast: false },
        unackedBytes: 0,
      },
    ])
    expect(leader.followers.status()[0]?.rttMs).toBeGreaterThan(0)
    expect(follower.following.report()).toMatchObject({
      lag: { records: 0, bytes: 0, ageMs: 0 },
      state: 'streaming',
    })
  })

  test('a connection that ended before it was accepted is no follower, and throws nothing', async () => {
    const world = new World()
    const leader = await world.leader('a')
    const lost = new UnderstudyError('CONNECTION_LOST', 'gone')
    const link: Link = {
      remote: 'sim://b',
      // What a Connection does whose channel is gone already.
      start: (handler) => handler.closed(lost),
      send: () => false,
      pause: () => undefined,
      resume: () => undefined,
      close: () => undefined,
    }
    leader.followers.accept(link, {
      type: 'hello',
      versionMin: 1,
      versionMax: 1,
      purpose: 'replicate',
      cluster: 'c',
      node: 'b',
      history: [],
      end: ORIGIN,
      formats: [{ id: FORMAT.id, version: FORMAT.version }],
    })
    expect(leader.followers.status()).toEqual([])
    expect(leader.followers.absent()).toMatchObject([{ name: 'b', state: 'disconnected', error: lost }])
    // Nothing of it is left to beat.
    await world.clock.advance(60_000)
    expect(leader.events.map(({ kind }) => kind)).toEqual(['joined', 'left'])
  })

  test('the retention slot follows what is durable at the follower', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.advance(10)
    expect(leader.log.slots.get('b')?.lsn).toBe(1)
    follower.log.syncsAtOnce = false
    await world.clock.complete(leader.set('a', '1'))
    await world.clock.advance(100)
    expect(leader.log.slots.get('b')?.lsn).toBe(1)
    expect(follower.storage.applied.lsn).toBe(1)
    follower.log.releaseSyncs()
    await world.converge(leader, follower)
    await world.clock.advance(10)
    expect(leader.log.slots.get('b')?.lsn).toBe(2)
  })

  test('a record leaves the leader only after its own sync', async () => {
    const { world, leader, follower } = await pair()
    leader.log.syncsAtOnce = false
    const write = Promise.all([leader.set('a', '1'), leader.set('b', '1')])
    await world.clock.advance(500)
    leader.followers.wake()
    await world.clock.advance(5)
    expect(leader.log.end.lsn).toBe(2)
    expect(follower.log.end.lsn).toBe(1)
    leader.log.releaseSyncs()
    await world.clock.complete(write)
    await world.converge(leader, follower)
  })

  test('markers are told of on leader and follower with the same data', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(leader.set('a', '1'))
    const marker = leader.leadership.pipeline.mark()
    const digest = leader.storage.digest()
    await world.clock.complete(Promise.all([marker, leader.set('a', '2')]))
    await world.converge(leader, follower)
    expect(follower.markers).toEqual([`3 ${digest}`])
  })

  test('a transaction in many parts arrives whole', async () => {
    const world = new World()
    const leader = await world.leader('a', emptyDisk(), {
      pipeline: { recordBytesMax: 1000 },
      link: { frameBytes: 2500, windowBytes: 4000 },
    })
    const follower = world.follower('b', 'a')
    await world.clock.complete(leader.set('big', 'x'.repeat(100_000)))
    expect(leader.log.end.lsn).toBeGreaterThan(100)
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
  })

  test('an apply that is slower than the network reads back from the follower’s own log', async () => {
    const world = new World()
    const leader = await world.leader('a')
    const follower = world.follower('b', 'a', emptyDisk(), {
      applyLimits: { queueBytesMax: 500, batchRecordsMax: 2 },
    })
    for (let round = 0; round < 20; round++) {
      await world.clock.complete(
        Promise.all(Array.from({ length: 50 }, (_, i) => leader.set(`k${i}`, `${round}`))),
      )
    }
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
  })
})

describe('what the leader may drop', () => {
  test('a follower names itself with a log that is durable, and not before it is', async () => {
    const world = new World()
    const leader = await world.leader('a')
    await world.clock.complete(leader.set('a', '1'))
    const disk = emptyDisk()
    disk.log.syncsAtOnce = false
    disk.log.appendEncoded(leader.log.read(1)?.bytes ?? new Uint8Array())
    const follower = world.follower('b', 'a', disk)
    await world.clock.advance(5000)
    expect(leader.events).toEqual([])
    expect(leader.log.slots.get('b')).toBeUndefined()
    disk.log.releaseSyncs()
    await world.converge(leader, follower)
    expect(leader.log.slots.get('b')?.lsn).toBe(2)
  })
})

describe('flow control', () => {
  test('a follower that stands still costs the leader a window, and gets the rest from the log afterwards', async () => {
    const world = new World()
    const leader = await world.leader('a', emptyDisk(), {
      link: { windowBytes: 20_000, frameBytes: 4000, deadlineMs: 60_000 },
    })
    const follower = world.follower('b', 'a')
    await world.converge(leader, follower)
    follower.clock.pause()
    for (let round = 0; round < 100; round++) {
      await world.clock.complete(leader.set('k', `${round} ${'x'.repeat(2000)}`))
      expect(leader.followers.status()[0]?.unackedBytes).toBeLessThanOrEqual(24_000)
    }
    expect(leader.followers.status()[0]?.sent).toBeLessThan(leader.log.end.lsn)
    follower.clock.resume()
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
  })

  test('one that stands still beyond the deadline is given up, comes back by itself and goes on', async () => {
    const { world, leader, follower } = await pair()
    follower.clock.pause()
    await world.clock.complete(leader.set('a', '1'))
    await world.clock.advance(10_000)
    expect(leader.followers.status()).toEqual([])
    expect(leader.followers.absent()).toMatchObject([
      { name: 'b', state: 'disconnected', error: { code: 'PEER_SILENT' } },
    ])
    expect(leader.events.at(-1)).toMatchObject({ kind: 'left', name: 'b', error: { code: 'PEER_SILENT' } })
    follower.clock.resume()
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
  })
})

describe('connections that end', () => {
  test('a cut network is noticed by both sides, and healed by dialling again', async () => {
    const { world, leader, follower } = await pair()
    world.network.cut('a', 'b')
    await world.clock.complete(leader.set('a', '1'))
    await world.clock.advance(8000)
    expect(follower.states).toContain('disconnected PEER_SILENT')
    world.network.healAll()
    await world.converge(leader, follower)
    expect(follower.states.at(-1)).toBe('streaming')
  })

  test('a follower killed at any moment goes on from its own log', async () => {
    const world = new World()
    const leader = await world.leader('a')
    let disk: Disk = emptyDisk()
    for (let life = 0; life < 20; life++) {
      const follower = world.follower('b', 'a', disk)
      const writes = Promise.all(Array.from({ length: 10 }, (_, i) => leader.set(`k${i}`, `${life}`)))
      await world.clock.advance(world.random.between(1, 30))
      follower.clock.stop()
      world.network.crash('b')
      disk = { log: follower.log.crash(), storage: follower.storage.crash() }
      await world.clock.complete(writes)
    }
    const follower = world.follower('b', 'a', disk)
    await world.converge(leader, follower)
    expect(follower.storage.digest()).toBe(leader.storage.digest())
  })

  test('a leader that restarts begins a new epoch, and its follower goes on', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, follower)
    leader.clock.stop()
    world.network.crash('a')
    const disk = { log: leader.log.crash(), storage: leader.storage.crash() }
    const next = await world.leader('a', disk)
    await world.clock.complete(next.set('a', '2'))
    await world.converge(next, follower)
    expect(follower.storage.digest()).toBe(next.storage.digest())
    expect(follower.log.history.map(({ number }) => number)).toEqual([1, 2])
  })

  test('a follower that connects again replaces its old connection', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(follower.following.close())
    const again = world.follower('b', 'a', follower)
    await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, again)
    expect(leader.followers.status()).toHaveLength(1)
    expect(leader.followers.absent()).toEqual([])
  })

  test('a leader that takes connections and stands still is left, and dialled until it answers', async () => {
    const world = new World()
    const leader = await world.leader('a')
    leader.clock.pause()
    const follower = world.follower('b', 'a')
    await world.clock.advance(10_000)
    expect(follower.states[0]).toMatch(/^disconnected (PEER_SILENT|TIMEOUT)/)
    leader.clock.resume()
    await world.converge(leader, follower)
  })

  test('closing resolves while the leader cannot be reached, and leaves no timer behind', async () => {
    const world = new World()
    const follower = world.follower('b', 'nobody')
    await world.clock.advance(1000)
    await world.clock.complete(follower.following.close())
    await world.clock.advance(10_000)
    expect(world.clock.pending).toBe(0)
    expect(follower.states.every((state) => state.startsWith('disconnected'))).toBe(true)
  })
})

describe('histories that part', () => {
  test('after a promotion, a tail that was not applied is cut off and the follower goes on', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, follower)
    const promoted = copyOf(leader)
    // The old leader's last records reach b, durable and not applied, because the high watermark does not.
    const tail = copyOf(follower)
    tail.log.append([{ format: 65_000, flags: FLAG_CONTINUES, committedAtMs: 0, payload: new Uint8Array(5) }])
    tail.log.syncNow()
    await world.clock.complete(follower.following.close())
    world.network.crash('a')
    const next = await world.leader('d', promoted)
    await world.clock.complete(next.set('a', '2'))
    const rejoined = world.follower('b', 'd', tail)
    await world.converge(next, rejoined)
    expect(rejoined.storage.digest()).toBe(next.storage.digest())
    expect(rejoined.log.read(1)).toEqual(next.log.read(1))
  })

  /** A leader after a promotion, and a former follower of the one before that has applied what it lacks. */
  async function parted(lost: readonly string[]) {
    const { world, leader, follower } = await pair()
    await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, follower)
    const promoted = copyOf(leader)
    for (const value of lost) await world.clock.complete(leader.set('a', value))
    await world.converge(leader, follower)
    await world.clock.complete(follower.following.close())
    return { world, leader, follower, promoted, common: promoted.log.end }
  }

  test('a tail that was applied is undone, and what is lost is told first', async () => {
    const { world, leader, follower, promoted, common } = await parted(['lost', 'lost too'])
    const next = await world.leader('d', promoted)
    for (const key of ['b', 'c', 'd']) await world.clock.complete(next.set(key, 'new'))
    const told: unknown[] = []
    const rejoined = world.follower('b', 'd', follower, {
      onLosing: (from, to) => {
        expect(rejoined.storage.get('a')).toBe('lost too')
        told.push([from, to])
      },
    })
    const lateToken = rejoined.following.waitForApplied({ ...leader.log.end })
    lateToken.catch(() => undefined)
    await world.converge(next, rejoined)
    expect(told).toEqual([[common, leader.log.end]])
    expect(rejoined.storage.get('a')).toBe('1')
    expect(rejoined.storage.digest()).toBe(next.storage.digest())
    expect(rejoined.log.read(1)).toEqual(next.log.read(1))
    expect(rejoined.states).toEqual(['catchup', 'streaming'])
    // It goes on as any follower.
    await world.clock.complete(next.set('a', '3'))
    await world.converge(next, rejoined)
    expect(rejoined.storage.get('a')).toBe('3')
  })

  test('the former leader itself comes back, with its epoch', async () => {
    const { world, leader, promoted } = await parted(['lost'])
    await world.clock.complete(leader.leadership.pipeline.close())
    world.network.crash('a')
    const next = await world.leader('d', promoted)
    for (const key of ['b', 'c', 'd']) await world.clock.complete(next.set(key, 'new'))
    const rejoined = world.follower('a', 'd', leader)
    await world.converge(next, rejoined)
    expect(rejoined.storage.digest()).toBe(next.storage.digest())
    expect(rejoined.log.history).toEqual(next.log.history)
  })

  test('nothing is undone when what is lost cannot be kept', async () => {
    const { world, follower, promoted } = await parted(['lost'])
    await world.leader('d', promoted)
    const rejoined = world.follower('b', 'd', follower, {
      onLosing: () => {
        throw new UnderstudyError('DISK_FULL', 'no space')
      },
    })
    await world.clock.runUntil(() => rejoined.states.length > 0, { withinMs: 1000 })
    expect(rejoined.states).toEqual(['stopped DISK_FULL'])
    expect(rejoined.storage.get('a')).toBe('lost')
    expect(rejoined.log.end.lsn).toBe(rejoined.storage.applied.lsn)
  })

  test('a tail that cannot be undone needs a snapshot, and everything is kept', async () => {
    const { world, follower, promoted } = await parted(['lost'])
    const next = await world.leader('d', promoted)
    const rejoined = world.follower('b', 'd', follower, { formats: [memoryFormat({ pagesKey: 'a' })] })
    await world.clock.runUntil(() => rejoined.states.length > 0, { withinMs: 1000 })
    expect(rejoined.states).toEqual(['snapshotRequired FOLLOWER_AHEAD'])
    expect(rejoined.storage.get('a')).toBe('lost')
    expect(next.lost).toEqual([])
  })

  test('a leader that was restored from a copy meets a follower ahead of it, and is told to stop leading', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(leader.set('a', '1'))
    const backup = copyOf(leader)
    await world.clock.complete(leader.set('a', '2'))
    await world.converge(leader, follower)
    leader.clock.stop()
    world.network.crash('a')
    const restored = await world.leader('a', backup)
    await world.clock.runUntil(() => restored.lost.length > 0, { withinMs: 10_000 })
    expect(restored.lost[0]?.code).toBe('LEADER_LOST_RECORDS')
    await world.clock.advance(10)
    expect(follower.states).toContain('disconnected LEADER_LOST_RECORDS')
    expect(follower.storage.get('a')).toBe('2')
  })

  test('a leader of a lower epoch learns from a follower that it was replaced', async () => {
    const { world, leader, follower } = await pair()
    const promoted = copyOf(follower)
    await world.clock.complete(follower.following.close())
    await world.leader('d', promoted)
    const moved = world.follower('b', 'd', follower)
    await world.clock.runUntil(() => moved.states.includes('streaming'), { withinMs: 1000 })
    await world.clock.complete(moved.following.close())
    const back = world.follower('b', 'a', moved)
    await world.clock.runUntil(() => leader.lost.length > 0, { withinMs: 1000 })
    expect(leader.lost[0]?.code).toBe('EPOCH_STALE')
    await world.clock.advance(10)
    expect(back.states).toContain('disconnected EPOCH_STALE')
  })

  test('another cluster is refused for good', async () => {
    const world = new World()
    await world.leader('a', emptyDisk(), { cluster: 'other' })
    const follower = world.follower('b', 'a')
    await world.clock.runUntil(() => follower.states.length > 0, { withinMs: 1000 })
    expect(follower.states).toEqual(['stopped FOREIGN_CLUSTER'])
    expect(follower.log.end.lsn).toBe(0)
  })
})

describe('retention', () => {
  test('a log that was collected beyond the follower asks for a snapshot', async () => {
    const { world, leader, follower } = await pair()
    await world.clock.complete(follower.following.close())
    for (let i = 0; i < 5; i++) await world.clock.complete(leader.set('a', `${i}`))
    leader.log.collectTo(4)
    const late = world.follower('b', 'a', follower)
    await world.clock.runUntil(() => late.states.length > 0, { withinMs: 1000 })
    expect(late.states).toEqual(['snapshotRequired SNAPSHOT_REQUIRED'])
  })

  test('a slot that is lost while records flow ends the stream, and the next handshake asks for a snapshot', async () => {
    const { world, leader, follower } = await pair()
    leader.log.slots.lose('b')
    await world.clock.complete(leader.set('a', '1'))
    await world.clock.runUntil(() => follower.states.at(-1)?.startsWith('snapshotRequired') ?? false, {
      withinMs: 5000,
    })
    expect(follower.states).toEqual([
      'catchup',
      'streaming',
      'disconnected SLOT_LOST',
      'snapshotRequired SNAPSHOT_REQUIRED',
    ])
  })
})

describe('divergence', () => {
  test('a follower whose data is not the leader’s stops there, keeps everything, and says so to the leader', async () => {
    const { world, leader, follower } = await pair()
    follower.storage.connection.overwrite('a', 'edited here')
    await world.clock.complete(leader.set('b', '1'))
    await world.clock.complete(leader.set('a', '1'))
    const waiting = outcomeOf(follower.following.waitForApplied({ epoch: 1, lsn: 4 }, { timeoutMs: 60_000 }))
    await world.clock.complete(leader.set('b', '2'))
    await world.clock.runUntil(() => follower.states.includes('diverged DIVERGED'), { withinMs: 5000 })
    // Nobody waits for what will never be applied.
    expect(await waiting).toMatch(/^DIVERGED 1\/3/)
    expect(await outcomeOf(follower.following.waitForApplied({ epoch: 1, lsn: 4 }))).toMatch(/^DIVERGED/)
    expect(follower.storage.applied.lsn).toBe(2)
    expect(follower.following.report().lastError).toMatchObject({
      code: 'DIVERGED',
      position: { epoch: 1, lsn: 3 },
    })
    await world.clock.advance(10_000)
    expect(leader.events.at(-1)).toMatchObject({ kind: 'left', error: { code: 'DIVERGED' } })
    expect(leader.followers.absent()).toMatchObject([{ name: 'b', state: 'diverged' }])
    leader.log.slots.drop('b')
    expect(leader.followers.absent()).toEqual([])
    expect(follower.storage.get('b')).toBe('1')
  })

  test('a log that fails stops the follower', async () => {
    const { world, leader, follower } = await pair()
    follower.log.nextSyncError = new UnderstudyError('LOG_FAILED', 'EIO')
    await world.clock.complete(leader.set('b', '1'))
    await world.clock.runUntil(() => follower.states.includes('stopped LOG_FAILED'), { withinMs: 5000 })
    expect(follower.storage.applied.lsn).toBe(1)
  })
})

describe('waiting for a position', () => {
  test('resolves when it is applied, at once when it is already', async () => {
    const { world, leader, follower } = await pair()
    world.network.cut('a', 'b')
    const point = await world.clock.complete(leader.set('a', '1'))
    const wait = follower.following.waitForApplied(point)
    await world.clock.advance(100)
    expect(follower.storage.get('a')).toBeUndefined()
    world.network.healAll()
    await world.clock.complete(wait)
    expect(follower.storage.get('a')).toBe('1')
    await follower.following.waitForApplied(point)
    await follower.following.waitForApplied({ epoch: 0, lsn: 0 })
  })

  test('ends with TIMEOUT, ABORTED or CLOSED, and leaves no timer behind', async () => {
    const { world, leader, follower } = await pair()
    const later = { epoch: 1, lsn: leader.log.end.lsn + 1 }
    expect(
      await world.clock.complete(outcomeOf(follower.following.waitForApplied(later, { timeoutMs: 50 }))),
    ).toBe('TIMEOUT 1/2')
    const abort = new AbortController()
    const aborted = outcomeOf(follower.following.waitForApplied(later, { signal: abort.signal }))
    abort.abort(new Error('enough'))
    expect(await aborted).toBe('ABORTED <- enough')
    const closed = outcomeOf(follower.following.waitForApplied(later))
    await world.clock.complete(follower.following.close())
    expect(await closed).toBe('CLOSED')
  })

  test('rejects a position that is not in this history', async () => {
    const { world, leader, follower } = await pair()
    const point = await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, follower)
    expect(await outcomeOf(follower.following.waitForApplied({ ...point, crc: point.crc + 1 }))).toBe(
      'POSITION_LOST 1/2',
    )
    leader.clock.stop()
    world.network.crash('a')
    const next = await world.leader('a', { log: leader.log.crash(), storage: leader.storage.crash() })
    const lost = outcomeOf(follower.following.waitForApplied({ epoch: 1, lsn: 3 }))
    await world.converge(next, follower)
    expect(await lost).toBe('POSITION_LOST 1/3')
  })

  test('an epoch that it has not heard of may be ahead of it; another run of one that it knows is lost at once', async () => {
    const { world, leader, follower } = await pair()
    const point = await world.clock.complete(leader.set('a', '1'))
    await world.converge(leader, follower)
    const runId = follower.log.history.at(-1)?.runId ?? ''
    const wait = (token: PositionToken): Promise<string> =>
      world.clock.complete(outcomeOf(follower.following.waitForApplied(token, { timeoutMs: 50 })))
    // Below its own end, too: what stands there may be about to be undone.
    expect(await wait({ epoch: 2, lsn: 1 })).toBe('TIMEOUT 2/1')
    expect(await wait({ epoch: 2, lsn: 99 })).toBe('TIMEOUT 2/99')
    expect(await wait({ epoch: 1, lsn: 99, runId })).toBe('TIMEOUT 1/99')
    const other = 'f'.repeat(16)
    expect(await wait({ epoch: 1, lsn: 99, runId: other })).toBe('POSITION_LOST 1/99')
    expect(await wait({ ...point, runId: other })).toBe('POSITION_LOST 1/2')
    await follower.following.waitForApplied({ ...point, runId })
  })
})
