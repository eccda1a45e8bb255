import { FLAG_AWAITS_ACKS, UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { any, first, sync, type WriteOptions } from '../src/index.ts'
import { POLICY, acked } from './support/acked.ts'
import { outcomeOf } from './support/pipeline.ts'

describe('the order: durable, sent, acked, visible, replied', () => {
  test('nothing is shown or answered before the set has it', async () => {
    const { clock, log, pipeline, durable, put, says, keys } = acked()
    says('b', 1)
    let isAnswered = false
    const write = put('k').then((receipt) => ((isAnswered = true), receipt))
    await clock.advance(50)
    expect(log.durable).toBe(2)
    expect(durable.map(({ lsn }) => lsn)).toEqual([2])
    expect(pipeline.acks.pending?.lsn).toBe(2)
    expect([isAnswered, keys(), pipeline.highWatermark]).toEqual([false, [], 1])
    expect(pipeline.awaits('b')).toBe(true)
    expect(pipeline.awaits('x')).toBe(false)
    says('b', 2)
    const receipt = await clock.complete(write)
    expect(receipt).toMatchObject({ asked: 'durable', reached: 'durable', degraded: false })
    expect(receipt.members).toEqual([{ name: 'b', durableAt: clock.now() }])
    expect([keys(), pipeline.highWatermark]).toEqual([['k'], 2])
    expect(durable.map(({ lsn }) => lsn)).toEqual([2, 2])
    expect(pipeline.acks.pending).toBeUndefined()
  })

  test('writes that come meanwhile make the next group', async () => {
    const { clock, log, put, says } = acked()
    says('b', 1)
    const one = put('1')
    await clock.advance(10)
    const more = [put('2'), put('3')]
    await clock.advance(10)
    expect(log.end.lsn).toBe(2)
    says('b', 2)
    await clock.complete(one)
    await clock.advance(10)
    expect(log.end.lsn).toBe(3)
    says('b', 3)
    await clock.complete(Promise.all(more))
  })

  test('a stranger that has it, and a member that catches up, count for nothing', async () => {
    const { clock, put, says } = acked()
    const write = put('k')
    await clock.advance(10)
    says('x', 2)
    says('b', 2, { streams: false })
    expect(await clock.complete(outcomeOf(write))).toBe('WRITTEN_NOT_ACKED 1/2')
  })

  test('a write that changes nothing, or throws, asks for no ack of its own', async () => {
    const { clock, pipeline } = acked()
    const { receipt } = await clock.complete(pipeline.write((tx) => tx.get('k')))
    expect(receipt).toMatchObject({ asked: 'local', reached: 'local', degraded: false, position: { lsn: 1 } })
    const thrown = pipeline.write(() => {
      throw new Error('mine')
    })
    expect(await clock.complete(outcomeOf(thrown))).toBe('mine')
  })

  test('for `applied` followers may show what is durable here, and must before it is answered', async () => {
    const { clock, pipeline, put, says, keys } = acked(sync(['b'], { level: 'applied' }))
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    expect(pipeline.highWatermark).toBe(2)
    says('b', 2, { applied: 1 })
    await clock.advance(10)
    expect(keys()).toEqual([])
    says('b', 2)
    expect(await clock.complete(write)).toMatchObject({ asked: 'applied', reached: 'applied' })
  })

  test('with the visibility `local` readers of the leader see it at once, followers only once it is acked', async () => {
    const { clock, pipeline, put, says, keys } = acked({ ...POLICY, visibility: 'local' })
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    expect([keys(), pipeline.highWatermark]).toEqual([['k'], 1])
    expect(await clock.complete(outcomeOf(write))).toBe('WRITTEN_NOT_ACKED 1/2')
    says('b', 2)
    expect(pipeline.highWatermark).toBe(2)
  })

  test('records of a group that waits say so, others do not', async () => {
    const { clock, log, put, says } = acked({ level: 'local' }, { limits: { recordBytesMax: 10 } })
    const flags = (): number[] => [...log.records(2)].map((record) => record.flags)
    await clock.complete(put('k'.repeat(25)))
    expect(flags().every((each) => (each & FLAG_AWAITS_ACKS) === 0)).toBe(true)
    const from = log.end.lsn + 1
    says('b', 1)
    const write = put('k'.repeat(26), { of: any(1, ['b']) })
    await clock.advance(10)
    expect([...log.records(from)].map((record) => record.flags & 6)).toEqual([
      2,
      ...Array.from({ length: log.end.lsn - from }, () => 6),
    ])
    says('b', log.end.lsn)
    await clock.complete(write)
  })
})

describe('the rule of one write', () => {
  test('a group is as strict as its strictest write', async () => {
    const { clock, put, says } = acked({ level: 'local' })
    says('b', 1)
    says('c', 1)
    const plain = put('plain')
    const strict = put('strict', { ack: 'durable', of: any(1, ['b']) })
    const stricter = put('stricter', { ack: 'durable', of: any(1, ['c']) })
    await clock.advance(10)
    says('b', 3)
    await clock.advance(10)
    let isAnswered = false
    void plain.then(() => (isAnswered = true))
    await clock.advance(10)
    expect(isAnswered).toBe(false)
    says('c', 3)
    expect((await clock.complete(plain)).asked).toBe('local')
    expect((await clock.complete(strict)).members.map(({ name }) => name)).toEqual(['b'])
    expect((await clock.complete(stricter)).members.map(({ name }) => name)).toEqual(['c'])
  })

  test('a level or a set alone takes the rest from the cluster; local asks for nobody', async () => {
    const { clock, put, says } = acked()
    says('b', 1)
    says('c', 1)
    const both = put('both', { of: any(2, ['b', 'c']) })
    await clock.advance(10)
    // The rules of the group are a record of its own.
    says('b', 3)
    says('c', 3)
    expect(await clock.complete(both)).toMatchObject({
      asked: 'durable',
      members: [{ name: 'b' }, { name: 'c' }],
    })
    const received = put('received', { ack: 'received' })
    await clock.advance(10)
    says('b', 3, { received: 5 })
    expect(await clock.complete(received)).toMatchObject({
      asked: 'received',
      reached: 'received',
      members: [{ name: 'b' }],
    })
    expect(await clock.complete(put('local', { ack: 'local' }))).toMatchObject({
      asked: 'local',
      members: [],
    })
  })

  test.each<[WriteOptions, RegExp]>([
    [{ ack: 'durable' }, /needs a set/],
    [{ of: any(1, ['a']) }, /the leader itself/],
    [{ ack: 'local', of: any(1, ['b']) }, /remove the set/],
  ])('%j is refused, and nothing is written', async (options, message) => {
    const { clock, log, put } = acked({ level: 'local' })
    await expect(clock.complete(put('k', options))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    })
    expect(log.end.lsn).toBe(1)
  })
})

