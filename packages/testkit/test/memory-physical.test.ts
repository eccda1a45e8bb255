import { describe, expect, test } from 'vitest'
import type { LogPoint } from '@understudy/contracts'
import { memoryFormat, MemoryStorage, SeededRandom, type MemoryTransaction } from '@understudy/testkit'

const FORMAT = memoryFormat({ physical: true })

function point(lsn: number): LogPoint {
  return { epoch: 1, lsn, crc: lsn * 7 }
}

/** One physical group on the leader, right after its position; its record, which is not settled yet. */
function commit(
  leader: MemoryStorage,
  body: (tx: MemoryTransaction) => void,
  format = FORMAT,
): readonly Uint8Array[] {
  const recorder = format.recorder(leader.connection)
  leader.begin()
  recorder.beginGroup()
  leader.write(body, recorder)
  expect(recorder.changed?.()).toBe(true)
  leader.markBefore(leader.applied)
  leader.commit()
  return recorder.finishGroup()
}

/** As `commit`, and the position of its record is settled. */
function group(leader: MemoryStorage, body: (tx: MemoryTransaction) => void): Uint8Array {
  const [payload] = commit(leader, body)
  leader.settle(point(leader.applied.lsn + 1))
  return payload as Uint8Array
}

function apply(follower: MemoryStorage, lsn: number, ...payloads: readonly Uint8Array[]): void {
  const applier = FORMAT.applier(follower.connection)
  follower.begin()
  try {
    applier.prepare()
    for (const payload of payloads) applier.apply(payload)
    follower.commit()
  } finally {
    follower.rollback()
  }
  follower.settle(point(lsn))
}

/** A leader that is physical already, and a copy of it. */
async function pair(): Promise<{ leader: MemoryStorage; follower: MemoryStorage }> {
  const leader = new MemoryStorage()
  group(leader, (tx) => tx.set('a', '0'))
  return { leader, follower: await copyOf(leader) }
}

async function copyOf(leader: MemoryStorage): Promise<MemoryStorage> {
  await using snapshot = await leader.snapshot()
  const image = new Uint8Array(snapshot.totalBytes)
  await snapshot.read(image, 0)
  const copy = MemoryStorage.fromImage(image)
  copy.settle(snapshot.point)
  return copy
}

const diverged = expect.objectContaining({ code: 'DIVERGED' })
const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' })

