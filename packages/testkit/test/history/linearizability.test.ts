import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { explainLinearizability } from '../../src/history/explain.ts'
import {
  appends,
  checkLinearizability,
  register,
  uniqueSet,
  type LinearizabilityReport,
  type Operation,
  type Scalar,
} from '../../src/history/linearizability.ts'
import { add, bruteForce, op, read, write, type ModelName } from './brute-force.ts'
import { simulatedHistory } from './simulated-history.ts'

const MODELS = { register: register(), set: uniqueSet(), append: appends() }

function check(model: ModelName, operations: readonly Operation[]): LinearizabilityReport {
  return checkLinearizability(operations, { model: MODELS[model] })
}

/** Times in a small range, so that much overlaps and some times are equal. */
const span = fc
  .tuple(fc.nat(12), fc.integer({ min: 1, max: 6 }))
  .map(([from, length]) => [from, from + length] as const)
const outcome = fc.constantFrom<Operation['outcome']>('ok', 'ok', 'ok', 'unknown', 'fail')

function timed(action: fc.Arbitrary<Partial<Operation> & Pick<Operation, 'kind'>>): fc.Arbitrary<Operation> {
  return fc
    .tuple(action, span, outcome)
    .map(([what, [from, to], how]) =>
      op(how === 'ok' ? what : { ...what, output: undefined! }, from, to, how),
    )
    .map(({ output, ...rest }) => (output === undefined ? rest : { ...rest, output }))
}

const value = fc.integer({ min: 1, max: 3 })
const registers = fc.array(
  timed(
    fc.oneof(
      fc.record({ kind: fc.constant('read' as const), output: fc.option(value) }),
      fc.record({ kind: fc.constant('write' as const), value }),
      fc.record({ kind: fc.constant('cas' as const), from: value, value, output: fc.boolean() }),
    ),
  ),
  { maxLength: 7 },
)

/** Adds of different elements, and reads of any of them. */
function collections(kind: 'set' | 'append'): fc.Arbitrary<Operation[]> {
  const some = kind === 'set' ? fc.subarray([1, 2, 3, 4]) : fc.shuffledSubarray([1, 2, 3, 4])
  const reads = fc.array(timed(fc.record({ kind: fc.constant('read' as const), output: some })), {
    maxLength: 4,
  })
  const adds = fc
    .subarray([1, 2, 3, 4])
    .chain((elements) =>
      fc.tuple(
        ...elements.map((element) =>
          timed(fc.record({ kind: fc.constant('add' as const), value: fc.constant(element) })),
        ),
      ),
    )
  return fc.tuple(adds, reads).map(([first, second]) => [...first, ...second])
}

describe('against every order of small histories', () => {
  const seen: Record<ModelName, Set<string>> = { register: new Set(), set: new Set(), append: new Set() }
  test.for([
    ['register', registers],
    ['set', collections('set')],
    ['append', collections('append')],
  ] as const)('%s', ([model, histories]) => {
    fc.assert(
      fc.property(histories, (operations) => {
        const report = check(model, operations)
        const expected = bruteForce(model, operations) ? 'linearizable' : 'broken'
        seen[model].add(expected)
        expect(report.verdict).toBe(expected)
        // What is shown of a breach is one, and no operation that changes nothing could be left out.
        for (const breach of report.breaches) {
          expect(bruteForce(model, breach.operations)).toBe(false)
          for (const each of breach.operations.filter(({ kind }) => kind === 'read'))
            expect(
              bruteForce(
                model,
                breach.operations.filter((other) => other !== each),
              ),
            ).toBe(true)
        }
      }),
      { numRuns: 4000 },
    )
    expect([...seen[model]].toSorted()).toEqual(['broken', 'linearizable'])
  })
})

