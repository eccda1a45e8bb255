import { describe, expect, test } from 'vitest'
import * as fc from 'fast-check'
import { AckTracker, any, first, type AckRule } from '../src/index.ts'

const LIMITS = { settleMs: 100, lagMsMax: 50, lagBytesMax: 1000 }
const DURABLE_ANY: AckRule = { level: 'durable', of: any(1, ['b', 'c']) }
const FIRST_1: AckRule = { level: 'durable', of: first(1, ['b', 'c', 'd']) }

/** A tracker with a clock that moves by hand. */
class Scene {
  readonly tracker = new AckTracker(LIMITS)
  nowMs = 0
  end = 0

  /** The leader is durable up to here. */
  write(lsn: number): this {
    this.end = lsn
    this.tracker.advance(lsn, this.nowMs)
    return this
  }

  at(ms: number): this {
    this.nowMs = ms
    return this
  }

  says(
    name: string,
    durable: number,
    more: Partial<{ streams: boolean; received: number; applied: number; unackedBytes: number }> = {},
  ): this {
    const progress = { streams: true, received: durable, durable, applied: durable, unackedBytes: 0, ...more }
    this.tracker.note(name, progress, this.nowMs, 1e6 + this.nowMs)
    return this
  }

  leaves(name: string): this {
    this.tracker.note(name, undefined, this.nowMs, this.nowMs)
    return this
  }

  satisfied(rule: AckRule): number {
    return this.tracker.satisfied(rule, this.nowMs)
  }

  states(rule: AckRule, names = 'bcd'): string {
    return names
      .split('')
      .map((name) => this.tracker.syncState(rule, name, this.nowMs))
      .join(' ')
  }
}

describe('ANY n', () => {
  test('counts the n furthest members, at the level of the rule', () => {
    const scene = new Scene().write(9).says('b', 5, { received: 8, applied: 2 }).says('c', 3)
    expect(scene.satisfied({ level: 'received', of: any(1, ['b', 'c']) })).toBe(8)
    expect(scene.satisfied(DURABLE_ANY)).toBe(5)
    expect(scene.satisfied({ level: 'durable', of: any(2, ['b', 'c']) })).toBe(3)
    expect(scene.satisfied({ level: 'applied', of: any(1, ['b']) })).toBe(2)
    expect(scene.satisfied({ level: 'local' })).toBe(9)
  })

  test('a stranger never counts', () => {
    const scene = new Scene().write(9).says('x', 9).says('b', 4)
    expect(scene.satisfied(DURABLE_ANY)).toBe(4)
    expect(scene.tracker.holders(DURABLE_ANY, 9)).toEqual([])
    expect(scene.tracker.syncState(DURABLE_ANY, 'x', 0)).toBe('async')
  })

  test('a member that catches up does not count before it streams, one that left does not count any more', () => {
    const scene = new Scene().write(9).says('b', 9, { streams: false })
    expect(scene.satisfied(DURABLE_ANY)).toBe(0)
    expect(scene.states(DURABLE_ANY, 'bc')).toBe('potential potential')
    scene.says('b', 9)
    expect(scene.satisfied(DURABLE_ANY)).toBe(9)
    expect(scene.states(DURABLE_ANY, 'bc')).toBe('quorum potential')
    scene.write(12).says('b', 12).leaves('b')
    expect(scene.satisfied(DURABLE_ANY)).toBe(9)
  })

  test('what was satisfied stays so', () => {
    const scene = new Scene().write(9).says('b', 9)
    expect(scene.satisfied(DURABLE_ANY)).toBe(9)
    scene.leaves('b').says('c', 2)
    expect(scene.satisfied(DURABLE_ANY)).toBe(9)
  })
})