describe('physical memory format', () => {
  test('a follower that began as a copy ends like the leader, its stored position included', async () => {
    const { leader, follower } = await pair()
    const random = new SeededRandom('pages')
    for (let lsn = 2; lsn <= 100; lsn++) {
      const payload = group(leader, (tx) => {
        for (let count = random.below(4); count >= 0; count--) {
          const key = `k${random.below(10)}`
          if (random.chance(0.3)) tx.delete(key)
          else tx.set(key, `${lsn}`)
        }
        tx.set('always', `${lsn}`)
      })
      apply(follower, lsn, payload)
      expect(follower.digest()).toBe(leader.digest())
      expect(follower.connection.committedNote).toEqual(leader.connection.committedNote)
      expect([follower.applied, follower.ahead]).toEqual([point(lsn), false])
    }
  })

  test('several records can share one transaction of a follower', async () => {
    const { leader, follower } = await pair()
    const payloads = ['1', '2', '3'].map((value) => group(leader, (tx) => tx.set('a', value)))
    apply(follower, 4, ...payloads)
    expect(follower.kill().applied).toEqual(point(3))
    expect(follower.get('a')).toBe('3')
  })

  test('twice, one left out, and another file are DIVERGED and change nothing', async () => {
    const { leader, follower } = await pair()
    const [first, second] = ['1', '2'].map((value) => group(leader, (tx) => tx.set('a', value))) as [
      Uint8Array,
      Uint8Array,
    ]
    expect(() => apply(follower, 3, second)).toThrow(diverged)
    apply(follower, 2, first)
    expect(() => apply(follower, 2, first)).toThrow(diverged)
    expect([follower.get('a'), follower.applied.lsn, follower.ahead]).toEqual(['1', 2, false])
    const other = new MemoryStorage()
    group(other, (tx) => tx.set('a', 'other'))
    other.settle(point(1))
    expect(() => apply(other, 2, first)).toThrow(diverged)
    apply(follower, 3, second)
    expect(follower.digest()).toBe(leader.digest())
  })

  test('a storage that is not physical is the mistake of the caller', async () => {
    const { leader } = await pair()
    const payload = group(leader, (tx) => tx.set('a', '1'))
    expect(() => apply(new MemoryStorage(), 2, payload)).toThrow(refused)
  })

  test('holds tells whether the storage is exactly as a payload left it', async () => {
    const { leader, follower } = await pair()
    const base = FORMAT.recorder(leader.connection).base?.() as Uint8Array
    const payload = group(leader, (tx) => tx.set('a', '1'))
    const holds = (storage: MemoryStorage, bytes: Uint8Array): boolean | undefined =>
      FORMAT.applier(storage.connection).holds?.(bytes)
    expect([holds(leader, payload), holds(follower, payload)]).toEqual([true, false])
    expect([holds(leader, base), holds(follower, base)]).toEqual([false, true])
    apply(follower, 2, payload)
    expect(holds(follower, payload)).toBe(true)
    group(leader, (tx) => tx.set('b', '1'))
    expect(holds(leader, payload)).toBe(false)
  })

  test('a base cannot be applied: the follower needs the whole storage', async () => {
    const { leader, follower } = await pair()
    const base = FORMAT.recorder(leader.connection).base?.() as Uint8Array
    expect(() => apply(follower, 2, base)).toThrow(expect.objectContaining({ code: 'SNAPSHOT_REQUIRED' }))
    expect(FORMAT.describe?.(base)).toEqual({ base: leader.digest() })
  })

  test('a transaction that a crash kept out of the log is found again, and lets followers go on', async () => {
    for (const end of ['kill', 'crash'] as const) {
      const { leader, follower } = await pair()
      await leader.checkpoint()
      commit(leader, (tx) => {
        tx.set('a', 'lost?')
        tx.set('b', 'lost?')
      })
      const survivor = end === 'kill' ? leader.kill() : leader.crash({ kept: 1 })
      expect([survivor.applied, survivor.ahead]).toEqual([point(1), true])
      const payloads = FORMAT.recorder(survivor.connection).recover?.() ?? []
      expect(payloads).toHaveLength(1)
      expect(FORMAT.applier(survivor.connection).holds?.(payloads[0] as Uint8Array)).toBe(true)
      survivor.settle(point(2))
      apply(follower, 2, ...payloads)
      expect(follower.digest()).toBe(survivor.digest())
      apply(
        follower,
        3,
        group(survivor, (tx) => tx.set('c', 'next')),
      )
      expect(follower.digest()).toBe(survivor.digest())
    }
  })

  test('what one restart found, the next one finds, until a checkpoint', async () => {
    const { leader } = await pair()
    commit(leader, (tx) => tx.set('a', 'lost?'))
    const again = leader.crash({ kept: 2 }).kill().crash()
    expect(FORMAT.recorder(again.connection).recover?.()).toHaveLength(1)
    expect(again.get('a')).toBe('lost?')
    await again.checkpoint()
    expect(FORMAT.recorder(again.kill().connection).recover?.()).toEqual([])
  })

  test('what a checkpoint took is not found again: only a base helps', async () => {
    const { leader } = await pair()
    commit(leader, (tx) => tx.set('a', 'lost?'))
    await leader.checkpoint()
    const survivor = leader.crash()
    expect(survivor.ahead).toBe(true)
    expect(FORMAT.recorder(survivor.connection).recover?.()).toEqual([])
  })

  test('a group with too many changes becomes no payload', () => {
    const format = memoryFormat({ physical: true, changesMax: 2 })
    const leader = new MemoryStorage()
    const write =
      (keys: string) =>
      (tx: MemoryTransaction): void => {
        for (const key of keys) tx.set(key, keys)
      }
    expect(commit(leader, write('ab'), format)).toHaveLength(1)
    leader.settle(point(1))
    expect(commit(leader, write('abc'), format)).toEqual([])
  })

  test('damaged payloads are RECORD_CORRUPT', () => {
    const [payload = new Uint8Array(0)] = commit(new MemoryStorage(), (tx) => tx.set('key', 'value'))
    const corrupt = expect.objectContaining({ code: 'RECORD_CORRUPT' })
    for (let length = 0; length < payload.byteLength; length++)
      expect(() => FORMAT.describe?.(payload.subarray(0, length))).toThrow(corrupt)
    expect(() => FORMAT.describe?.(Buffer.concat([payload, Buffer.of(0)]))).toThrow(corrupt)
    expect(() => FORMAT.describe?.(Buffer.of(9))).toThrow(corrupt)
  })

  test('calls out of order are refused', () => {
    const storage = new MemoryStorage()
    const recorder = FORMAT.recorder(storage.connection)
    expect(() => recorder.finishGroup()).toThrow(refused)
    storage.begin()
    recorder.beginGroup()
    storage.write((tx) => tx.set('a', '1'), recorder)
    expect(() => recorder.finishGroup()).toThrow(refused)
    storage.mark(point(1))
    storage.commit()
    expect(() => recorder.finishGroup()).toThrow(refused)
  })

  test('a physical storage refuses the COMMIT of changes without a note', async () => {
    const { leader } = await pair()
    leader.begin()
    leader.connection.set('a', 'unnoted')
    expect(() => leader.commit()).toThrow(refused)
    leader.rollback()
    leader.begin()
    leader.commit()
    expect([leader.get('a'), leader.applied]).toEqual(['0', point(1)])
  })
})
