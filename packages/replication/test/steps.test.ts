import { isUnderstudyError, type Condition } from '@understudy/contracts'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { holds, type StepOutcome } from '../src/conditions.ts'
import { checkSteps, runSteps, type StepKind } from '../src/index.ts'
import { digestOf } from '../src/write-key.ts'

/** A step that does what it says, on a count of all changes. */
interface Doing {
  readonly changes?: number
  readonly rows?: number
  /** SQLite's code of its failure, and what it leaves behind. */
  readonly fails?: number
  readonly leaves?: number
  readonly when?: Condition
  readonly require?: Condition
  readonly expect?: number
}

function run(...steps: Doing[]): { readonly ran: number[]; readonly results: string[] } {
  const ran: number[] = []
  let total = 0
  const kind: StepKind<Doing, string> = {
    run(step) {
      ran.push(steps.indexOf(step))
      if (step.fails !== undefined) {
        total += step.leaves ?? 0
        throw Object.assign(new Error(`failed with ${step.fails}`), {
          code: 'ERR_SQLITE_ERROR',
          errcode: step.fails,
        })
      }
      total += step.changes ?? 0
      return { result: 'ran', changes: step.changes ?? 0, rows: step.rows ?? 0 }
    },
    skipped: () => 'skipped',
    failed: ({ message }) => message,
    held: () => 'held',
    totalChanges: () => total,
  }
  return { ran, results: runSteps(steps, kind) }
}

function codeOf(...steps: Doing[]): string {
  try {
    run(...steps)
    return 'ran'
  } catch (error) {
    return isUnderstudyError(error) ? error.code : (error as Error).message
  }
}

