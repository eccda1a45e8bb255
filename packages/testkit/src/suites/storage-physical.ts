/** Storage suite: positions of physical transactions, which are settled by whoever has the log. */
import { expect, test } from 'vitest'
import { ORIGIN } from '@understudy/contracts'
import { readImage } from './snapshot-image.ts'
import { pointAt, type StorageBench } from './storage-bench.ts'
import type { StorageUnderTest } from './storage.ts'

/** What a storage says of its position. */
function standing<C, T>({ storage }: { readonly storage: StorageUnderTest<C, T>['storage'] }): unknown[] {
  return [storage.applied, storage.physical, storage.ahead]
}

export function physicalTests<C, T>(bench: StorageBench<C, T>): void {
  test('a new storage is not physical', () => {
    expect(standing(bench)).toEqual([ORIGIN, false, false])
    bench.commit('a', 'one', pointAt(1))
    expect(standing(bench)).toEqual([pointAt(1), false, false])
  })

  test('a physical transaction is ahead of the position that it comes after, from its COMMIT until it is settled', () => {
    bench.commit('a', 'one', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'two')
    bench.storage.markBefore(pointAt(1))
    expect(standing(bench)).toEqual([pointAt(1), false, false])
    bench.storage.commit()
    expect(standing(bench)).toEqual([pointAt(1), true, true])
    expect(bench.under.read('a')).toBe('two')
    bench.storage.settle(pointAt(2))
    expect(standing(bench)).toEqual([pointAt(2), true, false])
  })

  test('the position moves on without a transaction, and the next physical one goes on from there', () => {
    bench.commitBefore('a', 'one', ORIGIN)
    bench.storage.settle(pointAt(1))
    bench.storage.settle(pointAt(2))
    expect(standing(bench)).toEqual([pointAt(2), true, false])
    bench.commitBefore('a', 'two', pointAt(2))
    expect(standing(bench)).toEqual([pointAt(2), true, true])
    bench.storage.settle(pointAt(3))
    expect(standing(bench)).toEqual([pointAt(3), true, false])
  })

  test('a rolled back physical transaction leaves everything as it was', () => {
    bench.commit('a', 'one', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'gone')
    bench.storage.markBefore(pointAt(1))
    bench.storage.rollback()
    expect(standing(bench)).toEqual([pointAt(1), false, false])
    bench.commitBefore('a', 'two', pointAt(1))
    bench.storage.settle(pointAt(2))
    bench.storage.begin()
    bench.put('a', 'gone')
    bench.storage.markBefore(pointAt(2))
    bench.storage.rollback()
    expect(standing(bench)).toEqual([pointAt(2), true, false])
    expect(bench.under.read('a')).toBe('two')
  })

  test('a transaction that stores its own position ends that the storage is physical', () => {
    bench.commitBefore('a', 'one', ORIGIN)
    bench.storage.settle(pointAt(1))
    bench.commit('a', 'two', pointAt(2))
    expect(standing(bench)).toEqual([pointAt(2), false, false])
  })

  test('of mark and markBefore in one transaction the last one counts', () => {
    bench.storage.begin()
    bench.storage.mark(pointAt(1))
    bench.put('a', 'one')
    bench.storage.markBefore(pointAt(2))
    bench.storage.commit()
    expect(standing(bench)).toEqual([pointAt(2), true, true])
    bench.storage.settle(pointAt(3))
    bench.storage.begin()
    bench.storage.markBefore(pointAt(3))
    bench.storage.mark(pointAt(4))
    bench.storage.commit()
    expect(standing(bench)).toEqual([pointAt(4), false, false])
  })

  test('settling out of turn throws and changes nothing', () => {
    expect(() => bench.storage.markBefore(pointAt(1))).toThrow(Error)
    expect(() => bench.storage.settle(pointAt(1))).toThrow(Error)
    bench.commit('a', 'one', pointAt(1))
    expect(() => bench.storage.settle(pointAt(2))).toThrow(Error)
    bench.commitBefore('a', 'two', pointAt(1))
    bench.storage.settle(pointAt(2))
    bench.storage.begin()
    expect(() => bench.storage.settle(pointAt(3))).toThrow(Error)
    bench.storage.rollback()
    expect(standing(bench)).toEqual([pointAt(2), true, false])
  })
}

