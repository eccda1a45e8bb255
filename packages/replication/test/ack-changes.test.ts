/** The ack policy becomes another one while a leader runs. */
import { UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { any, async, semiSync, sync, type AckPolicy } from '../src/index.ts'
import { acked, type Acked } from './support/acked.ts'
import { outcomeOf } from './support/pipeline.ts'

const TIMES: Partial<AckPolicy> = { ackTimeoutMs: 1000, settleMs: 200, lagMsMax: 100 }
const B: AckPolicy = { ...TIMES, level: 'durable', of: any(1, ['b']) }
const B_C: AckPolicy = { ...TIMES, level: 'durable', of: any(2, ['b', 'c']) }
const C: AckPolicy = { ...TIMES, level: 'durable', of: any(1, ['c']) }

/** A leader of this policy whose followers b and c stream. */
function streaming(policy: AckPolicy = B): Acked {
  const made = acked(policy)
  made.says('b', 1)
  made.says('c', 1)
  return made
}

test('the record of a change must satisfy both rules, and a record of the new one alone ends it', async () => {
  const { clock, log, pipeline, put, says, rules } = streaming()
  const change = pipeline.changeAcks(C)
  const later = put('later')
  await clock.advance(10)
  expect(rules()).toEqual(['2 durable ANY 1 (c) after durable ANY 1 (b)'])
  expect(pipeline.acks).toMatchObject({
    rule: 'durable ANY 1 (b)',
    effective: 'durable ANY 1 (b) and durable ANY 1 (c)',
    change: { to: 'durable ANY 1 (c)', missing: ['b', 'c'] },
    pending: { lsn: 2 },
  })
  says('c', 2)
  await clock.advance(10)
  expect(pipeline.acks.change).toMatchObject({ missing: ['b'] })
  expect([log.end.lsn, pipeline.syncState('b'), pipeline.syncState('c')]).toEqual([2, 'quorum', 'quorum'])
  says('b', 2)
  expect(await clock.complete(change)).toMatchObject({ lsn: 3, crc: expect.any(Number) })
  expect(rules()[1]).toBe('3 durable ANY 1 (c)')
  expect(pipeline.acks).toMatchObject({ rule: 'durable ANY 1 (c)', effective: 'durable ANY 1 (c)' })
  expect(pipeline.acks.change).toBeUndefined()
  await clock.advance(10)
  says('b', 4)
  await clock.advance(10)
  expect(pipeline.acks.pending?.lsn).toBe(4)
  says('c', 4)
  expect((await clock.complete(later)).members).toMatchObject([{ name: 'c' }])
})

test('the old rule is in force until the record that ends it is durable', async () => {
  const { clock, log, pipeline, says } = streaming()
  const change = pipeline.changeAcks(C)
  await clock.advance(10)
  log.syncsAtOnce = false
  says('b', 2)
  says('c', 2)
  await clock.advance(10)
  expect([log.end.lsn, pipeline.acks.effective]).toEqual([3, 'durable ANY 1 (b) and durable ANY 1 (c)'])
  log.releaseSyncs()
  await clock.complete(change)
  expect(pipeline.acks.effective).toBe('durable ANY 1 (c)')
})

test('a write that was queued before the change asks by the new rule, its own choice apart', async () => {
  const { clock, pipeline, put, says } = streaming(B)
  const first = put('first')
  await clock.advance(10)
  const change = pipeline.changeAcks(B_C)
  const queued = put('queued')
  const own = put('own', { of: any(1, ['c']) })
  says('b', 2)
  await clock.complete(first)
  await clock.advance(10)
  says('b', 3)
  says('c', 3)
  await clock.complete(change)
  await clock.advance(10)
  says('b', 6)
  await clock.advance(10)
  expect(pipeline.acks.pending?.lsn).toBe(6)
  says('c', 6)
  expect((await clock.complete(queued)).members).toHaveLength(2)
  expect((await clock.complete(own)).members).toMatchObject([{ name: 'c' }])
})

describe('from and to an asynchronous cluster', () => {
  test('to a rule: its own record is the first that must satisfy it', async () => {
    const { clock, pipeline, put, says, rules } = streaming(async())
    const change = pipeline.changeAcks(B)
    await clock.advance(10)
    expect([rules(), pipeline.acks.pending?.lsn]).toEqual([['2 durable ANY 1 (b)'], 2])
    says('b', 2)
    expect(await clock.complete(change)).toMatchObject({ lsn: 2 })
    const write = put('k')
    await clock.advance(10)
    expect(pipeline.acks.pending?.lsn).toBe(3)
    says('b', 3)
    expect((await clock.complete(write)).reached).toBe('durable')
  })

  test('from a rule: the old set has the record before writes do without it', async () => {
    const { clock, pipeline, put, says, rules } = streaming(B)
    const change = pipeline.changeAcks(async())
    const write = put('k')
    await clock.advance(10)
    expect([rules(), pipeline.acks.pending?.lsn]).toEqual([['2 local after durable ANY 1 (b)'], 2])
    says('b', 2)
    expect(await clock.complete(change)).toMatchObject({ lsn: 3 })
    expect((await clock.complete(write)).asked).toBe('local')
    expect(rules()).toEqual(['2 local after durable ANY 1 (b)', '3 local'])
    expect(await clock.complete(pipeline.changeAcks(async()))).toMatchObject({ lsn: 4 })
  })
})

describe('what goes with the rule', () => {
  test('comes into force at once and without a record, also while a write waits', async () => {
    const { clock, log, pipeline, put, says } = streaming(B)
    const write = outcomeOf(put('k'))
    await clock.advance(1500)
    expect(await write).toBe('WRITTEN_NOT_ACKED 1/2')
    const later = outcomeOf(put('later'))
    await clock.complete(pipeline.changeAcks({ ...B, onUnmet: 'degrade', ackTimeoutMs: 200 }))
    await clock.advance(300)
    expect([log.end.lsn, pipeline.acks.degraded, await later]).toEqual([4, true, 'resolved'])
    expect(pipeline.acks.onUnmet).toBe('degrade')
    says('b', 3)
  })

  test('changes with the rule', async () => {
    const { clock, pipeline, put, says, keys } = streaming(B)
    const change = pipeline.changeAcks({ ...C, visibility: 'local', onUnmet: 'fail', ackTimeoutMs: 50 })
    await clock.advance(10)
    says('b', 2)
    says('c', 2)
    await clock.complete(change)
    expect(pipeline.acks).toMatchObject({ visibility: 'local', onUnmet: 'fail' })
    const write = outcomeOf(put('k'))
    await clock.advance(10)
    expect(keys()).toEqual(['k'])
    await clock.advance(100)
    expect(await write).toMatch('WRITTEN_NOT_ACKED')
    expect(await clock.complete(outcomeOf(put('refused')))).toBe('NOT_WRITTEN')
  })
})

describe('a change that cannot be', () => {
  test.each<[string, AckPolicy, RegExp]>([
    ['a member does not stream', sync(['b', 'd']), /these do not stream: d/],
    ['the leader itself is named', sync(['a']), /the leader itself/],
    [
      'the set is too small',
      { level: 'durable', of: { kind: 'any', count: 2, names: ['b'] } },
      /never be met/,
    ],
  ])('%s: it is refused, and nothing is written', async (_, policy, message) => {
    const { clock, log, pipeline } = streaming()
    await expect(clock.complete(pipeline.changeAcks(policy))).rejects.toMatchObject({
      message: expect.stringMatching(message),
    })
    expect([log.end.lsn, pipeline.acks.rule]).toEqual([1, 'durable ANY 1 (b)'])
  })

  test('a member of the old rule is away: refused with the reason; it is not let go of silently', async () => {
    const { clock, pipeline, leaves } = streaming()
    leaves('b')
    await expect(clock.complete(pipeline.changeAcks(C))).rejects.toMatchObject({
      code: 'NOT_WRITTEN',
      details: { reason: 'acks' },
      message: expect.stringMatching(/'durable ANY 1 \(b\)' these do not stream: b/),
    })
  })

  test.each(['block', 'degrade'] as const)(
    'a member leaves in the middle: with %s the change is told, and everything waits until it is back',
    async (onUnmet) => {
      const { clock, log, pipeline, put, says, leaves, rules } = streaming({ ...B, onUnmet })
      const change = outcomeOf(pipeline.changeAcks({ ...C, onUnmet }))
      await clock.advance(10)
      leaves('b')
      says('c', 2)
      expect(await clock.complete(change)).toBe('WRITTEN_NOT_ACKED 1/2')
      const write = outcomeOf(put('k', { timeoutMs: 500 }))
      expect(await clock.complete(write)).toBe('NOT_WRITTEN')
      expect([log.end.lsn, pipeline.acks.change?.missing, pipeline.acks.degraded]).toEqual([2, ['b'], false])
      await expect(pipeline.changeAcks(B_C)).rejects.toMatchObject({
        code: 'NOT_WRITTEN',
        message: expect.stringMatching(/change to 'durable ANY 1 \(c\)' is under way/),
      })
      says('b', 2)
      await clock.advance(10)
      expect(rules()).toEqual(['2 durable ANY 1 (c) after durable ANY 1 (b)', '3 durable ANY 1 (c)'])
      expect(pipeline.acks.effective).toBe('durable ANY 1 (c)')
    },
  )

  test('with fail, writes are refused at once meanwhile', async () => {
    const { clock, pipeline, put, leaves } = streaming({ ...B, onUnmet: 'fail' })
    const change = outcomeOf(pipeline.changeAcks(C))
    await clock.advance(10)
    leaves('b')
    expect(await clock.complete(change)).toBe('WRITTEN_NOT_ACKED 1/2')
    const beforeMs = clock.monotonic()
    expect(await clock.complete(outcomeOf(put('k', { timeoutMs: 20_000 })))).toBe('NOT_WRITTEN')
    expect(clock.monotonic()).toBe(beforeMs)
  })

  test('closed in the middle: its outcome is unknown, the log says that both hold', async () => {
    const { clock, pipeline, rules } = streaming()
    const change = outcomeOf(pipeline.changeAcks(C, { ackTimeoutMs: 60_000 }))
    await clock.advance(10)
    await clock.complete(pipeline.close())
    expect(await change).toMatch('OUTCOME_UNKNOWN')
    expect(rules()).toEqual(['2 durable ANY 1 (c) after durable ANY 1 (b)'])
  })

  test('a full disk at its end: it is tried again', async () => {
    const { clock, log, pipeline, says } = streaming()
    const change = pipeline.changeAcks(C)
    await clock.advance(10)
    says('b', 2)
    log.nextAppendError = new UnderstudyError('DISK_FULL', 'full')
    says('c', 2)
    await clock.advance(100)
    expect([log.end.lsn, pipeline.acks.effective]).toEqual([2, 'durable ANY 1 (b) and durable ANY 1 (c)'])
    await clock.complete(change)
    expect(pipeline.acks.effective).toBe('durable ANY 1 (c)')
  })
})

describe('a loss that is accepted', () => {
  test('ends the old rule and what waits by a record: the write says that it is degraded', async () => {
    const { clock, pipeline, put, leaves, says, rules } = streaming()
    leaves('b')
    const waiting = put('k', { ackTimeoutMs: 60_000 })
    await clock.advance(10)
    const queued = put('queued', { timeoutMs: 60_000 })
    await clock.advance(2000)
    const change = pipeline.changeAcks(C, { acceptLoss: true })
    await clock.advance(10)
    expect(await clock.complete(waiting)).toMatchObject({
      asked: 'durable',
      reached: 'local',
      degraded: true,
    })
    expect(rules()).toEqual(['3 not durable ANY 1 (b)', '4 local', '5 durable ANY 1 (c)'])
    says('c', 5)
    expect(await clock.complete(change)).toMatchObject({ lsn: 5 })
    await clock.advance(10)
    says('c', 6)
    expect(await clock.complete(queued)).toMatchObject({ reached: 'durable', degraded: false })
    expect(pipeline.acks).toMatchObject({ effective: 'durable ANY 1 (c)', degraded: false })
  })

  test('gives up a change that waits', async () => {
    const { clock, pipeline, leaves, says, rules, put } = streaming()
    const stuck = outcomeOf(pipeline.changeAcks(C, { ackTimeoutMs: 60_000 }))
    await clock.advance(10)
    leaves('c')
    says('b', 2)
    await clock.advance(2000)
    const back = pipeline.changeAcks(B, { acceptLoss: true })
    await clock.advance(10)
    expect(await stuck).toBe('WRITTEN_NOT_ACKED 1/2')
    expect(rules().slice(1)).toEqual([
      '3 not durable ANY 1 (b) + durable ANY 1 (c)',
      '4 local',
      '5 durable ANY 1 (b)',
    ])
    says('b', 5)
    await clock.complete(back)
    const write = put('k')
    await clock.advance(10)
    says('b', 6)
    expect(await clock.complete(write)).toMatchObject({ degraded: false })
    expect(pipeline.acks.change).toBeUndefined()
  })

  test('with nothing that waits, one group says both', async () => {
    const { clock, pipeline, leaves, rules } = streaming()
    leaves('b')
    expect(await clock.complete(pipeline.changeAcks(async(), { acceptLoss: true }))).toMatchObject({ lsn: 2 })
    expect([rules(), pipeline.acks.effective]).toEqual([['2 local'], 'local'])
  })
})

test('a lowered rule: a change needs both again, and raises it', async () => {
  const { clock, pipeline, put, says, leaves, rules } = streaming(
    semiSync(['b'], { ...TIMES, onUnmet: 'degrade' }),
  )
  leaves('b')
  await clock.complete(put('k'))
  expect(pipeline.acks.degraded).toBe(true)
  await expect(pipeline.changeAcks(C)).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
  says('b', 3)
  const change = pipeline.changeAcks(C)
  await clock.advance(10)
  says('b', 4)
  says('c', 4)
  await clock.complete(change)
  expect(rules().slice(1)).toEqual(['4 durable ANY 1 (c) after durable FIRST 1 (b)', '5 durable ANY 1 (c)'])
  expect(pipeline.acks).toMatchObject({ degraded: false, effective: 'durable ANY 1 (c)' })
})

describe('the log lets go of what was said', () => {
  test('only after it was repeated', async () => {
    const { clock, log, pipeline, says, rules, put } = streaming(async())
    expect(pipeline.keepsFrom(1)).toBe(1)
    const change = pipeline.changeAcks(B)
    await clock.advance(10)
    says('b', 2)
    await clock.complete(change)
    const write = put('k')
    await clock.advance(10)
    says('b', 3)
    await clock.complete(write)
    expect(pipeline.keepsFrom(1)).toBe(1)
    expect([pipeline.keepsFrom(3), pipeline.keepsFrom(3)]).toEqual([1, 1])
    await clock.advance(10)
    expect(rules()).toEqual(['2 durable ANY 1 (b)', '4 durable ANY 1 (b)'])
    expect([log.end.lsn, pipeline.keepsFrom(3), pipeline.acks.pending]).toEqual([4, 2, undefined])
  })

  test('and says again that it is lowered', async () => {
    const { clock, pipeline, put, leaves, rules } = streaming({ ...B, onUnmet: 'degrade' })
    expect(pipeline.keepsFrom(9)).toBe(9)
    const before = rules().length
    leaves('b')
    await clock.complete(put('k'))
    expect(pipeline.acks.degraded).toBe(true)
    expect(rules().length).toBe(before + 1)
  })
})
