import { describe, expect, test } from 'vitest'
import { decide, forecast, type Estimates } from '../src/index.ts'
import { any, gone, held, member, observed, ATTEMPT } from './observed.ts'

const ESTIMATES: Estimates = {
  detectMs: 1000,
  leaseMs: 600,
  stepMs: 10,
  fetchedPerSecond: 1000,
  appliedPerSecond: 500,
}
const ALIVE = { verdict: 'alive', silentMs: 0, reasons: ['b hears a'] } as const

describe('if the leader died now', () => {
  test('who would lead, how long it would take, what would be lost', () => {
    const leader = member('a', 20, { state: 'leading' })
    const given = {
      ...observed([], { verdict: ALIVE }),
      members: [leader, member('b', 10, { appliedLsn: 5 }), member('c', 10)],
    }
    expect(decide(given).action.kind).toBe('none')
    const answer = forecast(given, ESTIMATES)
    // Stop, promise, promote, and one step to begin: four times 10 ms, and 5 records to apply.
    expect(answer).toMatchObject({ outcome: 'promote', name: 'b', tookMs: 1000 + 40 + 10, unreplicated: 10 })
    expect(answer.mayLose).toBeUndefined()
    expect(answer.summary).toBe(
      'b would lead in about 1050 ms; no acknowledged commit would be lost, and 10 records are not replicated yet.',
    )
  })

  test('a lease that is in force now is in the estimate, and is waited for once', () => {
    const given = observed([member('b', 10), member('c', 10)], { verdict: ALIVE })
    const { coordinator } = given
    if (coordinator.kind !== 'reachable') throw new Error('unreachable')
    const leased = {
      ...given,
      coordinator: { ...coordinator, lease: { holder: 'a', epoch: 1, freeAtMs: 1600 } },
    }
    expect(forecast(leased, { ...ESTIMATES, leaseMs: 1500 })).toMatchObject({ name: 'b', tookMs: 1500 + 40 })
  })

  test('does not count on the leader whose death it is about', () => {
    const leader = member('a', 20, { state: 'leading' })
    const given = {
      ...observed([], { verdict: ALIVE, rule: any(1, 'b', 'c') }),
      members: [leader, member('b', 10), gone('c')],
    }
    const answer = forecast(given, ESTIMATES)
    expect(answer).toMatchObject({ outcome: 'refuse', mayLose: { after: { epoch: 1, lsn: 10 } } })
    expect(answer.summary).toBe('Nobody would be promoted: nobody provably holds every acknowledged commit.')
  })

  test('names what an asynchronous cluster would lose', () => {
    const policy = { ...observed([]).policy, allowAsyncFailover: true }
    const leader = member('a', 20, { state: 'leading' })
    const given = {
      ...observed([], { verdict: ALIVE, rule: { level: 'local' }, policy }),
      members: [leader, member('b', 10)],
    }
    expect(forecast(given, ESTIMATES)).toMatchObject({ name: 'b', mayLose: { after: { epoch: 1, lsn: 10 } } })
  })

  test('without a coordinator it says what a promotion by a person would do', () => {
    const rules = { rule: any(1, 'b', 'c'), mayBeLowered: false }
    const members = [member('b', 10, { rules }), member('c', 12, { rules })]
    const answer = forecast(observed(members, { verdict: ALIVE, coordinator: { kind: 'manual' } }), ESTIMATES)
    expect(answer).toMatchObject({ outcome: 'promote', name: 'c', tookMs: 40 })
    expect(answer.summary).toMatch(/^c would lead once a person promotes it/)
  })

  test('paused is nobody', () => {
    const policy = { ...observed([]).policy, paused: true }
    expect(forecast(observed([member('b', 10)], { policy }), ESTIMATES)).toMatchObject({ outcome: 'none' })
  })

  test('what is under way is left out, and the estimate grows with what must be fetched', () => {
    const given = observed([held('b', 10), held('c', 10, {}, { neverPromote: true })], {
      attempt: ATTEMPT,
      holdUntilMs: 9e9,
    })
    const behind = observed([member('b', 10), member('c', 110, {}, { neverPromote: true })])
    expect(forecast(given, ESTIMATES)).toMatchObject({ name: 'b', tookMs: 1000 + 30 })
    expect(forecast(behind, ESTIMATES)).toMatchObject({ name: 'b', tookMs: 1000 + 50 + 100 + 400 })
  })
})
