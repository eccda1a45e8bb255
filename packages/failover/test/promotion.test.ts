import { describe, expect, test } from 'vitest'
import { Promotion, type Member, type PromotionEffect, type PromotionEvent } from '../src/index.ts'
import { any, member, observed, RUN_2, type Given } from './observed.ts'

const PROMISE = { epoch: 2, runId: RUN_2, candidate: 'b' }
const STOPPED = { receiversStopped: true }
const PROMISED = { ...STOPPED, promised: PROMISE }

class Run {
  readonly promotion: Promotion = new Promotion({ self: 'b', runId: () => RUN_2, fraction: () => 0.5 })
  nowMs = 1000

  /** What it asks for, without the records. */
  step(event: PromotionEvent): PromotionEffect[] {
    return this.promotion.step(event, this.nowMs).filter((effect) => effect.kind !== 'record')
  }

  see(members: readonly Member[], given: Given = {}): PromotionEffect[] {
    return this.step({ kind: 'observed', observations: observed(members, { nowMs: this.nowMs, ...given }) })
  }

  /** Up to the claim. */
  claiming(): PromotionEffect[] {
    this.see([member('b', 12), member('c', 12)])
    this.see([member('b', 12, STOPPED), member('c', 12, STOPPED)])
    return this.see([member('b', 12, PROMISED), member('c', 12, PROMISED)])
  }
}

const kinds = (effects: readonly PromotionEffect[]): string[] => effects.map((effect) => effect.kind)

