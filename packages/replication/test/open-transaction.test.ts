import { describe, expect, test } from 'vitest'
import { UnderstudyError } from '@understudy/contracts'
import { memoryFormat } from '@understudy/testkit'
import { acked } from './support/acked.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

/** A transaction that waits, after it set `key`, for the test. */
function openOne(
  { pipeline }: TestPipeline,
  key: string,
  options: Parameters<TestPipeline['pipeline']['transaction']>[1] = {},
) {
  const goOn = Promise.withResolvers<string>()
  const begun = Promise.withResolvers<void>()
  const later: unknown[] = []
  const done = pipeline.transaction(async (tx) => {
    tx.set(key, 'first')
    begun.resolve()
    const value = await goOn.promise
    try {
      tx.set(key, value)
    } catch (error) {
      later.push(error)
      throw error
    }
    return `set ${value}`
  }, options)
  return { done, begun: begun.promise, goOn: goOn.resolve, fail: goOn.reject, later }
}

describe('a write whose body is asynchronous', () => {
  test('is one record with everything that it did, and answered when that is durable and visible', async () => {
    const bench = testPipeline()
    const { clock, log, storage, pipeline } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    expect(storage.get('a')).toBeUndefined()
    expect(log.counts.append).toBe(0)
    one.goOn('second')
    const { value, receipt } = await clock.complete(one.done)
    expect(value).toBe('set second')
    expect(receipt).toMatchObject({ position: { epoch: 1, lsn: 2 }, index: 0, asked: 'local' })
    expect([storage.get('a'), storage.applied.lsn, pipeline.highWatermark]).toEqual(['second', 2, 2])
    expect(log.counts.append).toBe(1)
  })

  test('everything else waits for it, and then runs in the order in which it came', async () => {
    const bench = testPipeline()
    const { clock, log, storage, set } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    const others = Promise.all([set('a', 'third'), set('b', '1')])
    await clock.advance(1000)
    expect([storage.get('b'), log.counts.append]).toEqual([undefined, 0])
    one.goOn('second')
    expect(await clock.complete(one.done)).toMatchObject({ receipt: { position: { lsn: 2 } } })
    expect(await clock.complete(others)).toMatchObject([{ lsn: 3 }, { lsn: 3 }])
    expect([storage.get('a'), storage.get('b')]).toEqual(['third', '1'])
  })

  test('one transaction waits for another', async () => {
    const bench = testPipeline()
    const [first, second] = [openOne(bench, 'a'), openOne(bench, 'a')]
    await bench.clock.complete(first.begun)
    second.goOn('of the second')
    await bench.clock.advance(100)
    expect(bench.log.counts.append).toBe(0)
    first.goOn('of the first')
    await bench.clock.complete(Promise.all([first.done, second.done]))
    expect(bench.storage.get('a')).toBe('of the second')
    expect(bench.log.counts.append).toBe(2)
  })

  test('a body that fails leaves nothing, and its caller gets its own error', async () => {
    const bench = testPipeline()
    const { clock, log, storage, set } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    one.fail(new Error('mine'))
    expect(await clock.complete(outcomeOf(one.done))).toBe('mine')
    expect([storage.get('a'), log.counts.append, storage.connection.inTransaction]).toEqual([
      undefined,
      0,
      false,
    ])
    expect(await clock.complete(set('b', '1'))).toMatchObject({ lsn: 2 })
  })

  test('one that changes nothing is answered without a record', async () => {
    const { clock, log, pipeline } = testPipeline()
    const { value, receipt } = await clock.complete(
      pipeline.transaction(async (tx) => (await Promise.resolve(), tx.get('nothing'))),
    )
    expect([value, receipt.position.lsn, log.counts.append]).toEqual([undefined, 1, 0])
  })

  test('a callback that is not asynchronous will do', async () => {
    const { clock, storage, pipeline } = testPipeline()
    await clock.complete(pipeline.transaction((tx) => tx.set('a', '1')))
    expect(storage.get('a')).toBe('1')
  })

  test.each([
    [{ timeoutMs: 700 }, 'deadline', 700],
    [{}, 'idle', 2000],
  ])('with %j it ends by its %s after %d ms, whatever its body does', async (options, reason, afterMs) => {
    const bench = testPipeline()
    const { clock, log, storage, set } = bench
    const one = openOne(bench, 'a', options)
    await clock.complete(one.begun)
    const other = set('b', '1')
    const outcome = one.done.catch((error: unknown) => error)
    await clock.advance(afterMs - 1)
    expect(storage.get('b')).toBeUndefined()
    await clock.advance(1)
    expect(await outcome).toMatchObject({ code: 'NOT_WRITTEN', details: { reason } })
    expect(await clock.complete(other)).toMatchObject({ lsn: 2 })
    // What its body does from then on reaches nothing, and says why.
    one.goOn('late')
    await clock.advance(1)
    expect(one.later).toMatchObject([{ code: 'NOT_WRITTEN', details: { reason } }])
    expect([storage.get('a'), log.counts.append]).toEqual([undefined, 1])
  })

  test('each statement begins the time without one anew, and never the time in all', async () => {
    const { clock, storage, pipeline } = testPipeline()
    const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.schedule(ms, resolve))
    const busy = (times: number): Promise<unknown> =>
      pipeline.transaction(async (tx) => {
        for (let at = 0; at < times; at++) {
          await pause(1500)
          tx.set('a', `${times} ${at}`)
        }
      })
    await clock.complete(busy(3))
    expect(storage.get('a')).toBe('3 2')
    expect(await clock.complete(outcomeOf(busy(4)))).toBe('NOT_WRITTEN')
    expect(storage.get('a')).toBe('3 2')
  })

  test('longer than the limit of the node is refused before anything waits', async () => {
    const { clock, pipeline } = testPipeline({ limits: { transactionMsMax: 1000 } })
    const asked = [1001, 0, Number.NaN].map((timeoutMs) =>
      outcomeOf(pipeline.transaction(() => undefined, { timeoutMs })),
    )
    expect(await clock.complete(Promise.all(asked))).toEqual(Array(3).fill('INVALID_ARGUMENT'))
    await clock.complete(pipeline.transaction(() => undefined, { timeoutMs: 1000 }))
    await clock.complete(pipeline.transaction(() => undefined))
  })

  test('a write that waits for it has its own deadline, and one that waits for its turn too', async () => {
    const bench = testPipeline()
    const { clock, pipeline, storage } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    const write = pipeline
      .write((tx) => tx.set('b', '1'), { timeoutMs: 300 })
      .catch((error: unknown) => error)
    let ran = false
    const next = pipeline.transaction(() => (ran = true), { waitMs: 400 }).catch((error: unknown) => error)
    await clock.advance(400)
    const late = { code: 'NOT_WRITTEN', details: { reason: 'deadline' } }
    expect([await write, await next]).toMatchObject([late, late])
    one.goOn('second')
    await clock.complete(one.done)
    expect([storage.get('a'), storage.get('b'), ran]).toEqual(['second', undefined, false])
  })

  test('its caller can give up before its turn and during it', async () => {
    const bench = testPipeline()
    const { clock, storage, set } = bench
    const [first, second] = [new AbortController(), new AbortController()]
    const one = openOne(bench, 'a', { signal: first.signal })
    const two = openOne(bench, 'b', { signal: second.signal })
    const outcomes = [one.done, two.done].map((done) => done.catch((error: unknown) => error))
    await clock.complete(one.begun)
    second.abort()
    first.abort()
    const aborted = { code: 'NOT_WRITTEN', details: { reason: 'aborted' } }
    expect(await Promise.all(outcomes)).toMatchObject([aborted, aborted])
    await clock.complete(set('c', '1'))
    expect([storage.get('a'), storage.get('b'), storage.get('c')]).toEqual([undefined, undefined, '1'])
  })

  test('when the node stops leading it is rolled back at once, and was never written', async () => {
    const bench = testPipeline()
    const { clock, log, pipeline, storage, failures } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    const outcome = outcomeOf(one.done)
    pipeline.stop(new UnderstudyError('LEASE_LOST', 'gone'))
    expect(storage.connection.inTransaction).toBe(false)
    expect(await clock.complete(outcome)).toBe('NOT_WRITTEN <- LEASE_LOST')
    one.goOn('late')
    await clock.advance(1)
    expect([storage.get('a'), log.counts.append, failures.length, one.later.length]).toEqual([
      undefined,
      0,
      0,
      1,
    ])
    await clock.complete(pipeline.close())
  })

  test('closing ends it, answers it and waits for nothing', async () => {
    const bench = testPipeline()
    const { clock, pipeline, storage } = bench
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    const outcome = outcomeOf(one.done)
    const before = clock.monotonic()
    await clock.complete(pipeline.close())
    expect(await outcome).toBe('NOT_WRITTEN <- CLOSED')
    expect([storage.get('a'), clock.monotonic() - before, clock.pending]).toEqual([undefined, 0, 0])
  })

  test('it waits for acks as any write does, and only from its commit on', async () => {
    const bench = acked()
    const { clock, log, storage, says } = bench
    says('b', 1)
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    await clock.advance(1000)
    one.goOn('second')
    await clock.advance(10)
    expect([log.counts.append, storage.get('a')]).toEqual([1, undefined])
    says('b', 2)
    const { receipt } = await clock.complete(one.done)
    expect(receipt).toMatchObject({ asked: 'durable', reached: 'durable', members: [{ name: 'b' }] })
    expect(storage.get('a')).toBe('second')
  })

  test('the engine may end it: nobody is told that it was written', async () => {
    const { clock, log, storage, pipeline, set } = testPipeline()
    const lost = pipeline.transaction(async (tx) => {
      tx.set('a', '1')
      await Promise.resolve()
      try {
        tx.lose()
      } catch {
        // The body goes on as if nothing had been.
      }
    })
    expect(await clock.complete(outcomeOf(lost))).toBe('NOT_WRITTEN <- TRANSACTION_LOST')
    expect([log.counts.append, storage.get('a')]).toEqual([0, undefined])
    expect(await clock.complete(set('b', '1'))).toMatchObject({ lsn: 2 })
  })

  test('a group of pages is committed first, and answered when its record is durable', async () => {
    const bench = testPipeline({ format: memoryFormat({ physical: true }) })
    const { clock, log, storage } = bench
    log.syncsAtOnce = false
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    expect(storage.get('a')).toBeUndefined()
    const other = bench.set('b', '1')
    one.goOn('second')
    await clock.advance(10)
    let isDone = false
    void one.done.then(() => (isDone = true))
    await clock.advance(10)
    expect([storage.get('a'), log.counts.append, isDone]).toEqual(['second', 1, false])
    log.syncsAtOnce = true
    log.releaseSyncs()
    expect(await clock.complete(one.done)).toMatchObject({ receipt: { position: { lsn: 2 } } })
    await clock.complete(other)
  })

  test('a key of an earlier group keeps its place in the log', async () => {
    const bench = testPipeline()
    const { clock, pipeline, log } = bench
    const write = (): Promise<{ receipt: { position: { lsn: number } }; replayed?: true }> =>
      pipeline.write((tx) => tx.set('k', '1'), { key: 'order', fingerprint: 'one' })
    const first = await clock.complete(write())
    const one = openOne(bench, 'a')
    await clock.complete(one.begun)
    // A retry is answered while the transaction is open: it waits for nothing of it.
    expect(await clock.complete(write())).toMatchObject({ replayed: true, receipt: first.receipt })
    one.goOn('second')
    await clock.complete(one.done)
    expect(await clock.complete(write())).toMatchObject({ replayed: true, receipt: first.receipt })
    expect(log.counts.append).toBe(2)
  })
})
