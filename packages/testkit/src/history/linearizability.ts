/**
 * Whether a history is linearizable: whether each operation can have happened at one moment between its call and its answer.
 *
 * Decides object by object, which together is the whole (locality, Herlihy and Wing). Leaves the order to `search`, what objects are to `models`.
 *
 * 1. An operation that failed must not be seen; one of unknown outcome may happen at any later moment, or never.
 * 2. What is broken is shown as the shortest beginning of the history that no order explains, less what it does not need. Each step down is checked, so
 *    that what is shown is itself a breach.
 * 3. `stepsMax` bounds the work for each object; a verdict that was not reached says `undecided`.
 */
import { judge, type Broken } from './judge.ts'
import type { Model } from './models.ts'
import { describeAction, type Operation } from './operation.ts'
import { shrink } from './shrink.ts'

export { appends, register, uniqueSet, type Machine, type Model } from './models.ts'
export type { Action, ActionKind, Operation, Outcome, Output, Scalar } from './operation.ts'

export interface CheckOptions {
  readonly model: Model
  /** For each object, 20 million by default: some ten seconds. */
  readonly stepsMax?: number
  /** For making a breach small, 2 million by default. */
  readonly shrinkStepsMax?: number
}

/** One object that no order explains. */
export interface Breach {
  readonly key: string
  readonly model: Model['name']
  /** A history of this object that is broken by itself, in the order of its calls. */
  readonly operations: readonly Operation[]
  /** The answer that nothing explains. */
  readonly culprit: Operation
  readonly reason: string
}

export interface LinearizabilityReport {
  readonly verdict: 'linearizable' | 'broken' | 'undecided'
  readonly operations: number
  readonly keys: number
  readonly steps: number
  readonly breaches: readonly Breach[]
  /** Objects that `stepsMax` did not suffice for. */
  readonly undecided: readonly string[]
}

const STEPS_MAX = 20_000_000
const SHRINK_STEPS_MAX = 2_000_000

/** `operations` in any order. */
export function checkLinearizability(
  operations: readonly Operation[],
  options: CheckOptions,
): LinearizabilityReport {
  const { model, stepsMax = STEPS_MAX, shrinkStepsMax = SHRINK_STEPS_MAX } = options
  const byKey = Map.groupBy(operations, ({ key }) => key)
  const breaches: Breach[] = []
  const undecided: string[] = []
  let steps = 0
  for (const [key, ofKey] of byKey) {
    const verdict = judge(model, ofKey, stepsMax)
    steps += verdict.steps
    if (verdict.kind === 'undecided') undecided.push(key)
    if (verdict.kind === 'broken') breaches.push(breachOf(model, key, ofKey, verdict, shrinkStepsMax))
  }
  const verdict = breaches.length > 0 ? 'broken' : undecided.length > 0 ? 'undecided' : 'linearizable'
  return { verdict, operations: operations.length, keys: byKey.size, steps, breaches, undecided }
}

function breachOf(
  model: Model,
  key: string,
  all: readonly Operation[],
  found: Broken,
  stepsMax: number,
): Breach {
  const { operations, broken } = shrink(model, all, found, stepsMax)
  return {
    key,
    model: model.name,
    operations: operations.toSorted((a, b) => a.invokedAtMs - b.invokedAtMs),
    culprit: broken.culprit,
    reason: [broken.reason, ...refusalsOf(model, broken.culprit, all)].join('; '),
  }
}

/** What was seen although its writer was told that it was not written. */
function refusalsOf(model: Model, culprit: Operation, all: readonly Operation[]): string[] {
  const seen = model.observes(culprit)
  if (seen === 'all') return []
  const values = new Set(seen)
  return all
    .filter(({ outcome, value = null }) => outcome === 'fail' && values.has(value))
    .slice(0, 3)
    .map(
      (failed) =>
        `${failed.process} was told that ${describeAction(failed)} did not happen${failed.error === undefined ? '' : ` (${failed.error})`}`,
    )
}
