/** A leader that may be replaced: what it asks before it shows anything, and what becomes of writes when it is. */
import { UnderstudyError } from '@understudy/contracts'
import { memoryFormat } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { any, semiSync, sync, type CommitPipelineOptions, type MemberProgress } from '../src/index.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

const pages = memoryFormat({ physical: true })

type Options = Partial<CommitPipelineOptions<never, never>>

/** Says no from the `nth` question on; `asked` counts them. */
function leadsUntil(nth: number): { asked: number; readonly mayLead: () => boolean } {
  const fence = {
    asked: 0,
    mayLead: () => ++fence.asked < nth,
  }
  return fence
}

function says(
  { pipeline }: TestPipeline,
  name: string,
  lsn: number,
  more: Partial<MemberProgress> = {},
): void {
  const at = { streams: true, received: lsn, durable: lsn, applied: lsn, unackedBytes: 0 }
  pipeline.follower(name, { ...at, ...more })
}

const notLeader = (): UnderstudyError => new UnderstudyError('NOT_LEADER', 'b leads', { leader: 'tcp://b' })

describe('asked once for each thing, and not for each write', () => {
  for (const [what, options, questions] of [
    ['an asynchronous group', {}, 3],
    ['a group that a follower must have', { acks: semiSync(['b']) }, 3],
    ['a group that a follower must show', { acks: { level: 'applied', of: any(1, ['b']) } }, 4],
    ['a group that is shown first', { acks: semiSync(['b'], { visibility: 'local' }) }, 4],
  ] as [string, Options, number][])
    test(what, async () => {
      const fence = leadsUntil(Number.POSITIVE_INFINITY)
      const made = testPipeline({ node: 'a', mayLead: fence.mayLead, ...(options as object) })
      says(made, 'b', 1)
      await made.clock.advance(1)
      fence.asked = 0
      const writes = [1, 2, 3, 4].map((key) => made.set(String(key), 'x'))
      await made.clock.advance(5)
      says(made, 'b', made.log.end.lsn)
      await made.clock.complete(Promise.all(writes))
      expect(fence.asked).toBe(questions)
    })
})

describe('a lease that is over', () => {
  for (const [when, nth, options, outcome, shown, logged] of [
    ['before the group is kept', 1, {}, 'NOT_WRITTEN <- LEASE_LOST', false, false],
    ['once it is durable', 2, {}, 'OUTCOME_UNKNOWN 1/2 <- LEASE_LOST', false, true],
    ['once it is visible', 3, {}, 'OUTCOME_UNKNOWN 1/2 <- LEASE_LOST', true, true],
    ['once the set has it', 2, { acks: semiSync(['b']) }, 'OUTCOME_UNKNOWN 1/2 <- LEASE_LOST', false, true],
    [
      'before followers may show it',
      2,
      { acks: { level: 'applied', of: any(1, ['b']) } },
      'OUTCOME_UNKNOWN 1/2 <- LEASE_LOST',
      false,
      true,
    ],
  ] as [string, number, Options, string, boolean, boolean][])
    test(`${when}: the writer is told no success, and nobody sees more`, async () => {
      const fence = leadsUntil(Number.POSITIVE_INFINITY)
      const ask = { mayLead: fence.mayLead }
      const made = testPipeline({ node: 'a', mayLead: () => ask.mayLead(), ...(options as object) })
      says(made, 'b', 1)
      await made.clock.advance(1)
      ask.mayLead = leadsUntil(nth).mayLead
      const write = outcomeOf(made.set('k', 'x'))
      await made.clock.advance(5)
      says(made, 'b', made.log.end.lsn)
      expect(await made.clock.complete(write)).toBe(outcome)
      expect(made.storage.connection.committedEntries()).toEqual(shown ? [['k', 'x']] : [])
      expect(made.log.end.lsn).toBe(logged ? 2 : 1)
      expect(made.pipeline.highWatermark).toBe(shown ? 2 : 1)
      expect(made.failures.map(({ code }) => code)).toEqual(['LEASE_LOST'])
      expect(await outcomeOf(made.set('l', 'y'))).toBe('LEASE_LOST')
      await made.clock.complete(made.pipeline.close())
    })

  test('keeps pages out of the database that are not logged yet', async () => {
    const ask = { mayLead: () => true }
    const made = testPipeline({ format: pages, mayLead: () => ask.mayLead() })
    await made.clock.complete(made.pipeline.switchFormat(pages))
    ask.mayLead = () => false
    expect(await made.clock.complete(outcomeOf(made.set('k', 'x')))).toBe('NOT_WRITTEN <- LEASE_LOST')
    expect(made.storage.connection.committedEntries()).toEqual([])
  })

  test('ends waits for followers, also of what was answered before', async () => {
    const ask = { mayLead: () => true }
    const made = testPipeline({ node: 'a', mayLead: () => ask.mayLead() })
    const { receipt } = await made.clock.complete(made.pipeline.write((tx) => tx.set('k', 'x')))
    const reached = outcomeOf(receipt.reach('durable', 1))
    ask.mayLead = () => false
    says(made, 'b', 2)
    expect(await reached).toBe('CLOSED 1/2 <- LEASE_LOST')
    expect(await outcomeOf(receipt.reach('durable', 1))).toBe('CLOSED 1/2 <- LEASE_LOST')
  })
})