describe('registers', () => {
  test('a read may see what is being written, before or after', () => {
    const overlapping = [write(1, 0, 10), read(null, 1, 4), read(1, 5, 9)]
    expect(check('register', overlapping).verdict).toBe('linearizable')
    expect(check('register', [...overlapping, read(null, 5.5, 6)]).verdict).toBe('linearizable')
    expect(check('register', [...overlapping, read(null, 9.5, 9.8)]).verdict).toBe('broken')
  })

  test('a write of unknown outcome may happen later, or never, or once', () => {
    const base = [write(1, 0, 1), write(2, 2), read(1, 3, 4)]
    expect(check('register', [...base, read(2, 50, 51)]).verdict).toBe('linearizable')
    expect(check('register', [...base, read(1, 50, 51)]).verdict).toBe('linearizable')
    const twice = [...base, read(2, 50, 51), write(3, 52, 53), read(2, 54, 55)]
    expect(check('register', twice).verdict).toBe('broken')
  })

  test('what was refused must not be seen, and the explanation says who was told so', () => {
    const refused = op({ kind: 'write', value: 9, error: 'NOT_WRITTEN', process: 'c7' }, 0, 1, 'fail')
    const report = check('register', [refused, write(1, 2, 3), read(9, 4, 5)])
    expect(report.verdict).toBe('broken')
    expect(explainLinearizability(report)).toContain('c7 was told that write 9 did not happen (NOT_WRITTEN)')
  })

  test('a cas that was answered did what it said', () => {
    const swap = op({ kind: 'cas', from: 1, value: 2, output: true }, 2, 3)
    const not = op({ kind: 'cas', from: 1, value: 2, output: false }, 2, 3)
    expect(check('register', [write(1, 0, 1), swap, read(2, 4, 5)]).verdict).toBe('linearizable')
    expect(check('register', [write(1, 0, 1), swap, read(1, 4, 5)]).verdict).toBe('broken')
    expect(check('register', [write(1, 0, 1), not]).verdict).toBe('broken')
  })

  test('each object is checked by itself', () => {
    const other = { ...read(5, 20, 21), key: 'y' }
    const report = check('register', [write(1, 0, 1), read(1, 2, 3), other])
    expect(report).toMatchObject({ verdict: 'broken', keys: 2, breaches: [{ key: 'y' }] })
  })
})

describe('explanations', () => {
  test('of a stale read among ten thousand operations name the three that matter, and what was done meanwhile', () => {
    const history = simulatedHistory('register', { operations: 10_000, seed: 3 })
    const end = Math.max(...history.map(({ invokedAtMs }) => invokedAtMs)) + 100
    const extra = [write('old', end, end + 1), write('new', end + 2, end + 3), read('old', end + 4, end + 5)]
    const later = [write('later', end + 6, end + 7), read('later', end + 8, end + 9)]
    const report = check('register', [
      ...history,
      ...[...extra, ...later].map((each) => ({ ...each, key: 'k0' })),
    ])
    const [breach] = report.breaches
    expect(breach?.operations.map(({ kind, value, output }) => [kind, value ?? output])).toEqual([
      ['write', 'old'],
      ['write', 'new'],
      ['read', 'old'],
    ])
    const text = explainLinearizability(report, [
      { atMs: 1, text: 'long before' },
      { atMs: end + 1.5, text: 'cut a from b' },
    ])
    expect(text.split('\n')).toEqual([
      expect.stringMatching(/^broken: 10005 operations on 8 objects, \d+ steps$/),
      'register k0: no order explains what these operations were answered:',
      `    ${end.toFixed(3)} – ${(end + 1).toFixed(3)} ms  c1: write "old"  (ok)`,
      `    ${(end + 1.5).toFixed(3)} ms  ** cut a from b`,
      `    ${(end + 2).toFixed(3)} – ${(end + 3).toFixed(3)} ms  c1: write "new"  (ok)`,
      `  → ${(end + 4).toFixed(3)} – ${(end + 5).toFixed(3)} ms  c1: read → "old"  (ok)`,
      '  c1: read → "old": before it was answered, all that could have been there is "new"',
    ])
  })

  test('two reads that contradict each other are enough, with one element', () => {
    const report = check('set', [
      add(1, 0, 9),
      add(2, 0, 9),
      add(3, 0, 9),
      read([1, 3], 2, 3),
      read([2, 3], 4, 5),
    ])
    const [breach] = report.breaches
    expect(breach?.operations.map(({ kind, value, output }) => [kind, value ?? output])).toEqual([
      ['add', 1],
      ['read', [1]],
      ['read', []],
    ])
    expect(explainLinearizability(report)).toContain('(reads are shown with these elements only)')
  })

  test('a list is never shown in two orders', () => {
    const [breach] = check('append', [
      add(1, 0, 9),
      add(2, 0, 9),
      read([1], 2, 3),
      read([2, 1], 4, 5),
    ]).breaches
    expect(breach?.reason).toContain('two reads show another element at index 0: 1 and 2')
  })
})

/** Changes one answer of a history that was right, so that it is not any more. */
const PLANTED: Record<
  string,
  { model: ModelName; plant: (history: Operation[]) => Operation[] | undefined }
