/** Storage suite: what checkpoints make durable, what crashes may take, what snapshots hold. */
import { expect, test } from 'vitest'
import { ORIGIN } from '@understudy/contracts'
import { SeededRandom } from '../random.ts'
import { readImage } from './snapshot-image.ts'
import { pointAt, type StorageBench } from './storage-bench.ts'

export function durabilityTests<C, T>(bench: StorageBench<C, T>): void {
  test('checkpoint resolves with the position that is durable', async () => {
    bench.commit('a', 'one', pointAt(1))
    expect(bench.storage.uncheckpointedBytes).toBeGreaterThan(0)
    bench.commit('a', 'two', pointAt(2))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(2))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(2))
  })

  test('writes go on during a checkpoint; its position does not claim them', async () => {
    bench.commit('a', 'one', pointAt(1))
    const checkpoint = bench.storage.checkpoint()
    bench.commit('a', 'two', pointAt(2))
    const durable = await checkpoint
    if (durable !== undefined) expect(durable.lsn).toBeLessThanOrEqual(2)
    expect(bench.under.read('a')).toBe('two')
    expect(bench.storage.applied).toEqual(pointAt(2))
  })

  test('a checkpoint during an open transaction does not claim its position', async () => {
    bench.commit('a', 'one', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'two')
    bench.storage.mark(pointAt(2))
    const durable = await bench.storage.checkpoint()
    if (durable !== undefined) expect(durable).toEqual(pointAt(1))
    bench.storage.commit()
    expect(bench.under.read('a')).toBe('two')
  })

  test('a crash loses a suffix of the commits since the checkpoint, each with its position, and nothing else', async (context) => {
    if (bench.under.crash === undefined) {
      context.skip()
      return
    }
    let lsn = 0
    for (let round = 0; round < 5; round++) {
      for (let count = 0; count < 4; count++) {
        lsn += 1
        bench.commit(`key ${lsn}`, `value ${lsn}`, pointAt(lsn))
      }
      const durable = await bench.storage.checkpoint()
      for (let count = 0; count < 4; count++) {
        lsn += 1
        bench.commit(`key ${lsn}`, `value ${lsn}`, pointAt(lsn))
      }
      // Left open: gone after the crash.
      bench.storage.begin()
      bench.put('open', 'never')
      const last = lsn
      const survivor = await bench.crash()
      const { applied } = survivor.storage
      expect(applied).toEqual(applied.lsn === 0 ? ORIGIN : pointAt(applied.lsn))
      expect(applied.lsn).toBeGreaterThanOrEqual(durable?.lsn ?? 0)
      for (let at = 1; at <= last; at++) {
        expect(survivor.read(`key ${at}`)).toBe(at <= applied.lsn ? `value ${at}` : undefined)
      }
      expect(survivor.read('open')).toBeUndefined()
      lsn = applied.lsn
    }
  })
}

export function snapshotTests<C, T>(bench: StorageBench<C, T>): void {
  test('a snapshot is a whole number of pages, at the position of the last commit', async () => {
    bench.commit('a', 'one', pointAt(1))
    await using snapshot = await bench.storage.snapshot()
    expect(snapshot.point).toEqual(pointAt(1))
    expect(snapshot.pageBytes).toBeGreaterThanOrEqual(512)
    expect(snapshot.totalBytes).toBeGreaterThan(0)
    expect(snapshot.totalBytes % snapshot.pageBytes).toBe(0)
  })

  test('a snapshot holds one state, while writes and checkpoints go on', async (context) => {
    const { openImage } = bench.under
    if (openImage === undefined) {
      context.skip()
      return
    }
    for (let lsn = 1; lsn <= 50; lsn++) bench.commit(`key ${lsn}`, 'x'.repeat(500), pointAt(lsn))
    const snapshot = await bench.storage.snapshot()
    const random = new SeededRandom('snapshot')
    let lsn = 50
    const image = await readImage(snapshot, 1, async () => {
      for (let count = 0; count < 3; count++) {
        lsn += 1
        bench.commit(`key ${random.below(100)}`, `after ${lsn}`, pointAt(lsn))
      }
      if (lsn % 4 === 0) await bench.storage.checkpoint()
    })
    await snapshot.close()
    const copy = bench.also(await openImage(image))
    expect(copy.storage.applied).toEqual(pointAt(50))
    for (let at = 1; at <= 50; at++) expect(copy.read(`key ${at}`)).toBe('x'.repeat(500))
    for (let at = 51; at < 100; at++) expect(copy.read(`key ${at}`)).toBeUndefined()
    expect(bench.storage.applied).toEqual(pointAt(lsn))
  })

  test('a snapshot taken during an open transaction has nothing of it', async (context) => {
    const { openImage } = bench.under
    if (openImage === undefined) {
      context.skip()
      return
    }
    bench.commit('a', 'one', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'two')
    bench.storage.mark(pointAt(2))
    const snapshot = await bench.storage.snapshot()
    bench.storage.commit()
    const image = await readImage(snapshot, 8)
    await snapshot.close()
    const copy = bench.also(await openImage(image))
    expect(snapshot.point).toEqual(pointAt(1))
    expect(copy.storage.applied).toEqual(pointAt(1))
    expect(copy.read('a')).toBe('one')
  })

  test('a storage that is opened from an image goes on from there', async (context) => {
    const { openImage } = bench.under
    if (openImage === undefined) {
      context.skip()
      return
    }
    bench.commit('a', 'one', pointAt(1))
    const snapshot = await bench.storage.snapshot()
    const image = await readImage(snapshot, 8)
    await snapshot.close()
    const copy = bench.open(await openImage(image))
    bench.commit('b', 'two', pointAt(2))
    expect([copy.read('a'), copy.read('b')]).toEqual(['one', 'two'])
    expect(copy.storage.applied).toEqual(pointAt(2))
  })

  test('reading is in whole pages, ends at the end, and is refused after close', async () => {
    bench.commit('a', 'one', pointAt(1))
    const snapshot = await bench.storage.snapshot()
    const target = new Uint8Array(snapshot.pageBytes)
    expect(await snapshot.read(target, 0)).toBe(snapshot.pageBytes)
    expect(await snapshot.read(target, snapshot.totalBytes)).toBe(0)
    await snapshot.close()
    await snapshot.close()
    await expect(snapshot.read(target, 0)).rejects.toThrow(Error)
  })

  test('checkpoints complete again once every snapshot is closed', async () => {
    bench.commit('a', 'one', pointAt(1))
    const first = await bench.storage.snapshot()
    const second = await bench.storage.snapshot()
    await first.close()
    await second.close()
    bench.commit('a', 'two', pointAt(2))
    expect(await bench.storage.checkpoint()).toEqual(pointAt(2))
  })
}
