/** The verdict on the operations of one object: prepared by its model, ordered by the search. */
import { Contradiction, type Machine, type Model } from './models.ts'
import type { Operation, Scalar } from './operation.ts'
import { search } from './search.ts'

export interface Broken {
  readonly kind: 'broken'
  readonly steps: number
  readonly culprit: Operation
  readonly reason: string
}

export type Judgement = Broken | { readonly kind: 'linearizable' | 'undecided'; readonly steps: number }

/** The operations of one object. */
export function judge(model: Model, operations: readonly Operation[], stepsMax: number): Judgement {
  const relevant = relevantOf(model, operations)
  let machine: Machine
  try {
    machine = model.prepare(relevant)
  } catch (error) {
    if (!(error instanceof Contradiction)) throw error
    const [first] = error.operations.toSorted((a, b) => b.completedAtMs - a.completedAtMs)
    if (first === undefined) throw error
    return { kind: 'broken', steps: relevant.length, culprit: first, reason: error.message }
  }
  const isPure = (operation: Operation): boolean => model.makes(operation) === undefined
  const result = search(machine, relevant, isPure, stepsMax)
  if (result.kind !== 'broken') return result
  const states = result.states.slice(0, STATES_SHOWN_MAX).map((state) => machine.describe(state))
  if (result.states.length > STATES_SHOWN_MAX) states.push('…')
  const reason = `before it was answered, all that could have been there is ${states.join(' or ')}`
  return { kind: 'broken', steps: result.steps, culprit: result.culprit, reason }
}

const STATES_SHOWN_MAX = 6

/** Without what failed, and without what need not have happened, because nobody saw it. */
function relevantOf(model: Model, operations: readonly Operation[]): Operation[] {
  let left = operations.filter(
    ({ outcome, kind }) => outcome === 'ok' || (outcome === 'unknown' && kind !== 'read'),
  )
  for (;;) {
    const observed = new Set<Scalar>()
    for (const operation of left) {
      const seen = model.observes(operation)
      if (seen === 'all') return left
      for (const value of seen) observed.add(value)
    }
    const kept = left.filter((operation) => {
      const makes = model.makes(operation)
      return operation.outcome === 'ok' || (makes !== undefined && observed.has(makes))
    })
    if (kept.length === left.length) return kept
    left = kept
  }
}