describe('FIRST n', () => {
  test('the first of the order counts alone', () => {
    const scene = new Scene().write(9).says('b', 4).says('c', 9)
    expect(scene.satisfied(FIRST_1)).toBe(4)
    expect(scene.states(FIRST_1)).toBe('sync potential potential')
  })

  test('one that leaves is replaced at once, and nothing is acked by what is left in between', () => {
    const scene = new Scene().write(9).says('b', 9).says('c', 7)
    expect(scene.satisfied(FIRST_1)).toBe(9)
    scene.write(10).leaves('b')
    expect(scene.satisfied(FIRST_1)).toBe(9)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.says('c', 9)
    expect(scene.satisfied(FIRST_1)).toBe(9)
    scene.says('c', 10)
    expect(scene.satisfied(FIRST_1)).toBe(10)
    scene.write(11).leaves('c')
    expect(scene.satisfied(FIRST_1)).toBe(10)
  })

  test('one that falls behind in time is replaced, and comes back only after it kept up for a while', () => {
    const scene = new Scene().write(9).says('b', 9).says('c', 9)
    scene.at(10).write(10).says('c', 10)
    expect(scene.satisfied(FIRST_1)).toBe(9)
    expect(scene.tracker.dueMs(FIRST_1, 10)).toBe(60)
    scene.at(60)
    expect(scene.satisfied(FIRST_1)).toBe(10)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.at(70).says('b', 10)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.at(169)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.at(170)
    expect(scene.states(FIRST_1)).toBe('sync potential potential')
  })

  test('one that falls behind in bytes is replaced', () => {
    const scene = new Scene().write(9).says('b', 8, { unackedBytes: 1001 }).says('c', 9)
    expect(scene.satisfied(FIRST_1)).toBe(9)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
  })

  test('with nobody to replace it, one that lags is waited for', () => {
    const scene = new Scene().write(9).says('b', 8).at(1000)
    expect(scene.states(FIRST_1)).toBe('sync potential potential')
    expect(scene.satisfied(FIRST_1)).toBe(8)
    scene.says('b', 9)
    expect(scene.satisfied(FIRST_1)).toBe(9)
  })

  test('a first member that is new takes no place before it has settled', () => {
    const scene = new Scene().write(9).says('c', 9)
    expect(scene.satisfied(FIRST_1)).toBe(9)
    scene.at(50).says('b', 9)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.at(149)
    expect(scene.states(FIRST_1)).toBe('potential sync potential')
    scene.at(150)
    expect(scene.states(FIRST_1)).toBe('sync potential potential')
  })

  test('of two, both must have it', () => {
    const rule: AckRule = { level: 'durable', of: first(2, ['b', 'c', 'd']) }
    const scene = new Scene().write(9).says('b', 9).says('d', 9)
    expect(scene.satisfied(rule)).toBe(9)
    scene.write(10).says('b', 10)
    expect(scene.satisfied(rule)).toBe(9)
    scene.leaves('d').says('c', 9)
    expect(scene.satisfied(rule)).toBe(9)
    scene.says('c', 10)
    expect(scene.satisfied(rule)).toBe(10)
  })
})

test('holders say when they told that it is durable', () => {
  const scene = new Scene().write(9).at(5).says('b', 9).at(6).says('c', 4, { received: 9 })
  expect(scene.tracker.holders(DURABLE_ANY, 9)).toEqual([{ name: 'b', durableAt: 1_000_005 }, { name: 'c' }])
})

test('readiness needs as many settled members as the rule asks for', () => {
  const rule: AckRule = { level: 'durable', of: any(2, ['b', 'c', 'd']) }
  const scene = new Scene().write(9).says('b', 9).says('c', 9)
  expect(scene.tracker.isReady(rule, 99)).toBe(false)
  expect(scene.tracker.isReady(rule, 100)).toBe(true)
  scene.at(100).says('b', 9).leaves('c')
  expect(scene.tracker.isReady(rule, 1000)).toBe(false)
})

test('whatever happens: no rule is satisfied beyond what as many of its members said, and none goes back', () => {
  const step = fc.record({
    who: fc.constantFrom('b', 'c', 'd', 'x'),
    what: fc.constantFrom('write', 'ack', 'ack', 'ack', 'leave', 'join', 'time'),
    amount: fc.integer({ min: 1, max: 60 }),
  })
  const rules: AckRule[] = [
    DURABLE_ANY,
    FIRST_1,
    { level: 'durable', of: any(2, ['b', 'c', 'd']) },
    { level: 'durable', of: first(2, ['d', 'b', 'c']) },
  ]
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const scene = new Scene()
      const disk = new Map<string, number>()
      const before = new Map<AckRule, number>()
      for (const { who, what, amount } of steps) {
        const had = disk.get(who) ?? 0
        if (what === 'write') scene.write(scene.end + amount)
        if (what === 'time') scene.at(scene.nowMs + amount)
        if (what === 'leave') scene.leaves(who)
        if (what === 'ack' || what === 'join') {
          disk.set(who, Math.min(scene.end, had + (what === 'ack' ? amount : 0)))
          scene.says(who, disk.get(who) ?? 0, { streams: what === 'ack' })
        }
        for (const rule of rules) {
          const lsn = scene.satisfied(rule)
          const holders = (rule.of?.names ?? []).filter((name) => (disk.get(name) ?? 0) >= lsn)
          expect(holders.length).toBeGreaterThanOrEqual(lsn === 0 ? 0 : (rule.of?.count ?? 0))
          expect(lsn).toBeGreaterThanOrEqual(before.get(rule) ?? 0)
          before.set(rule, lsn)
        }
      }
    }),
    { numRuns: 500 },
  )
})
