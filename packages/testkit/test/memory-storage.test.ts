import { describe, expect, test } from 'vitest'
import type { LogPoint } from '@understudy/contracts'
import {
  memoryFormat,
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  type MemoryTransaction,
} from '@understudy/testkit'

function point(lsn: number): LogPoint {
  return { epoch: 1, lsn, crc: lsn * 7 }
}

/** One group on the leader; returns its payloads. */
function group(
  leader: MemoryStorage,
  lsn: number,
  ...bodies: ((tx: MemoryTransaction) => void)[]
): readonly Uint8Array[] {
  const recorder = memoryFormat().recorder(leader.connection)
  leader.begin()
  recorder.beginGroup()
  for (const body of bodies) {
    try {
      leader.write(body, recorder)
    } catch {
      // A write that fails leaves the others alone.
    }
  }
  const payloads = recorder.finishGroup()
  leader.mark(point(lsn))
  leader.commit()
  return payloads
}

function apply(follower: MemoryStorage, lsn: number, payloads: readonly Uint8Array[]): void {
  const applier = memoryFormat().applier(follower.connection)
  follower.begin()
  try {
    applier.prepare()
    for (const payload of payloads) applier.apply(payload)
    follower.mark(point(lsn))
    follower.commit()
  } finally {
    follower.rollback()
  }
}

describe('memory format', () => {
  test('a follower that applies every payload equals the leader', () => {
    const random = new SeededRandom('replicate')
    const leader = new MemoryStorage()
    const follower = new MemoryStorage()
    for (let lsn = 1; lsn <= 200; lsn++) {
      const bodies = Array.from({ length: 1 + random.below(5) }, () => (tx: MemoryTransaction) => {
        for (let count = random.below(4); count >= 0; count--) {
          const key = `k${random.below(20)}`
          if (random.chance(0.3)) tx.delete(key)
          else tx.set(key, `${lsn} ${random.below(3)} ü€😀`)
        }
        if (random.chance(0.2)) throw new Error('undone')
      })
      apply(follower, lsn, group(leader, lsn, ...bodies))
      expect(follower.digest()).toBe(leader.digest())
    }
    expect(leader.connection.committedEntries().length).toBeGreaterThan(3)
  })

  test('applying twice, leaving one out and changing the order are DIVERGED, and change nothing', () => {
    const leader = new MemoryStorage()
    const payloads = [1, 2, 3].map((lsn) => group(leader, lsn, (tx) => tx.set('a', `${lsn}`)))
    const [first = [], second = [], third = []] = payloads
    const follower = new MemoryStorage()
    const diverged = expect.objectContaining({ code: 'DIVERGED' })
    expect(() => apply(follower, 2, second)).toThrow(diverged)
    apply(follower, 1, first)
    expect(() => apply(follower, 1, first)).toThrow(diverged)
    expect(() => apply(follower, 3, third)).toThrow(diverged)
    expect(follower.get('a')).toBe('1')
    expect(follower.applied).toEqual(point(1))
    apply(follower, 2, second)
    apply(follower, 3, third)
    expect(follower.digest()).toBe(leader.digest())
  })

  test('a payload holds the net change: what came to nothing is not in it', () => {
    const leader = new MemoryStorage()
    group(leader, 1, (tx) => tx.set('kept', 'old'))
    const nothing = group(leader, 2, (tx) => {
      tx.set('new', 'x')
      tx.delete('new')
      tx.set('kept', 'other')
      tx.set('kept', 'old')
    })
    expect(nothing).toEqual([])
    const [payload] = group(
      leader,
      3,
      (tx) => tx.set('kept', '1'),
      (tx) => tx.set('kept', '2'),
    )
    expect(memoryFormat().describe?.(payload as Uint8Array)).toEqual([
      { key: 'kept', before: 'old', after: '2' },
    ])
  })

  test('a group can be split over several payloads', () => {
    const leader = new MemoryStorage()
    const follower = new MemoryStorage()
    const recorder = memoryFormat({ changesPerPayloadMax: 2 }).recorder(leader.connection)
    leader.begin()
    recorder.beginGroup()
    leader.write((tx) => ['a', 'b', 'c', 'd', 'e'].forEach((key) => tx.set(key, key)), recorder)
    const payloads = recorder.finishGroup()
    leader.commit()
    expect(payloads).toHaveLength(3)
    apply(follower, 1, payloads)
    expect(follower.digest()).toBe(leader.digest())
  })

  test('damaged payloads are RECORD_CORRUPT or apply to nothing, never something else than an error of ours', () => {
    const leader = new MemoryStorage()
    const [payload = new Uint8Array(0)] = group(leader, 1, (tx) => {
      tx.set('key one', 'value one')
      tx.set('key two', 'value two')
    })
    for (let length = 0; length < payload.byteLength; length++) {
      const cut = payload.subarray(0, length)
      expect(() => memoryFormat().describe?.(cut)).toThrow(
        expect.objectContaining({ code: 'RECORD_CORRUPT' }),
      )
    }
    expect(() => memoryFormat().describe?.(Buffer.concat([payload, Buffer.of(0)]))).toThrow('bytes follow')
    expect(() => memoryFormat().describe?.(Buffer.alloc(9, 0xff))).toThrow(
      expect.objectContaining({ code: 'RECORD_CORRUPT' }),
    )
  })

  test('hooks and calls out of order are refused', () => {
    const storage = new MemoryStorage()
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
    const recorder = memoryFormat().recorder(storage.connection)
    for (const call of ['beginWrite', 'endWrite', 'finishGroup'] as const)
      expect(() => recorder[call]()).toThrow(refused)
    recorder.beginGroup()
    expect(() => recorder.beginGroup()).toThrow(refused)
    recorder.beginWrite()
    expect(() => recorder.finishGroup()).toThrow(refused)
    const applier = memoryFormat().applier(storage.connection)
    expect(() => applier.prepare()).toThrow(refused)
    storage.begin()
    expect(() => applier.apply(new Uint8Array(1))).toThrow(refused)
    applier.prepare()
    applier.prepare()
    applier.apply(new Uint8Array(1))
    applier.restore()
    applier.restore()
    storage.commit()
  })
})