export function physicalDurabilityTests<C, T>(bench: StorageBench<C, T>): void {
  test('a checkpoint claims the stored position of a physical storage, not the settled one', async () => {
    bench.commit('a', 'one', pointAt(1))
    bench.commitBefore('a', 'two', pointAt(1))
    bench.storage.settle(pointAt(2))
    bench.storage.settle(pointAt(3))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(1))
    bench.commitBefore('a', 'three', pointAt(3))
    bench.storage.settle(pointAt(4))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(3))
    expect(standing(bench)).toEqual([pointAt(4), true, false])
  })

  test('after a crash the stored position counts, and the storage is ahead of it', async (context) => {
    if (bench.under.crash === undefined) {
      context.skip()
      return
    }
    bench.commitBefore('a', 'one', ORIGIN)
    bench.storage.settle(pointAt(1))
    bench.commitBefore('a', 'two', pointAt(1))
    bench.storage.settle(pointAt(2))
    bench.storage.settle(pointAt(3))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(1))
    const survivor = await bench.crash()
    expect(standing(survivor)).toEqual([pointAt(1), true, true])
    expect(survivor.read('a')).toBe('two')
    bench.storage.settle(pointAt(3))
    expect(standing(bench)).toEqual([pointAt(3), true, false])
  })

  test('a crash takes back what a transaction says of being physical, with its data', async (context) => {
    if (bench.under.crash === undefined) {
      context.skip()
      return
    }
    bench.commit('last', '0', pointAt(1))
    await bench.storage.checkpoint()
    let lsn = 1
    for (let round = 0; round < 12; round++) {
      // Physical and not by turns; the value says what the note beside it must be.
      for (let count = 0; count < 3; count++) {
        const after = pointAt(lsn)
        lsn += 1
        if (count < 2) {
          bench.commitBefore('last', `after ${after.lsn}`, after)
          bench.storage.settle(pointAt(lsn))
        } else {
          bench.commit('last', `at ${lsn}`, pointAt(lsn))
        }
      }
      const survivor = await bench.crash()
      const { applied, physical, ahead } = survivor.storage
      expect(applied).toEqual(pointAt(applied.lsn))
      expect(ahead).toBe(physical)
      const expected = physical ? `after ${applied.lsn}` : applied.lsn === 1 ? '0' : `at ${applied.lsn}`
      expect(survivor.read('last')).toBe(expected)
      lsn = applied.lsn + (ahead ? 1 : 0)
      if (ahead) bench.storage.settle(pointAt(lsn))
      await bench.storage.checkpoint()
    }
  })
}

export function physicalSnapshotTests<C, T>(bench: StorageBench<C, T>): void {
  test('a snapshot of a physical storage is at the settled position; its image holds the stored one', async (context) => {
    const { openImage } = bench.under
    if (openImage === undefined) {
      context.skip()
      return
    }
    bench.commit('a', 'one', pointAt(1))
    bench.commitBefore('a', 'two', pointAt(1))
    bench.storage.settle(pointAt(2))
    bench.storage.settle(pointAt(3))
    const snapshot = await bench.storage.snapshot()
    expect(snapshot.point).toEqual(pointAt(3))
    const bytes = await readImage(snapshot, 8)
    await snapshot.close()
    const copy = bench.also(await openImage(bytes))
    expect(standing(copy)).toEqual([pointAt(1), true, true])
    expect(copy.read('a')).toBe('two')
    copy.storage.settle(pointAt(3))
    expect(standing(copy)).toEqual([pointAt(3), true, false])
  })

  test('a snapshot waits until a storage that is ahead was settled', async (context) => {
    const { openImage } = bench.under
    if (openImage === undefined) {
      context.skip()
      return
    }
    bench.commitBefore('a', 'one', ORIGIN)
    let isThere = false
    const waiting = bench.storage.snapshot().then((snapshot) => {
      isThere = true
      return snapshot
    })
    for (let turn = 0; turn < 20; turn++) {
      await new Promise<void>((resolve) => {
        setImmediate(resolve)
      })
    }
    expect(isThere).toBe(false)
    bench.storage.settle(pointAt(1))
    const snapshot = await waiting
    expect(snapshot.point).toEqual(pointAt(1))
    const bytes = await readImage(snapshot, 8)
    await snapshot.close()
    expect(bench.also(await openImage(bytes)).read('a')).toBe('one')
  })

  test('closing the storage ends a snapshot that waits', async () => {
    bench.commitBefore('a', 'one', ORIGIN)
    const waiting = bench.storage.snapshot()
    const closed = bench.storage.close()
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' })
    await closed
  })
}
