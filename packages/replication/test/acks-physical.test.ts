/** Acks and a format of pages: what is committed cannot be hidden, and a base comes where the pages begin. */
import { FORMAT_CONTROL, systemRandom } from '@understudy/contracts'
import { memoryFormat, type MemoryConnection, type MemoryTransaction } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { becomeLeader, sync, type AckPolicy, type Leadership } from '../src/index.ts'
import type { MemoryLog } from './support/memory-log.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

const pages = memoryFormat({ physical: true })
const rows = memoryFormat()

interface Life
  extends Pick<TestPipeline, 'log' | 'storage'>, Leadership<MemoryTransaction, MemoryConnection> {
  /** Follower b has everything. */
  readonly acknowledge: () => void
}

/** The next life of a leader, on what the one before left. */
async function lead(
  { clock }: TestPipeline,
  before: Pick<TestPipeline, 'log' | 'storage'>,
  format: typeof pages,
  acks: AckPolicy,
): Promise<Life> {
  const log: MemoryLog = before.log.crash()
  const storage = before.storage.kill({ clock })
  const leadership = await clock.complete(
    becomeLeader<MemoryConnection, MemoryTransaction>({
      storage,
      log,
      format,
      formats: [rows, pages],
      cluster: 'c',
      node: 'a',
      clock,
      random: systemRandom(),
      defer: (run) => clock.schedule(0, run),
      acks,
    }),
  )
  const acknowledge = (): void => {
    const { lsn } = log.end
    leadership.pipeline.follower('b', {
      streams: true,
      received: lsn,
      durable: lsn,
      applied: lsn,
      unackedBytes: 0,
    })
  }
  return { ...leadership, log, storage, acknowledge }
}

test('pages are shown by the leader once they are committed; the reply and the followers wait', async () => {
  const made = testPipeline()
  const { clock } = made
  const life = await lead(made, made, pages, sync(['b']))
  const highWatermark = life.pipeline.highWatermark
  let isAnswered = false
  const write = life.pipeline
    .write((tx) => tx.set('k', '1'))
    .then(({ receipt }) => ((isAnswered = true), receipt))
  await clock.advance(50)
  expect([life.storage.get('k'), isAnswered, life.pipeline.highWatermark]).toEqual([
    '1',
    false,
    highWatermark,
  ])
  life.acknowledge()
  expect(await clock.complete(write)).toMatchObject({ asked: 'durable', reached: 'durable' })
  expect(life.pipeline.highWatermark).toBe(life.log.end.lsn)
})

test('a leader of pages whose hidden end is rows begins with a base after it, whatever its policy refuses meanwhile', async () => {
  const made = testPipeline()
  const { clock } = made
  await clock.complete(made.pipeline.switchFormat(pages))
  await clock.complete(made.set('a', '1'))
  const ofRows = await lead(made, made, rows, sync(['b']))
  ofRows.pipeline.write((tx) => tx.set('tail', '1')).catch(() => {})
  await clock.advance(50)
  expect([ofRows.log.durable, ofRows.storage.applied.lsn]).toEqual([
    ofRows.log.end.lsn,
    ofRows.log.end.lsn - 1,
  ])

  const policy = sync(['b'], { onUnmet: 'fail', ackTimeoutMs: 100 })
  const ofPages = await lead(made, ofRows, pages, policy)
  expect(ofPages.pipeline.acks.recovering).toBe(true)
  await clock.advance(200)
  expect(await clock.complete(outcomeOf(ofPages.pipeline.write((tx) => tx.set('b', '1'))))).toBe(
    'NOT_WRITTEN',
  )
  expect([ofPages.storage.physical, ofPages.storage.get('tail')]).toEqual([true, undefined])
  ofPages.acknowledge()
  await clock.advance(100)
  expect([ofPages.storage.physical, ofPages.storage.get('tail')]).toEqual([true, '1'])
  const kinds = [...ofPages.log.records(ofRows.log.end.lsn)].map(({ format }) => format)
  expect(kinds).toEqual([rows.id, FORMAT_CONTROL, FORMAT_CONTROL, pages.id])

  const write = ofPages.pipeline.write((tx) => tx.set('b', '1'))
  await clock.advance(50)
  ofPages.acknowledge()
  await clock.complete(write)
  const next = await lead(made, { log: ofPages.log, storage: ofPages.storage.crash() }, pages, policy)
  next.acknowledge()
  await clock.advance(50)
  expect([next.storage.get('a'), next.storage.get('tail'), next.storage.get('b')]).toEqual(['1', '1', '1'])
})