describe('replaced', () => {
  test('a group on its way to the disk is unknown, and what never ran may be sent to the next leader', async () => {
    const made = testPipeline()
    made.log.syncsAtOnce = false
    // Two of them, so that their sync goes to the pool.
    const running = outcomeOf(Promise.all([made.set('k', 'x'), made.set('m', 'x')]))
    await made.clock.advance(1)
    const queued = made.pipeline.write((tx) => tx.set('l', 'y')).catch((error: UnderstudyError) => error)
    made.pipeline.stop(notLeader())
    const error = (await queued) as UnderstudyError
    expect(error.code).toBe('NOT_WRITTEN')
    expect(error.details).toMatchObject({ reason: 'notLeader', leader: 'tcp://b' })
    made.log.syncsAtOnce = true
    made.log.releaseSyncs()
    expect(await made.clock.complete(running)).toBe('OUTCOME_UNKNOWN 1/2 <- NOT_LEADER')
    expect(made.storage.connection.committedEntries()).toEqual([])
    expect(made.log.end.lsn).toBe(2)
    await made.clock.complete(made.pipeline.close())
  })
})

describe('held', () => {
  test('what runs becomes durable and is answered, what waits does not run; then it goes on', async () => {
    const made = testPipeline()
    made.log.syncsAtOnce = false
    const running = Promise.all([made.set('k', 'x'), made.set('m', 'x')])
    await made.clock.advance(1)
    let isStill = false
    const still = made.pipeline.hold().then(() => (isStill = true))
    const queued = made.set('l', 'y')
    await made.clock.advance(5)
    expect(isStill).toBe(false)
    made.log.syncsAtOnce = true
    made.log.releaseSyncs()
    await made.clock.complete(still)
    await made.clock.complete(running)
    await made.pipeline.idle()
    await made.clock.advance(50)
    expect(made.log.end.lsn).toBe(2)
    made.pipeline.unhold()
    await made.clock.complete(queued)
    expect(made.log.end.lsn).toBe(3)
  })

  test('a group that waits for acks keeps nothing from being still, and is answered when they come', async () => {
    const made = testPipeline({ node: 'a', acks: sync(['b']) })
    says(made, 'b', 1)
    const waiting = made.set('k', 'x')
    await made.clock.advance(5)
    await made.pipeline.hold()
    let isIdle = false
    const idle = made.pipeline.idle().then(() => (isIdle = true))
    await made.clock.advance(5)
    expect(isIdle).toBe(false)
    says(made, 'b', 2)
    await made.clock.complete(waiting)
    await idle
  })

  test('no rule is lowered and no change ended by a record meanwhile', async () => {
    const made = testPipeline({ node: 'a', acks: semiSync(['b'], { onUnmet: 'degrade', ackTimeoutMs: 10 }) })
    says(made, 'b', 1)
    const waiting = made.set('k', 'x')
    await made.clock.advance(5)
    await made.pipeline.hold()
    await made.clock.advance(100)
    expect(made.log.end.lsn).toBe(2)
    made.pipeline.unhold()
    await made.clock.complete(waiting)
    expect(made.pipeline.acks.degraded).toBe(true)
  })

  test('closed, what waited is told that it never ran', async () => {
    const made = testPipeline()
    await made.pipeline.hold()
    const queued = outcomeOf(made.set('k', 'x'))
    await made.clock.complete(made.pipeline.close())
    expect(await queued).toBe('NOT_WRITTEN <- CLOSED')
    expect(made.log.end.lsn).toBe(1)
  })
})