describe('acks that do not come', () => {
  test('block: the write is told, its group waits on, later writes queue and are NOT_WRITTEN in time', async () => {
    const { clock, log, pipeline, put, says, keys } = acked()
    says('b', 1)
    const error = (await clock.complete(put('k').catch((reason: unknown) => reason))) as UnderstudyError
    expect(error).toMatchObject({
      code: 'WRITTEN_NOT_ACKED',
      position: { epoch: 1, lsn: 2 },
      details: { crc: log.end.crc, reason: 'deadline' },
    })
    expect(await clock.complete(outcomeOf(put('late', { timeoutMs: 500 })))).toBe('NOT_WRITTEN')
    const later = put('later')
    await clock.advance(5000)
    expect([log.end.lsn, keys(), pipeline.acks.pending?.lsn]).toEqual([2, [], 2])
    says('b', 2)
    await clock.advance(10)
    says('b', 3)
    await clock.complete(later)
    expect(keys().sort()).toEqual(['k', 'later'])
  })

  test('fail: queued and new writes are NOT_WRITTEN at once, until the set acknowledges', async () => {
    const { clock, put, says, keys } = acked({ ...POLICY, onUnmet: 'fail' })
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    const outcomes = [write, put('queued')].map((each) => outcomeOf(each))
    expect(await clock.complete(Promise.all(outcomes))).toEqual(['WRITTEN_NOT_ACKED 1/2', 'NOT_WRITTEN'])
    const before = clock.monotonic()
    expect(await clock.complete(outcomeOf(put('new')))).toBe('NOT_WRITTEN')
    expect(clock.monotonic()).toBe(before)
    says('b', 2)
    const after = put('after')
    await clock.advance(10)
    says('b', 3)
    await clock.complete(after)
    expect(keys().sort()).toEqual(['after', 'k'])
  })

  test('degrade: a record says so first, receipts say so, and a record that the set has ends it', async () => {
    const told: string[] = []
    const { clock, log, pipeline, put, says, leaves, keys, rules } = acked(
      { ...POLICY, onUnmet: 'degrade' },
      { onAckRule: ({ effective }) => told.push(effective) },
    )
    says('b', 1)
    log.syncsAtOnce = false
    const write = put('k')
    await clock.advance(1)
    log.releaseSyncs()
    let isAnswered = false
    void write.then(() => (isAnswered = true))
    await clock.advance(1500)
    expect(isAnswered).toBe(false)
    expect([keys(), told, log.durable, log.end.lsn]).toEqual([[], [], 2, 3])
    log.syncsAtOnce = true
    log.releaseSyncs()
    expect(await clock.complete(write)).toMatchObject({
      asked: 'durable',
      reached: 'local',
      degraded: true,
      members: [],
    })
    expect([keys(), told, rules(), pipeline.highWatermark]).toEqual([
      ['k'],
      ['local'],
      ['3 not durable FIRST 1 (b, c)'],
      3,
    ])
    expect(pipeline.acks).toMatchObject({ rule: 'durable FIRST 1 (b, c)', effective: 'local' })
    expect(await clock.complete(put('2'))).toMatchObject({
      asked: 'durable',
      reached: 'local',
      degraded: true,
    })
    leaves('b')
    says('c', 4)
    await clock.advance(150)
    expect(rules()).toEqual(['3 not durable FIRST 1 (b, c)'])
    await clock.advance(60)
    expect(log.end.lsn).toBe(5)
    expect(told).toEqual(['local'])
    says('c', 5)
    await clock.advance(1)
    expect([told, rules()]).toEqual([
      ['local', 'durable FIRST 1 (b, c)'],
      ['3 not durable FIRST 1 (b, c)', '5 durable FIRST 1 (b, c)'],
    ])
    const strict = put('3')
    await clock.advance(10)
    expect(pipeline.acks.pending?.lsn).toBe(6)
    says('c', 6)
    expect(await clock.complete(strict)).toMatchObject({ reached: 'durable', degraded: false })
  })

  test('degrade: a set that does not have the record that raises the rule leaves it lowered', async () => {
    const { clock, pipeline, put, says, leaves, rules } = acked({ ...POLICY, onUnmet: 'degrade' })
    await clock.complete(put('k'))
    says('b', 3)
    await clock.advance(201)
    expect(pipeline.acks.pending?.lsn).toBe(4)
    leaves('b')
    const write = put('meanwhile')
    await clock.advance(1001)
    expect(await clock.complete(write)).toMatchObject({ degraded: true })
    expect(rules()).toEqual([
      '3 not durable FIRST 1 (b, c)',
      '4 durable FIRST 1 (b, c)',
      '5 not durable FIRST 1 (b, c)',
    ])
    expect(pipeline.acks.effective).toBe('local')
  })

  test('degrade: with a full disk it waits on, and tries again', async () => {
    const { clock, log, put, rules } = acked({ ...POLICY, onUnmet: 'degrade' })
    const write = put('k')
    await clock.advance(10)
    log.nextAppendError = new UnderstudyError('DISK_FULL', 'full')
    await clock.advance(1500)
    expect(rules()).toEqual([])
    expect(await clock.complete(write)).toMatchObject({ degraded: true })
    expect(rules()).toEqual(['3 not durable FIRST 1 (b, c)'])
  })

  test('degrade: a log that fails meanwhile leaves the outcome unknown', async () => {
    const { clock, log, put, failures, keys } = acked({ ...POLICY, onUnmet: 'degrade' })
    const write = put('k')
    await clock.advance(10)
    log.nextSyncError = new UnderstudyError('LOG_FAILED', 'disk')
    expect(await clock.complete(outcomeOf(write))).toBe('OUTCOME_UNKNOWN 1/2 <- LOG_FAILED')
    expect(failures).toHaveLength(1)
    expect(keys()).toEqual([])
  })

  test('a write has a time of its own', async () => {
    const { clock, put, says } = acked()
    says('b', 1)
    const startMs = clock.monotonic()
    const [short, long] = [put('short', { ackTimeoutMs: 100 }), put('long', { ackTimeoutMs: 3000 })]
    expect(await clock.complete(outcomeOf(short))).toBe('WRITTEN_NOT_ACKED 1/2')
    expect(clock.monotonic() - startMs).toBeLessThan(150)
    await clock.advance(2000)
    says('b', 2)
    expect(await clock.complete(long)).toMatchObject({ reached: 'durable', index: 1 })
  })

  test('a signal ends the wait, and before its turn the write itself', async () => {
    const { clock, pipeline, put, says, keys } = acked()
    says('b', 1)
    const wait = new AbortController()
    const write = put('k', { signal: wait.signal })
    await clock.advance(10)
    const before = new AbortController()
    const queued = outcomeOf(put('queued', { signal: before.signal }))
    before.abort()
    expect(await clock.complete(queued)).toMatch(/^NOT_WRITTEN/)
    wait.abort()
    expect(await clock.complete(outcomeOf(write))).toBe('WRITTEN_NOT_ACKED 1/2')
    expect(await clock.complete(outcomeOf(put('late', { signal: AbortSignal.abort() })))).toMatch(
      /^NOT_WRITTEN/,
    )
    expect(pipeline.acks.pending?.lsn).toBe(2)
    says('b', 2)
    await clock.advance(1)
    expect(keys()).toEqual(['k'])
  })

  test('a member that falls behind is replaced by another that has it, without anything else happening', async () => {
    const { clock, put, says } = acked()
    says('b', 1)
    says('c', 1)
    const write = put('k')
    await clock.advance(10)
    says('c', 2)
    await clock.advance(50)
    expect((await clock.complete(write)).members).toEqual([{ name: 'c', durableAt: expect.any(Number) }])
    expect(clock.monotonic()).toBeGreaterThanOrEqual(100)
  })
})

