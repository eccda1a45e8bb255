/** Every order of a few operations, tried: slow and simple, so that the checker can be held against it. */
import type { Operation, Output, Scalar } from '../../src/history/linearizability.ts'

export type ModelName = 'register' | 'set' | 'append'

/** Registers are scalars, sets and lists are arrays in the order of the adds. */
type State = Scalar | readonly Scalar[]

function stepOf(model: ModelName, state: State, operation: Operation): State | undefined {
  const { kind, value = null, from = null, output } = operation
  if (model === 'register') {
    if (kind === 'read') return output === state ? state : undefined
    if (kind === 'write') return value
    const does = state === from
    if (output !== undefined && output !== does) return undefined
    return does ? value : state
  }
  const elements = state as readonly Scalar[]
  if (kind === 'add') return [...elements, value]
  const [seen, there] =
    model === 'set'
      ? [sorted(output as readonly Scalar[]), sorted(elements)]
      : [(output as readonly Scalar[]).map(String), elements.map(String)]
  return JSON.stringify(seen) === JSON.stringify(there) ? state : undefined
}

function sorted(values: readonly Scalar[]): string[] {
  return values.map(String).toSorted((a, b) => a.localeCompare(b))
}

/** Of one object; at most nine or so. */
export function bruteForce(model: ModelName, operations: readonly Operation[]): boolean {
  const happened = operations.filter(
    ({ outcome, kind }) => outcome === 'ok' || (outcome === 'unknown' && kind !== 'read'),
  )
  const go = (state: State, left: readonly Operation[]): boolean => {
    if (left.every(({ outcome }) => outcome === 'unknown')) return true
    // Nothing may come before what was over before it began.
    const soonest = Math.min(...left.map(({ completedAtMs }) => completedAtMs))
    return left.some((each) => {
      if (each.invokedAtMs > soonest) return false
      const after = stepOf(model, state, each)
      const others = left.filter((other) => other !== each)
      if (after !== undefined && go(after, others)) return true
      return false
    })
  }
  return go(model === 'register' ? null : [], happened)
}

let next = 0

/** An operation of `c1` on `x`, called at `from` and answered at `to`; without `to` its outcome is unknown. */
export function op(
  action: Partial<Operation> & Pick<Operation, 'kind'>,
  from: number,
  to?: number,
  outcome: Operation['outcome'] = to === undefined ? 'unknown' : 'ok',
): Operation {
  return {
    id: next++,
    process: 'c1',
    key: 'x',
    ...action,
    outcome,
    invokedAtMs: from,
    completedAtMs: outcome === 'ok' ? (to ?? Infinity) : outcome === 'fail' ? (to ?? from) : Infinity,
  }
}

export const write = (value: Scalar, from: number, to?: number): Operation =>
  op({ kind: 'write', value }, from, to)
export const add = (value: Scalar, from: number, to?: number): Operation =>
  op({ kind: 'add', value }, from, to)
export const read = (output: Output, from: number, to: number): Operation =>
  op({ kind: 'read', output }, from, to)
