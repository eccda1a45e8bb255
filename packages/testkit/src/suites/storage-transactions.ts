/** Storage suite: data and position are one, and calls out of turn do no harm. */
import { expect, test } from 'vitest'
import { ORIGIN, type LogPoint } from '@understudy/contracts'
import { pointAt, type StorageBench } from './storage-bench.ts'

export function transactionTests<C, T>(bench: StorageBench<C, T>): void {
  test('a new storage stands at the origin', () => {
    expect(bench.storage.applied).toEqual(ORIGIN)
  })

  test('commit shows data and position together; before it neither', () => {
    bench.storage.begin()
    bench.put('a', 'one')
    bench.storage.mark(pointAt(1))
    expect(bench.under.read('a')).toBeUndefined()
    expect(bench.storage.applied).toEqual(ORIGIN)
    bench.storage.commit()
    expect(bench.under.read('a')).toBe('one')
    expect(bench.storage.applied).toEqual(pointAt(1))
  })

  test('rollback takes data and position back, and the next transaction is not affected', () => {
    bench.commit('a', 'one', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'two')
    bench.put('b', 'two')
    bench.storage.mark(pointAt(2))
    bench.storage.rollback()
    expect(bench.under.read('a')).toBe('one')
    expect(bench.under.read('b')).toBeUndefined()
    expect(bench.storage.applied).toEqual(pointAt(1))
    bench.commit('b', 'three')
    expect(bench.under.read('b')).toBe('three')
    expect(bench.storage.applied).toEqual(pointAt(1))
  })

  test('a transaction without a position leaves the position as it was', () => {
    bench.commit('a', 'one', pointAt(7))
    bench.commit('a', 'two')
    expect(bench.storage.applied).toEqual(pointAt(7))
    expect(bench.under.read('a')).toBe('two')
  })

  test('of several positions in one transaction the last one counts', () => {
    bench.storage.begin()
    for (const lsn of [1, 2, 3]) bench.storage.mark(pointAt(lsn))
    bench.storage.commit()
    expect(bench.storage.applied).toEqual(pointAt(3))
  })

  test('positions go back, too: after a truncated log', () => {
    bench.commit('a', 'one', pointAt(20))
    bench.commit('a', 'two', pointAt(4))
    expect(bench.storage.applied).toEqual(pointAt(4))
  })

  test('large numbers in a position are kept exactly', () => {
    const far: LogPoint = { epoch: 2 ** 31, lsn: Number.MAX_SAFE_INTEGER, crc: 0xffff_ffff }
    bench.commit('a', 'one', far)
    expect(bench.storage.applied).toEqual(far)
  })

  test('rollback without a transaction has no effect', () => {
    bench.storage.rollback()
    bench.commit('a', 'one')
    bench.storage.rollback()
    expect(bench.under.read('a')).toBe('one')
  })

  test('calls out of turn throw and change nothing', () => {
    expect(() => bench.storage.commit()).toThrow(Error)
    expect(() => bench.storage.mark(pointAt(1))).toThrow(Error)
    expect(() => bench.put('a', 'one')).toThrow(Error)
    bench.storage.begin()
    expect(() => bench.storage.begin()).toThrow(Error)
    bench.put('a', 'two')
    bench.storage.commit()
    expect(bench.under.read('a')).toBe('two')
    expect(bench.storage.applied).toEqual(ORIGIN)
  })

  test('a transaction may stay open over turns of the event loop', async () => {
    bench.storage.begin()
    bench.put('a', 'one')
    bench.storage.mark(pointAt(1))
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    expect(bench.under.read('a')).toBeUndefined()
    bench.storage.commit()
    expect(bench.under.read('a')).toBe('one')
  })

  test('a write from outside is FOREIGN_WRITE at the next begin', (context) => {
    if (bench.under.foreignWrite === undefined) {
      context.skip()
      return
    }
    bench.commit('a', 'one', pointAt(1))
    bench.under.foreignWrite()
    expect(() => bench.storage.begin()).toThrow(expect.objectContaining({ code: 'FOREIGN_WRITE' }))
  })

  test('after close, calls throw and closing again has no effect', async () => {
    await bench.storage.close()
    await bench.storage.close()
    expect(() => bench.storage.begin()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    await expect(bench.storage.checkpoint()).rejects.toMatchObject({ code: 'CLOSED' })
  })
}