describe('what an applier prepared', () => {
  const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
  const inTransaction = (storage: MemoryStorage, run: () => void): void => {
    storage.begin()
    try {
      run()
      storage.commit()
    } finally {
      storage.rollback()
    }
  }

  test('stays over restarts and in snapshots until it is restored; a crash takes it back with its commit', async () => {
    const storage = new MemoryStorage()
    inTransaction(storage, () => memoryFormat().applier(storage.connection).prepare())
    expect(storage.crash({ kept: 0 }).connection.prepared).toBe(false)
    const other = new MemoryStorage()
    inTransaction(other, () => memoryFormat().applier(other.connection).prepare())
    const survivor = other.kill()
    expect(survivor.connection.preparedFor).toBe('memory')
    await using snapshot = await survivor.snapshot()
    const image = new Uint8Array(snapshot.totalBytes)
    await snapshot.read(image, 0)
    expect(MemoryStorage.fromImage(image).connection.preparedFor).toBe('memory')
    inTransaction(survivor, () => memoryFormat().applier(survivor.connection).restore())
    expect(survivor.connection.prepared).toBe(false)
  })

  test('keeps recorders and appliers of other formats out', () => {
    const storage = new MemoryStorage()
    const other = memoryFormat({ id: 65_010 })
    const leader = new MemoryStorage()
    const [payload] = group(leader, 1, (tx) => tx.set('a', '1'))
    inTransaction(storage, () => memoryFormat().applier(storage.connection).prepare())
    expect(() => memoryFormat().recorder(storage.connection).beginGroup()).toThrow(refused)
    expect(() => inTransaction(storage, () => other.applier(storage.connection).prepare())).toThrow(refused)
    expect(() =>
      inTransaction(storage, () => other.applier(storage.connection).apply(payload as Uint8Array)),
    ).toThrow(refused)
    inTransaction(storage, () => other.applier(storage.connection).restore())
    expect(storage.connection.prepared).toBe(true)
    expect(() => other.describe?.(payload as Uint8Array)).toThrow(
      expect.objectContaining({ code: 'RECORD_CORRUPT' }),
    )
  })
})

