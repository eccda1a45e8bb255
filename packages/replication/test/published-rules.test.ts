/** Rules of acks are published before they are in force: with a place that takes them, takes its time, or does not. */
import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { any, type AckPolicy, type RulesToPublish } from '../src/index.ts'
import { acked, type Acked } from './support/acked.ts'

const TIMES: Partial<AckPolicy> = { ackTimeoutMs: 1000, settleMs: 200, lagMsMax: 100 }
const B: AckPolicy = { ...TIMES, level: 'durable', of: any(1, ['b']) }
const C: AckPolicy = { ...TIMES, level: 'durable', of: any(1, ['c']) }
const DEGRADES: AckPolicy = { ...B, onUnmet: 'degrade' }

/** What is published, by the time that it was. */
class Place {
  readonly told: string[] = []
  isReached = true
  #waiting: (() => void)[] = []
  isSlow = false

  readonly publish = async ({ rule, next }: RulesToPublish): Promise<void> => {
    if (!this.isReached) throw new UnderstudyError('COORDINATOR_UNAVAILABLE', 'not reached')
    if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.told.push([rule, next].map((each) => each?.of?.names.join() ?? each?.level ?? 'alone').join(' '))
  }

  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

function streaming(policy: AckPolicy, place: Place): Acked {
  const made = acked(policy, { publishRules: place.publish })
  made.says('b', 1)
  made.says('c', 1)
  return made
}

test('a change is published before its record is appended, and its end after it', async () => {
  const place = new Place()
  place.isSlow = true
  const { clock, log, pipeline, says } = streaming(B, place)
  const change = pipeline.changeAcks(C)
  await clock.advance(100)
  expect(log.end.lsn).toBe(1)
  place.answer()
  await clock.advance(10)
  expect([place.told, log.end.lsn]).toEqual([['b c'], 2])
  place.isSlow = false
  says('b', 2)
  says('c', 2)
  await clock.complete(change)
  await clock.advance(10)
  expect(place.told).toEqual(['b c', 'c alone'])
})

test('what cannot be published is not done', async () => {
  const place = new Place()
  place.isReached = false
  const { clock, log, pipeline } = streaming(B, place)
  await expect(clock.complete(pipeline.changeAcks(C))).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
  expect([log.end.lsn, pipeline.acks.change]).toEqual([1, undefined])
})

test('the end of a change is published again until it is', async () => {
  const place = new Place()
  const { clock, pipeline, says } = streaming(B, place)
  const change = pipeline.changeAcks(C)
  await clock.advance(10)
  place.isReached = false
  says('b', 2)
  says('c', 2)
  await clock.complete(change)
  await clock.advance(2500)
  expect(place.told).toEqual(['b c'])
  place.isReached = true
  await clock.advance(1500)
  expect(place.told).toEqual(['b c', 'c alone'])
})

test('a rule is lowered only once that is published, and raised before that is taken back', async () => {
  const place = new Place()
  place.isReached = false
  const { clock, pipeline, put, says } = streaming(DEGRADES, place)
  const write = put('one')
  await clock.advance(5000)
  expect(pipeline.acks).toMatchObject({ degraded: false, pending: { lsn: 2 } })
  place.isReached = true
  expect(await clock.complete(write)).toMatchObject({ degraded: true })
  expect(place.told).toEqual(['b local'])
  says('b', 3)
  await clock.advance(1000)
  says('b', 4)
  await clock.advance(1000)
  expect(pipeline.acks.degraded).toBe(false)
  expect(place.told).toEqual(['b local', 'b alone'])
})

test('a rule is lowered as soon as that is published, not a time of the policy later', async () => {
  const place = new Place()
  const { clock, pipeline, put } = streaming(DEGRADES, place)
  const write = put('one')
  await clock.advance(1000)
  expect(place.told).toEqual(['b local'])
  await clock.advance(50)
  expect(pipeline.acks.degraded).toBe(true)
  expect(await clock.complete(write)).toMatchObject({ degraded: true })
})

test('a lowering that was published in vain is taken back', async () => {
  const place = new Place()
  place.isSlow = true
  const { clock, pipeline, put, says } = streaming(DEGRADES, place)
  const write = put('one')
  await clock.advance(1100)
  says('b', 2)
  expect(await clock.complete(write)).toMatchObject({ degraded: false })
  place.isSlow = false
  place.answer()
  await clock.advance(12_000)
  expect(place.told).toEqual(['b local', 'b alone'])
  expect(pipeline.acks.degraded).toBe(false)
})