describe('steps of a list', () => {
  test('without conditions each runs, and the first failure is the failure of all', () => {
    expect(run({ changes: 1 }, {}, { rows: 3 }).results).toEqual(['ran', 'ran', 'ran'])
    expect(codeOf({ changes: 1 }, { fails: 19 }, {})).toBe('failed with 19')
  })

  test.each<[Condition, boolean]>([
    [{ ok: 0 }, true],
    [{ ok: 1 }, false],
    [{ ok: 2 }, false],
    [{ error: 0 }, false],
    [{ error: 1 }, true],
    [{ error: 2 }, false],
    [{ changed: 0 }, true],
    [{ changed: 0, rows: 2 }, true],
    [{ changed: 0, rows: 1 }, false],
    [{ changed: 1, rows: 0 }, false],
    [{ changed: 2, rows: 0 }, false],
    [{ changed: 3 }, false],
    [{ changed: 3, rows: 0 }, true],
    [{ returned: 3 }, true],
    [{ returned: 3, rows: 5 }, true],
    [{ returned: 3, rows: 4 }, false],
    [{ returned: 0 }, false],
    [{ not: { ok: 1 } }, true],
    [{ and: [] }, true],
    [{ or: [] }, false],
    [{ and: [{ ok: 0 }, { ok: 1 }] }, false],
    [{ or: [{ ok: 1 }, { ok: 0 }] }, true],
  ])(
    '%j is %s of one that changed two rows, one that failed, one that was skipped, one that returned five',
    (when, is) => {
      const { results } = run(
        { changes: 2 },
        { fails: 19 },
        { when: { error: 0 } },
        { rows: 5 },
        { when: { or: [{ error: 1 }, when] } },
        { when },
      )
      expect(results).toEqual(['ran', 'failed with 19', 'skipped', 'ran', 'ran', is ? 'ran' : 'skipped'])
    },
  )

  test('a step whose condition does not hold is not run', () => {
    expect(run({ changes: 0 }, { when: { changed: 0 } }, { when: { not: { ok: 1 } } }).ran).toEqual([0, 2])
  })

  test('only a statement that is asked for its error may fail', () => {
    const after: Doing = { when: { error: 1 } }
    expect(codeOf({}, { fails: 19 }, after)).toBe('ran')
    expect(codeOf({}, { fails: 1555 }, after)).toBe('ran')
    expect(codeOf({ fails: 19 }, { fails: 19 }, after)).toBe('failed with 19')
    expect(codeOf({}, { fails: 19 }, { when: { not: { ok: 1 } } })).toBe('failed with 19')
  })

  test.each([13, 10, 266, 7, 11])('SQLite code %d is nobody’s own, and fails all', (fails) => {
    expect(codeOf({ fails }, { when: { error: 0 } })).toBe(`failed with ${fails}`)
  })

  test('a failure that left rows behind cannot be taken back alone, and fails all', () => {
    expect(codeOf({ fails: 19, leaves: 1 }, { when: { error: 0 } })).toBe('failed with 19')
  })

  test('a requirement that does not hold fails all, and says what became of each step', () => {
    const steps: Doing[] = [
      { changes: 1 },
      { fails: 19 },
      { when: { ok: 1 } },
      { require: { error: 1 } },
      { require: { changed: 0, rows: 2 } },
      {},
    ]
    try {
      run(...steps)
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({
        code: 'CONDITION_FAILED',
        details: { statement: 4, ran: [0, 3], skipped: [2], failed: [1] },
      })
      expect((error as Error).message).toContain('ran: 0, 3; skipped: 2; failed: 1')
    }
  })

  test('the expected number of rows counts for a step that runs', () => {
    expect(codeOf({ changes: 2, expect: 1 })).toBe('EXPECTATION_FAILED')
    expect(codeOf({ changes: 0 }, { changes: 2, expect: 1, when: { changed: 0 } })).toBe('ran')
    expect(codeOf({ changes: 2, expect: 1 }, { when: { error: 0 } })).toBe('EXPECTATION_FAILED')
  })

  test.each<[string, unknown]>([
    ['of itself', { ok: 1 }],
    ['of a later step', { changed: 2 }],
    ['of no step', { error: -1 }],
    ['of a fraction', { returned: 0.5 }],
    ['of nothing', {}],
    ['of two things', { ok: 0, error: 0 }],
    ['that is unknown', { matches: 0 }],
    ['that is null', null],
    ['of rows where there are none', { ok: 0, rows: 1 }],
    ['of less than no rows', { changed: 0, rows: -1 }],
    ['with no list', { and: { ok: 0 } }],
    ['within another', { or: [{ not: { ok: 5 } }] }],
    ['too deep', Array.from({ length: 16 }).reduce<unknown>((inner) => ({ not: inner }), { ok: 0 })],
  ])('a condition %s is refused before anything runs', (_, condition) => {
    for (const steps of [
      [{}, { when: condition }],
      [{}, { require: condition }],
    ] as object[][])
      expect(() => checkSteps(steps)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  test('conditions are judged as logic says, for any outcome', () => {
    const outcome: fc.Arbitrary<StepOutcome> = fc.oneof(
      fc.constant<StepOutcome>({ kind: 'skipped' }),
      fc.constant<StepOutcome>({ kind: 'failed' }),
      fc.record({ kind: fc.constant('ran' as const), changes: fc.nat(3), rows: fc.nat(3) }),
    )
    const step = fc.nat(3)
    const { condition } = fc.letrec<{ condition: Condition }>((tie) => ({
      condition: fc.oneof(
        { maxDepth: 4 },
        fc.record({ ok: step }),
        fc.record({ error: step }),
        fc.record({ changed: step, rows: fc.nat(3) }),
        fc.record({ returned: step }),
        fc.record({ not: tie('condition') }),
        fc.record({ and: fc.array(tie('condition'), { maxLength: 3 }) }),
        fc.record({ or: fc.array(tie('condition'), { maxLength: 3 }) }),
      ),
    }))
    fc.assert(
      fc.property(fc.array(outcome, { minLength: 4, maxLength: 4 }), condition, condition, (all, a, b) => {
        const is = (each: Condition): boolean => holds(each, all)
        expect(is({ not: a })).toBe(!is(a))
        expect(is({ and: [a, b] })).toBe(is(a) && is(b))
        expect(is({ or: [a, b] })).toBe(is(a) || is(b))
        for (let at = 0; at < 4; at++)
          expect(
            Number(is({ ok: at })) + Number(is({ error: at })) + Number(all[at]?.kind === 'skipped'),
          ).toBe(1)
      }),
    )
  })

  test('the digest of a key tells conditions apart, and leaves lists without them as they were', () => {
    const list = [{ sql: 'a' }, { sql: 'b', params: [1] }]
    const digests = [
      list,
      [{ sql: 'a' }, { sql: 'b', params: [1], when: { ok: 0 } }],
      [{ sql: 'a' }, { sql: 'b', params: [1], when: { changed: 0 } }],
      [{ sql: 'a' }, { sql: 'b', params: [1], when: { changed: 0, rows: 1 } }],
      [...list, { require: { ok: 0 } }],
    ].map((body) => Buffer.from(digestOf(body, undefined) ?? []).toString('hex'))
    expect(new Set(digests).size).toBe(digests.length)
    // Kept in databases: it never changes.
    expect(digests[0]).toBe('83d1b163e749cda7957c6ac2d3973eb4')
  })
})