describe('promotion', () => {
  test('from a dead leader to the first write, step by step', () => {
    const run = new Run()
    expect(run.see([member('b', 10), member('c', 12)], { self: 'b', confirmedAtMs: 0, nowMs: 1000 })).toEqual(
      [{ kind: 'stopReceivers', names: ['b', 'c'] }],
    )
    expect(run.promotion.phase).toBe('stopping')
    // Asked once: what is observed meanwhile asks nobody again.
    expect(run.see([member('b', 10, STOPPED), member('c', 12)], { confirmedAtMs: 0 })).toEqual([])
    expect(run.see([member('b', 10, STOPPED), member('c', 12, STOPPED)], { confirmedAtMs: 0 })).toEqual([
      { kind: 'promise', promise: PROMISE, voters: ['b', 'c'], isPlanned: false },
    ])
    expect(run.see([member('b', 10, PROMISED), member('c', 12, STOPPED)])).toEqual([])
    expect(run.see([member('b', 10, PROMISED), member('c', 12, PROMISED)])).toMatchObject([
      { kind: 'fetchTail', from: 'c', to: 'b', upTo: { lsn: 12 } },
    ])
    expect(run.promotion.phase).toBe('fetching')
    expect(run.see([member('b', 11, PROMISED), member('c', 12, PROMISED)])).toEqual([])
    run.step({ kind: 'tailFetched' })
    expect(run.see([member('b', 12, { ...PROMISED, appliedLsn: 10 }), member('c', 12, PROMISED)])).toEqual([
      { kind: 'apply', upToLsn: 12 },
    ])
    expect(run.step({ kind: 'applied' })).toMatchObject([
      {
        kind: 'claim',
        promotion: {
          name: 'b',
          epoch: 2,
          runId: RUN_2,
          expectedRevision: '7',
          acks: { rule: any(1, 'a', 'c') },
        },
      },
    ])
    expect(run.step({ kind: 'claimed', validUntilMs: 1500 })).toMatchObject([
      { kind: 'beginEpoch', validUntilMs: 1500 },
    ])
    expect(run.step({ kind: 'begun' })).toMatchObject([{ kind: 'acceptWrites', validUntilMs: 1500 }])
    expect(run.promotion.phase).toBe('leading')
    expect(run.see([member('b', 13), member('c', 12)])).toEqual([])
  })

  test('each decision that is acted on comes with its record, before what it decides', () => {
    const run = new Run()
    const observations = observed([member('b', 12), member('c', 12)])
    const effects = run.promotion.step({ kind: 'observed', observations }, 1000)
    expect(kinds(effects)).toEqual(['record', 'stopReceivers'])
    expect(kinds(run.promotion.step({ kind: 'observed', observations }, 1001))).toEqual([])
  })

  test('does nothing of what is the turn of another one', () => {
    const run = new Run()
    expect(run.see([member('b', 10), member('c', 12)])).toEqual([])
    expect(run.promotion.phase).toBe('idle')
  })

  test('a claim with an unknown outcome is repeated, and its own state is a success', () => {
    const run = new Run()
    expect(kinds(run.claiming())).toEqual(['claim'])
    expect(kinds(run.step({ kind: 'claimUncertain' }))).toEqual(['claim'])
    expect(kinds(run.step({ kind: 'claimConflict', epoch: 2, runId: RUN_2, validUntilMs: 1500 }))).toEqual([
      'beginEpoch',
    ])
  })

  test('another one was first: it gives up, and lets go on whom it stopped', () => {
    const run = new Run()
    run.claiming()
    expect(run.step({ kind: 'claimConflict', epoch: 3, runId: 'x', validUntilMs: 1500 })).toEqual([
      {
        kind: 'abandon',
        reason: 'the run x of epoch 3 was first',
        hadLed: false,
        holdUntilMs: 1450,
        stopped: ['b', 'c'],
      },
    ])
    expect(run.promotion.phase).toBe('idle')
    expect(run.promotion.attempt).toBeUndefined()
    // And waits before it tries again.
    expect(run.see([member('b', 12), member('c', 12)])).toEqual([])
    run.nowMs = 1450
    expect(kinds(run.see([member('b', 12), member('c', 12)]))).toEqual(['stopReceivers'])
  })

  test('a lease that ended while it claimed, or while the epoch began, lets nobody write', () => {
    const claimed = new Run()
    claimed.claiming()
    expect(kinds(claimed.step({ kind: 'claimed', validUntilMs: 1000 }))).toEqual(['abandon'])
    const begun = new Run()
    begun.claiming()
    begun.step({ kind: 'claimed', validUntilMs: 1100 })
    begun.nowMs = 1100
    expect(begun.step({ kind: 'begun' })).toMatchObject([
      { kind: 'abandon', reason: 'its lease was over before it led' },
    ])
  })

  test('a higher epoch ends it in every phase, leading included; a lower one in none', () => {
    const superseded = (epoch: number): PromotionEvent => ({ kind: 'superseded', epoch })
    const stopping = new Run()
    stopping.see([member('b', 12), member('c', 12)])
    expect(kinds(stopping.step(superseded(1)))).toEqual(['abandon'])
    const leading = new Run()
    leading.claiming()
    leading.step({ kind: 'claimed', validUntilMs: 1500 })
    leading.step({ kind: 'begun' })
    expect(leading.step(superseded(2))).toEqual([])
    expect(kinds(leading.step(superseded(3)))).toEqual(['abandon'])
    expect(leading.promotion.phase).toBe('idle')
  })

  test('the leader is heard again: it gives up', () => {
    const run = new Run()
    run.see([member('b', 12), member('c', 12)])
    const verdict = { verdict: 'alive', silentMs: 0, reasons: ['c hears a'] } as const
    expect(run.see([member('b', 12, STOPPED), member('c', 12)], { verdict })).toMatchObject([
      { kind: 'abandon', reason: 'a is not held dead' },
    ])
  })

  test('one that does not answer in time, or says no, is left out, if the rest proves enough', () => {
    const rule = any(2, 'b', 'c', 'd')
    const run = new Run()
    const three = [member('b', 12), member('c', 12), member('d', 12)]
    expect(run.see(three, { rule })).toMatchObject([{ names: ['b', 'c', 'd'] }])
    run.nowMs = 1501
    expect(
      run.see([member('b', 12, STOPPED), member('c', 12, STOPPED), member('d', 12)], { rule }),
    ).toMatchObject([{ kind: 'promise', voters: ['b', 'c'] }])
    run.step({ kind: 'refused', name: 'c', reason: 'it hears the leader', runId: RUN_2 })
    expect(
      run.see([member('b', 12, PROMISED), member('c', 12, STOPPED), member('d', 12)], { rule }),
    ).toMatchObject([{ kind: 'abandon', reason: 'nobody provably holds every acknowledged commit' }])
  })

  test('a word about an attempt that is over says nothing about the next one', () => {
    const run = new Run()
    run.step({ kind: 'refused', name: 'c', reason: 'late' })
    run.see([member('b', 12), member('c', 12)])
    run.step({ kind: 'refused', name: 'c', reason: 'late', runId: 'old' })
    expect(run.see([member('b', 12, STOPPED), member('c', 12, STOPPED)])).toMatchObject([
      { voters: ['b', 'c'] },
    ])
  })

  test('a tail that cannot be fetched is done without, if that loses nothing', () => {
    const rule = any(2, 'b', 'c', 'd')
    const run = new Run()
    const three = (more: object, lsn = 12): Member[] => [
      member('b', lsn, more),
      member('c', lsn, more),
      member('d', lsn + 1, more, { neverPromote: true }),
    ]
    run.see(three({}), { rule })
    run.see(three(STOPPED), { rule })
    expect(run.see(three(PROMISED), { rule })).toMatchObject([{ kind: 'fetchTail', from: 'd' }])
    run.step({ kind: 'tailFailed', from: 'd', reason: 'it went away' })
    expect(run.see(three(PROMISED), { rule })).toMatchObject([
      { kind: 'claim', promotion: { from: { lsn: 12 } } },
    ])
    const strict = new Run()
    const all = any(1, 'b', 'c', 'd')
    strict.see(three({}), { rule: all })
    strict.see(three(STOPPED), { rule: all })
    strict.see(three(PROMISED), { rule: all })
    strict.step({ kind: 'tailFailed', from: 'd', reason: 'it went away' })
    expect(strict.see(three(PROMISED), { rule: all })).toMatchObject([{ kind: 'abandon' }])
  })

  test('takes no longer than it may', () => {
    const run = new Run()
    run.claiming()
    run.nowMs = 11_001
    expect(run.step({ kind: 'claimUncertain' })).toMatchObject([
      { kind: 'abandon', reason: 'it took too long' },
    ])
  })

  test('without a coordinator there is nothing to compare and set; the epoch begins after the claim all the same', () => {
    const rules = { rule: any(1, 'b', 'c'), mayBeLowered: false }
    const given: Given = { coordinator: { kind: 'manual' }, intent: { kind: 'promote', acceptLoss: false } }
    const run = new Run()
    run.see([member('b', 12, { rules }), member('c', 12, { rules })], given)
    run.see([member('b', 12, { rules, ...STOPPED }), member('c', 12, { rules, ...STOPPED })], given)
    const [claim] = run.see(
      [member('b', 12, { rules, ...PROMISED }), member('c', 12, { rules, ...PROMISED })],
      given,
    )
    expect(claim).toMatchObject({ kind: 'claim' })
    expect(claim?.kind === 'claim' && claim.promotion.expectedRevision).toBeUndefined()
    expect(kinds(run.step({ kind: 'claimed', validUntilMs: Infinity }))).toEqual(['beginEpoch'])
    expect(kinds(run.step({ kind: 'begun' }))).toEqual(['acceptWrites'])
  })
})
