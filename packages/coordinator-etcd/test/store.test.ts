/** Each step of the store is a compare-and-set on what its caller had read, in the order in which they come. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { EtcdClient } from '../src/client.ts'
import { settingsOf } from '../src/options.ts'
import { EtcdStore } from '../src/store.ts'
import { HAS_ETCD, startEtcd, WHY_SKIPPED, type EtcdCluster } from './support/etcd.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

describe.skipIf(!HAS_ETCD)('the store', () => {
  const TERMS = { holder: 'a', epoch: 1, ttlMs: 1000 }
  const { signal } = new AbortController()

  let etcd: EtcdCluster
  let count = 0
  beforeAll(async () => {
    etcd = await startEtcd()
  })
  afterAll(() => etcd[Symbol.asyncDispose]())

  function opened(): EtcdStore {
    const settings = settingsOf({ endpoints: etcd.endpoints, cluster: `c${++count}` })
    const store = new EtcdStore(new EtcdClient(settings), settings, {
      module: '',
      factory: '',
      options: undefined,
    })
    onTestFinished(() => store.close())
    return store
  }

  test('a lease is taken over exactly what was read', async () => {
    const store = opened()
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
    const store = opened()
    const first = (await store.take({ ...TERMS, token: 't1' }, undefined, signal))!
    const seen = (await store.read(signal)).lease
    const second = (await store.take({ ...TERMS, epoch: 2, token: 't2' }, seen, signal))!
    const before = (await store.read(signal)).lease!
    expect(await store.beat(first, signal)).toBe(false)
    expect(await store.release(first, signal)).toBe(false)
    expect(await store.put({ bytes: Buffer.from('x'), expected: '0', grant: first }, signal)).toBeUndefined()
    const { beat, grant, released } = (await store.read(signal)).lease!
    expect([beat, grant, released]).toEqual([before.beat, second, false])
    expect(await store.release(second, signal)).toBe(true)
    // Released is released: nothing goes on under it.
    expect(await store.beat(second, signal)).toBe(false)
    expect(await store.put({ bytes: Buffer.from('x'), expected: '0', grant: second }, signal)).toBeUndefined()
    const after = (await store.read(signal)).lease!
    expect(after).toMatchObject({ grant: second, beat: before.beat, released: true })
    const third = await store.take({ ...TERMS, epoch: 3, token: 't3' }, after, signal)
    expect((await store.read(signal)).lease).toMatchObject({ grant: third, released: false })
  })

  test('a state is replaced by revision, whatever its bytes', async () => {
    const store = opened()
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
