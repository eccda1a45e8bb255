/** The suite of coordinators: the published state. */
import { expect, test } from 'vitest'
import type { PublishedState } from '@understudy/contracts'
import { rejectsWith, STATE, type Stage } from './under-test.ts'

export function stateTests(begin: () => Promise<Stage>): void {
  test('at first there is no state and no lease', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const before = stage.clock.monotonic()
    const observation = await a.observe()
    expect(observation).toEqual({ revision: '0', observedAtMs: observation.observedAtMs })
    expect(observation.observedAtMs).toBeGreaterThanOrEqual(before)
    expect(observation.observedAtMs).toBeLessThanOrEqual(stage.clock.monotonic())
  })

  test('a state is read by others as it was published, all of it', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const state: PublishedState = {
      ...STATE,
      leader: { name: 'a', addresses: ['tcp://[::1]:7401', 'wss://ä.example/x'] },
      acks: {
        rule: { level: 'local' },
        next: { level: 'applied', of: { kind: 'first', count: 2, names: ['b', 'c', 'd'] } },
      },
      ceilings: new Map([
        ['note "x"', 2n ** 63n - 1n],
        ['__proto__', 7n],
        ['ß', 0n],
      ]),
      paused: true,
    }
    const revision = await a.publish(state, { expected: '0' })
    const seen = await b.observe()
    expect(seen.revision).toBe(revision)
    expect(seen.state).toEqual(state)
    const { leader: _nobody, ...leaderless } = state
    await b.publish(leaderless, { expected: revision })
    expect((await a.observe()).state).toEqual(leaderless)
  })

  test('what the caller changes after publishing changes nothing', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const ceilings = new Map([['note', 5n]])
    await a.publish({ ...STATE, ceilings }, { expected: '0' })
    ceilings.set('note', 6n)
    expect((await a.observe()).state?.ceilings.get('note')).toBe(5n)
  })

  test('of many that replace one revision, one succeeds', async () => {
    await using stage = await begin()
    const all = [await stage.open(), await stage.open(), await stage.open()]
    let expected = '0'
    for (let round = 1; round <= 3; round++) {
      const tries = Array.from({ length: 12 }, (_, at) => {
        const state = {
          ...STATE,
          epoch: round,
          runId: `run-${round}`,
          leader: { name: `n${at}`, addresses: [] },
        }
        return all[at % 3]!.publish(state, { expected }).then((revision) => ({ revision, name: `n${at}` }))
      })
      const outcomes = await Promise.allSettled(tries)
      const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
      expect(won).toHaveLength(1)
      for (const [at, outcome] of outcomes.entries())
        if (outcome.status === 'rejected') await rejectsWith(tries[at]!, 'COORDINATOR_CONFLICT')
      const seen = await all[0]!.observe()
      expect([seen.revision, seen.state?.leader?.name]).toEqual([won[0]?.revision, won[0]?.name])
      expected = seen.revision
    }
  })

  test('a revision that was replaced is a conflict, also with the same state again', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const first = await a.publish(STATE, { expected: '0' })
    const second = await a.publish({ ...STATE, paused: true }, { expected: first })
    expect(second).not.toBe(first)
    for (const expected of ['0', first])
      await rejectsWith(a.publish({ ...STATE, paused: true }, { expected }), 'COORDINATOR_CONFLICT')
    const third = await a.publish(STATE, { expected: second })
    expect([first, second]).not.toContain(third)
  })

  test('what must not follow is refused, and nothing changes', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const ceilings = new Map([
      ['note', 100n],
      ['tag', 9n],
    ])
    const state = { ...STATE, epoch: 4, ceilings }
    const expected = await a.publish(state, { expected: '0' })
    const refused = (next: PublishedState, code: Parameters<typeof rejectsWith>[1]): Promise<unknown> =>
      rejectsWith(a.publish(next, { expected }), code)
    await refused({ ...state, cluster: 'other' }, 'FOREIGN_CLUSTER')
    await refused({ ...state, epoch: 3 }, 'EPOCH_STALE')
    await refused({ ...state, runId: 'fedcba9876543210' }, 'EPOCH_FORK')
    await refused({ ...state, ceilings: new Map([...ceilings, ['note', 99n]]) }, 'INVALID_ARGUMENT')
    await refused({ ...state, epoch: 5, runId: 'x', ceilings: new Map([['note', 100n]]) }, 'INVALID_ARGUMENT')
    expect((await a.observe()).revision).toBe(expected)
    const next = { ...state, epoch: 5, runId: 'x', ceilings: new Map([['note', 101n]]) }
    await a.publish(next, { expected, forget: ['tag'] })
    expect((await a.observe()).state).toEqual(next)
  })

  test('publishing under a grant needs that it is in force', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const lease = await stage.acquire(a)
    const revision = await a.publish(STATE, { expected: '0', grant: lease.grant })
    await lease.release()
    const again = { ...STATE, paused: true }
    await rejectsWith(a.publish(again, { expected: revision, grant: lease.grant }), 'LEASE_LOST')
    const next = await stage.acquire(b, { holder: 'b', epoch: 2 })
    await rejectsWith(a.publish(again, { expected: revision, grant: lease.grant }), 'LEASE_LOST')
    // A renewal is no other grant.
    await next.renew()
    await b.publish({ ...again, epoch: 2, runId: 'b' }, { expected: revision, grant: next.grant })
    expect((await a.observe()).state?.epoch).toBe(2)
  })
}
