/**
 * What every `CoordinatorStore` must do: each step is a compare-and-set on what its caller had read, in the order in which they
 * come. Call `coordinatorStoreSuite` from a test file.
 */
import { describe, expect, onTestFinished, test } from 'vitest'
import type { CoordinatorStore } from '@understudy/contracts'

const TERMS = { holder: 'a', epoch: 1, ttlMs: 1000 }

export interface CoordinatorStoreSuiteOptions {
  readonly name: string
  /** A store of a place with nothing in it; called in each test. The suite closes the store. */
  create(): CoordinatorStore | Promise<CoordinatorStore>
}

export function coordinatorStoreSuite(options: CoordinatorStoreSuiteOptions): void {
  const { signal } = new AbortController()
  describe(`coordinator store suite: ${options.name}`, () => {
    test('a lease is taken over exactly what was read', async () => {
      const store = await options.create()
      onTestFinished(() => store.close())
      const first = await store.take({ ...TERMS, token: 't1' }, undefined, signal)
      expect(first).toBeDefined()
      // Somebody who read before that, when nothing was there.
      expect(await store.take({ ...TERMS, token: 't2' }, undefined, signal)).toBeUndefined()
      const read = (await store.read(signal)).lease!
      expect(read).toMatchObject({ ...TERMS, token: 't1', grant: first, released: false })
      // Its holder renews between a reading and a taking.
      expect(await store.beat(first!, signal)).toBe(true)
      expect(await store.take({ ...TERMS, token: 't3' }, read, signal)).toBeUndefined()
      const again = (await store.read(signal)).lease!
      expect(again.grant).toBe(first)
      expect(again.beat).not.toBe(read.beat)
      const second = await store.take({ ...TERMS, epoch: 2, token: 't4' }, again, signal)
      expect(second).not.toBe(first)
      // One that names an older grant with the newest beat.
      const newest = (await store.read(signal)).lease!
      const mixed = { grant: first!, beat: newest.beat }
      expect(await store.take({ ...TERMS, token: 't5' }, mixed, signal)).toBeUndefined()
      expect((await store.read(signal)).lease).toMatchObject({ grant: second, epoch: 2, token: 't4' })
    })

    test('whoever had the lease before changes nothing of it', async () => {
      const store = await options.create()
      onTestFinished(() => store.close())
      const first = (await store.take({ ...TERMS, token: 't1' }, undefined, signal))!
      const seen = (await store.read(signal)).lease
      const second = (await store.take({ ...TERMS, epoch: 2, token: 't2' }, seen, signal))!
      const before = (await store.read(signal)).lease!
      expect(await store.beat(first, signal)).toBe(false)
      expect(await store.release(first, signal)).toBe(false)
      expect(
        await store.put({ bytes: Buffer.from('x'), expected: '0', grant: first }, signal),
      ).toBeUndefined()
      const { beat, grant, released } = (await store.read(signal)).lease!
      expect([beat, grant, released]).toEqual([before.beat, second, false])
      expect(await store.release(second, signal)).toBe(true)
      // Released is released: nothing goes on under it.
      expect(await store.beat(second, signal)).toBe(false)
      expect(
        await store.put({ bytes: Buffer.from('x'), expected: '0', grant: second }, signal),
      ).toBeUndefined()
      const after = (await store.read(signal)).lease!
      expect(after).toMatchObject({ grant: second, beat: before.beat, released: true })
      const third = await store.take({ ...TERMS, epoch: 3, token: 't3' }, after, signal)
      expect((await store.read(signal)).lease).toMatchObject({ grant: third, released: false })
    })

    test('a state is replaced by revision, whatever its bytes', async () => {
      const store = await options.create()
      onTestFinished(() => store.close())
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value))
      const first = (await store.put({ bytes, expected: '0' }, signal))!
      expect(await store.put({ bytes, expected: '0' }, signal)).toBeUndefined()
      const grant = (await store.take({ ...TERMS, token: 't1' }, undefined, signal))!
      await store.beat(grant, signal)
      // The lease is not the state.
      const { state } = await store.read(signal)
      expect(state?.revision).toBe(first)
      expect(Buffer.from(state!.bytes).equals(bytes)).toBe(true)
      const second = (await store.put({ bytes, expected: first, grant }, signal))!
      expect(second).not.toBe(first)
      expect(await store.put({ bytes, expected: first }, signal)).toBeUndefined()
    })
  })
}