> = {
  'a read that is stale': {
    model: 'register',
    plant: (history) => alterLast(history, 'read', (each) => ({ ...each, output: staleFor(each, history) })),
  },
  'an acknowledged add that is lost': {
    model: 'set',
    plant: (history) => alterLast(history, 'read', (each) => ({ ...each, output: listOf(each).slice(1) })),
  },
  'an element that is there twice': {
    model: 'append',
    plant: (history) =>
      alterLast(history, 'read', (each) => ({ ...each, output: [...listOf(each), listOf(each)[0]!] })),
  },
  'two elements that changed places': {
    model: 'append',
    plant: (history) =>
      alterLast(history, 'read', (each) => ({
        ...each,
        output: [...listOf(each).slice(1), listOf(each)[0]!],
      })),
  },
  'an element that nobody added': {
    model: 'set',
    plant: (history) =>
      alterLast(history, 'read', (each) => ({ ...each, output: [...listOf(each), 'nobody'] })),
  },
}

function listOf({ output }: Operation): readonly Scalar[] {
  return output as readonly Scalar[]
}

function alterLast(
  history: Operation[],
  kind: Operation['kind'],
  alter: (operation: Operation) => Operation,
): Operation[] {
  const at = history.findLastIndex((each) => each.kind === kind && each.outcome === 'ok')
  return history.with(at, alter(history[at]!))
}

/** A value that was overwritten long before. */
function staleFor(operation: Operation, history: readonly Operation[]): Scalar {
  const before = history.filter(
    ({ key, kind, outcome, completedAtMs }) =>
      key === operation.key &&
      kind === 'write' &&
      outcome === 'ok' &&
      completedAtMs < operation.invokedAtMs - 20,
  )
  return before[0]?.value ?? null
}

describe('in long histories with faults', () => {
  test.for(Object.entries(PLANTED))('%s is caught, and nothing else is', ([, { model, plant }]) => {
    for (let seed = 1; seed <= 10; seed++) {
      const history = simulatedHistory(model, {
        operations: 400,
        seed,
        reads: model === 'register' ? 500 : 50,
      })
      expect(check(model, history).verdict).toBe('linearizable')
      const planted = plant(history)
      const report = check(model, planted!)
      expect(report.verdict).toBe('broken')
      expect(report.breaches[0]!.operations.length).toBeLessThan(12)
    }
  })

  test.for(['register', 'set', 'append'] as const)(
    '20,000 operations on each %s take a second or two',
    (model) => {
      const history = simulatedHistory(model, { operations: 20_000, seed: 7, clients: 16 })
      const begin = process.cpuUsage()
      const report = check(model, history)
      const { user, system } = process.cpuUsage(begin)
      expect(report).toMatchObject({ verdict: 'linearizable', operations: 20_000 })
      expect((user + system) / 1e6).toBeLessThan(20)
    },
  )

  test('work that is not enough is no verdict', () => {
    const history = simulatedHistory('register', { operations: 2000, seed: 5 })
    const report = checkLinearizability(history, { model: register(), stepsMax: 50 })
    expect(report.verdict).toBe('undecided')
    expect(report.undecided.length).toBeGreaterThan(0)
    expect(explainLinearizability(report)).toContain('the steps allowed did not suffice: k')
  })

  test.for([false, true])(
    'writes of unknown outcome that nobody saw cost nothing, failed cas among them: %s',
    (withCas) => {
      const lost = Array.from({ length: 300 }, (_, n) => write(`lost ${n}`, n))
      const swaps = Array.from({ length: withCas ? 0 : 300 }, (_, n) =>
        op({ kind: 'cas', from: n, value: `swap ${n}` }, n),
      )
      const answered = Array.from({ length: 300 }, (_, n) => [
        write(n, n, n + 0.4),
        read(n, n + 0.5, n + 0.9),
        // It can only have failed because a write without an answer came between.
        ...(withCas && n % 10 === 0
          ? [op({ kind: 'cas', from: n, value: `never ${n}`, output: false }, n + 0.91, n + 0.95)]
          : []),
      ]).flat()
      const report = check('register', [...lost, ...swaps, ...answered])
      expect(report.verdict).toBe('linearizable')
      expect(report.steps).toBeLessThan(100_000)
      const before = [write('x', -9, -8), op({ kind: 'cas', from: 'x', value: 'y', output: false }, -7, -6)]
      expect(check('register', [...before, ...lost, ...swaps, ...answered]).verdict).toBe('broken')
    },
  )
})
