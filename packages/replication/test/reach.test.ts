/** `reach`: waiting for followers after the answer. */
import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import type { MemberProgress, WriteReceipt } from '../src/index.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

async function written(): Promise<{ made: TestPipeline; receipt: WriteReceipt }> {
  const made = testPipeline({ node: 'a' })
  const { receipt } = await made.clock.complete(made.pipeline.write((tx) => tx.set('k', '1')))
  return { made, receipt }
}

function says({ pipeline }: TestPipeline, name: string, more: Partial<MemberProgress> = {}): void {
  pipeline.follower(name, { streams: true, received: 2, durable: 2, applied: 2, unackedBytes: 0, ...more })
}

test('resolves once so many followers of whatever name have it, with who they are', async () => {
  const { made, receipt } = await written()
  const reached = receipt.reach('durable', 2)
  says(made, 'b')
  says(made, 'c', { durable: 1, applied: 1 })
  await made.clock.advance(10)
  expect((await made.clock.complete(receipt.reach('received', 2))).members.map(({ name }) => name)).toEqual([
    'b',
    'c',
  ])
  says(made, 'd', { streams: false })
  await made.clock.advance(10)
  says(made, 'c')
  expect(await made.clock.complete(reached)).toEqual({
    level: 'durable',
    members: ['b', 'c'].map((name) => ({ name, durableAt: made.clock.now() - (name === 'b' ? 20 : 0) })),
  })
  expect(await receipt.reach('local')).toEqual({ level: 'local', members: [] })
})

test('a receipt is plain data: what was stored is waited on through the leader', async () => {
  const { made, receipt } = await written()
  const stored = JSON.parse(JSON.stringify(receipt)) as WriteReceipt
  expect(Object.keys(receipt)).toEqual(Object.keys(stored))
  expect(stored).not.toHaveProperty('reach')
  expect({ ...structuredClone(receipt) }).toEqual(stored)
  const reached = made.pipeline.reach(stored, 'applied', 1)
  says(made, 'b')
  expect((await made.clock.complete(reached)).members).toHaveLength(1)
})

test('rejects when time is over, when the caller gives up, and truthfully when the node stops leading', async () => {
  const { made, receipt } = await written()
  says(made, 'b')
  const late = outcomeOf(receipt.reach('durable', 2, { timeoutMs: 50 }))
  await made.clock.advance(49)
  const given = new AbortController()
  const aborted = outcomeOf(receipt.reach('durable', 2, { signal: given.signal }))
  given.abort(new Error('enough'))
  await made.clock.advance(2)
  expect([await late, await aborted]).toEqual(['TIMEOUT 1/2', 'ABORTED 1/2 <- enough'])
  const stopped = outcomeOf(receipt.reach('durable', 2))
  made.pipeline.stop(new UnderstudyError('EPOCH_STALE', 'b leads'))
  expect(await stopped).toBe('CLOSED 1/2 <- EPOCH_STALE')
  expect(await outcomeOf(receipt.reach('durable', 2))).toBe('CLOSED 1/2 <- EPOCH_STALE')
  // What is known of before is still true.
  expect(await outcomeOf(receipt.reach('durable', 1))).toBe('resolved')
})

test('closing ends it', async () => {
  const { made, receipt } = await written()
  const waiting = outcomeOf(receipt.reach('durable', 1))
  await made.clock.complete(made.pipeline.close())
  expect(await waiting).toBe('CLOSED 1/2 <- CLOSED')
})

test.each([
  ['durable', 0, 'INVALID_ARGUMENT'],
  ['sometimes', 1, 'INVALID_ARGUMENT'],
  ['durable', 1.5, 'INVALID_ARGUMENT'],
] as const)('%s on %d is refused', async (level, count, code) => {
  const { receipt } = await written()
  expect(await outcomeOf(receipt.reach(level as 'durable', count))).toBe(code)
})

test('what the leader’s history does not hold is not waited for', async () => {
  const { made, receipt } = await written()
  const { cluster, crc } = receipt
  const reach = (more: object): Promise<string> =>
    outcomeOf(made.pipeline.reach({ ...receipt, ...more }, 'durable', 1))
  expect(await reach({ position: { epoch: 1, lsn: 9 } })).toBe('POSITION_LOST 1/9')
  expect(await reach({ runId: 'f'.repeat(16) })).toBe('POSITION_LOST 1/2')
  expect(await reach({ cluster: `${cluster}x` })).toBe('FOREIGN_CLUSTER')
  expect(await reach({ crc: crc ^ 1 })).toBe('INVALID_ARGUMENT')
})