describe('the end of leading', () => {
  test('close waits a while for acks, then the outcome is unknown and nothing is shown', async () => {
    const { clock, log, pipeline, put, says, keys } = acked(POLICY, { limits: { closeAckMs: 300 } })
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    const queued = put('queued')
    const outcomes = Promise.all([outcomeOf(write), outcomeOf(queued), pipeline.close()])
    expect(await clock.complete(outcomes)).toEqual([
      'OUTCOME_UNKNOWN 1/2',
      'NOT_WRITTEN <- OUTCOME_UNKNOWN 1/2',
      undefined,
    ])
    expect([keys(), log.end.lsn]).toEqual([[], 2])
  })

  test('close answers writes whose acks still come', async () => {
    const { clock, pipeline, put, says, keys } = acked()
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    const closed = pipeline.close()
    await clock.advance(10)
    says('b', 2)
    await clock.complete(Promise.all([write, closed]))
    expect(keys()).toEqual(['k'])
  })

  test('stop leaves what waits unknown, at once', async () => {
    const { clock, pipeline, put, says } = acked()
    says('b', 1)
    const write = put('k')
    await clock.advance(10)
    pipeline.stop(new UnderstudyError('EPOCH_STALE', 'replaced'))
    expect(await clock.complete(outcomeOf(write))).toBe('OUTCOME_UNKNOWN 1/2 <- EPOCH_STALE')
    expect(await clock.complete(outcomeOf(put('new')))).toBe('EPOCH_STALE')
    await clock.complete(pipeline.close())
  })

  test('stop during the sync: what becomes durable then is unknown, too', async () => {
    const { clock, log, pipeline, put, keys } = acked()
    log.syncsAtOnce = false
    const writes = [put('1'), put('2')].map((write) => outcomeOf(write))
    await clock.advance(10)
    pipeline.stop(new UnderstudyError('EPOCH_STALE', 'replaced'))
    log.releaseSyncs()
    expect(await clock.complete(Promise.all(writes))).toEqual(
      Array.from({ length: 2 }, () => 'OUTCOME_UNKNOWN 1/2 <- EPOCH_STALE'),
    )
    expect(keys()).toEqual([])
  })
})

test('first of two: the second alone is not enough', async () => {
  const { clock, put, says, leaves } = acked({
    level: 'durable',
    of: first(2, ['b', 'c']),
    ackTimeoutMs: 300,
  })
  says('b', 1)
  says('c', 1)
  const write = put('k')
  await clock.advance(10)
  says('c', 2)
  leaves('b')
  expect(await clock.complete(outcomeOf(write))).toBe('WRITTEN_NOT_ACKED 1/2')
})
