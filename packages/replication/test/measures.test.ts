import { describe, expect, test } from 'vitest'
import { any, commitMeasures, snapshotOf } from '../src/index.ts'
import { Histogram } from '../src/measures.ts'
import { outcomeOf, testPipeline } from './support/pipeline.ts'

test('a histogram counts each value once, a value on a bound below it', () => {
  const histogram = new Histogram([1, 10])
  for (const value of [0, 1, 1.5, 10, 11, 1e9]) histogram.observe(value)
  expect(histogram.snapshot()).toEqual({ bounds: [1, 10], counts: [2, 2, 2], sum: 1e9 + 23.5, count: 6 })
})

describe('a pipeline with measures', () => {
  test('counts writes, groups, syncs and waits for acks; not what the leader asks of itself', async () => {
    const measures = commitMeasures()
    const { clock, pipeline } = testPipeline({
      node: 'a',
      measures,
      acks: { level: 'durable', of: any(1, ['b']), ackTimeoutMs: 1000 },
    })
    const progress = { streams: true, received: 1, durable: 1, applied: 1, unackedBytes: 0 }
    pipeline.follower('b', progress)
    const writes = [1, 2, 3].map((n) => pipeline.write((tx) => tx.set(`${n}`, '1')))
    const thrown = outcomeOf(
      pipeline.write(() => {
        throw new Error('mine')
      }),
    )
    await clock.advance(30)
    pipeline.follower('b', { ...progress, received: 2, durable: 2 })
    await clock.complete(Promise.all([...writes, thrown]))
    const marker = pipeline.mark()
    await clock.advance(5)
    pipeline.follower('b', { ...progress, received: 3, durable: 3 })
    await clock.complete(marker)
    const { commitMs, groupWrites, syncMs, ackWaitMs } = snapshotOf(measures)
    expect([commitMs.count, groupWrites.count, groupWrites.sum]).toEqual([4, 1, 4])
    expect(commitMs.sum).toBeGreaterThanOrEqual(4 * 30)
    expect(syncMs.count).toBe(2)
    expect(ackWaitMs.count).toBe(2)
    expect(ackWaitMs.sum).toBeGreaterThanOrEqual(30)
    expect(ackWaitMs.sum).toBeLessThan(40)
  })

  test('leaves out a write that was told it is not acknowledged', async () => {
    const measures = commitMeasures()
    const { clock, pipeline } = testPipeline({
      node: 'a',
      measures,
      acks: { level: 'durable', of: any(1, ['b']), ackTimeoutMs: 100 },
    })
    const write = outcomeOf(pipeline.write((tx) => tx.set('k', '1')))
    await clock.advance(200)
    expect(await write).toBe('WRITTEN_NOT_ACKED 1/2')
    pipeline.follower('b', { streams: true, received: 2, durable: 2, applied: 1, unackedBytes: 0 })
    await clock.advance(10)
    expect(snapshotOf(measures)).toMatchObject({ commitMs: { count: 0 }, groupWrites: { count: 1 } })
  })
})