describe('memory storage', () => {
  function committed(count: number, random: SeededRandom): MemoryStorage {
    const storage = new MemoryStorage({ random })
    for (let lsn = 1; lsn <= count; lsn++) group(storage, lsn, (tx) => tx.set('last', `${lsn}`))
    return storage
  }

  test('a crash can lose any number of commits since the checkpoint, and none before', async () => {
    const found = new Set<number>()
    for (let seed = 0; seed < 80; seed++) {
      const storage = committed(3, new SeededRandom(seed))
      expect(await storage.checkpoint()).toEqual(point(3))
      for (const lsn of [4, 5, 6]) group(storage, lsn, (tx) => tx.set('last', `${lsn}`))
      const survivor = storage.crash()
      expect(survivor.get('last')).toBe(`${survivor.applied.lsn}`)
      found.add(survivor.applied.lsn)
      expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    }
    expect([...found].sort((a, b) => a - b)).toEqual([3, 4, 5, 6])
  })

  test('a kill loses nothing, and a power loss after it can still take back what was not checkpointed', async () => {
    const storage = new MemoryStorage()
    group(storage, 1, (tx) => tx.set('a', '1'))
    storage.begin()
    storage.connection.set('a', 'open')
    const survivor = storage.kill()
    expect([survivor.applied.lsn, survivor.get('a')]).toEqual([1, '1'])
    expect(() => storage.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    expect(survivor.crash({ kept: 0 }).applied.lsn).toBe(0)
  })

  test('a crash during a checkpoint may lose what that one would have made durable', async () => {
    const clock = new SimulatedClock()
    const storage = new MemoryStorage({ clock, checkpointMs: 10 })
    group(storage, 1, (tx) => tx.set('a', '1'))
    const checkpoint = storage.checkpoint()
    await clock.advance(9)
    expect(storage.crash({ kept: 0 }).applied.lsn).toBe(0)
    await clock.advance(10)
    expect(await checkpoint).toBeUndefined()
  })

  test('commits made during a checkpoint are not covered by it', async () => {
    const clock = new SimulatedClock()
    const storage = new MemoryStorage({ clock })
    group(storage, 1, (tx) => tx.set('a', '1'))
    const checkpoint = storage.checkpoint()
    group(storage, 2, (tx) => tx.set('a', '2'))
    expect(await clock.complete(checkpoint)).toEqual(point(1))
    expect(storage.uncheckpointedBytes).toBeGreaterThan(0)
    const survivor = storage.crash({ kept: 0 })
    expect([survivor.applied.lsn, survivor.get('a')]).toEqual([1, '1'])
  })

  test('an open snapshot holds checkpoints back', async () => {
    const storage = committed(2, new SeededRandom(1))
    const snapshot = await storage.snapshot()
    expect(await storage.checkpoint()).toBeUndefined()
    await snapshot.close()
    expect(await storage.checkpoint()).toEqual(point(2))
  })

  test('a COMMIT that is made to fail stops the storage; a restart finds the state before', () => {
    const storage = committed(2, new SeededRandom(1))
    storage.failCommit()
    const failed = expect.objectContaining({ code: 'STORAGE_FAILED' })
    expect(() => group(storage, 3, (tx) => tx.set('last', 'never'))).toThrow(failed)
    expect(() => storage.begin()).toThrow(failed)
    const survivor = storage.crash({ kept: 2 })
    expect([survivor.applied.lsn, survivor.get('last')]).toEqual([2, '2'])
    group(survivor, 3, (tx) => tx.set('last', '3'))
  })

  test('the digest tells data apart, and ignores how it came about', () => {
    const one = new MemoryStorage()
    const two = new MemoryStorage()
    group(
      one,
      1,
      (tx) => tx.set('a', '1'),
      (tx) => tx.set('b', '2'),
    )
    group(
      two,
      5,
      (tx) => tx.set('b', '2'),
      (tx) => tx.set('c', '3'),
    )
    expect(one.digest()).not.toBe(two.digest())
    group(
      two,
      6,
      (tx) => tx.set('a', '1'),
      (tx) => void tx.delete('c'),
    )
    expect(one.digest()).toBe(two.digest())
    two.begin()
    expect(one.digest()).toBe(two.digest())
  })

  test('equal data at equal positions give equal images; a damaged image is refused', async () => {
    const imageOf = async (storage: MemoryStorage): Promise<Uint8Array> => {
      await using snapshot = await storage.snapshot()
      const image = new Uint8Array(snapshot.totalBytes)
      await snapshot.read(image, 0)
      return image
    }
    const image = await imageOf(committed(3, new SeededRandom(1)))
    expect(await imageOf(MemoryStorage.fromImage(image))).toEqual(image)
    const refused = expect.objectContaining({ code: 'FILE_MALFORMED' })
    for (const at of [0, 9, 13, 20]) {
      const damaged = image.slice()
      damaged[at] = (damaged[at] ?? 0) ^ 0x10
      expect(() => MemoryStorage.fromImage(damaged)).toThrow(refused)
    }
    expect(() => MemoryStorage.fromImage(image.subarray(0, 10))).toThrow(refused)
  })
})
