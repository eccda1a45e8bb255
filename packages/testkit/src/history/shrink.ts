/**
 * Makes a breach small enough to read: the shortest beginning of the history, then less and less of it, as long as it stays a breach.
 *
 * 1. Only steps that make a history easier to explain are tried: an operation that changes nothing is left out, or a value with everything that saw it. So
 *    whatever remains broken was broken before.
 * 2. `stepsMax` bounds the work; what is reached by then is the result.
 */
import { judge, type Broken } from './judge.ts'
import type { Model } from './models.ts'
import type { Operation, Scalar } from './operation.ts'

export interface Shrunk {
  readonly operations: readonly Operation[]
  readonly broken: Broken
}

export function shrink(model: Model, all: readonly Operation[], found: Broken, stepsMax: number): Shrunk {
  const attempt = new Attempt(model, stepsMax)
  let best = shortestBeginning(attempt, { operations: all, broken: found })
  // What failed is no part of the breach: nothing of it happened.
  const happened = best.operations.filter(({ outcome }) => outcome !== 'fail')
  best = attempt.judge(happened) ?? best
  for (let size = Infinity; size > best.operations.length;) {
    size = best.operations.length
    best = withoutReads(attempt, best)
    best = withoutValues(attempt, best, model)
  }
  return best
}

class Attempt {
  readonly #model: Model
  #stepsLeft: number

  constructor(model: Model, stepsMax: number) {
    this.#model = model
    this.#stepsLeft = stepsMax
  }

  judge(operations: readonly Operation[]): Shrunk | undefined {
    if (this.#stepsLeft <= 0) return undefined
    const broken = judge(this.#model, operations, this.#stepsLeft)
    this.#stepsLeft -= broken.steps + operations.length
    return broken.kind === 'broken' ? { operations, broken } : undefined
  }
}

/** Every beginning of a history that can be explained can be explained, so halving finds the shortest that cannot. */
function shortestBeginning(attempt: Attempt, whole: Shrunk): Shrunk {
  const answers = whole.operations
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ completedAtMs }) => completedAtMs)
    .sort((a, b) => a - b)
  let best = whole
  let [low, high] = [0, answers.length - 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const broken = attempt.judge(beginningOf(whole.operations, answers[middle] ?? Infinity))
    if (broken === undefined) low = middle + 1
    else [best, high] = [broken, middle]
  }
  return best
}

function beginningOf(operations: readonly Operation[], endMs: number): Operation[] {
  return operations
    .filter(({ invokedAtMs }) => invokedAtMs <= endMs)
    .map((operation) => {
      if (operation.completedAtMs <= endMs || operation.outcome !== 'ok') return operation
      const { output: _, ...called } = operation
      return { ...called, outcome: 'unknown', completedAtMs: Infinity }
    })
}

function withoutReads(attempt: Attempt, from: Shrunk): Shrunk {
  const reads = new Set(from.operations.filter(({ kind, output }) => kind === 'read' || output === false))
  return withoutMost(attempt, from, [...reads], ({ operations }, dropped) =>
    operations.filter((operation) => !dropped.has(operation)),
  )
}

function withoutValues(attempt: Attempt, from: Shrunk, model: Model): Shrunk {
  const values = new Set<Scalar>()
  for (const operation of from.operations) {
    const value = model.makes(operation)
    if (value !== undefined) values.add(value)
  }
  return withoutMost(attempt, from, [...values], ({ operations }, dropped) =>
    model.without(operations, dropped),
  )
}

/** Leaves out as many of `units` as it can: halves first, single ones last. */
function withoutMost<Unit>(
  attempt: Attempt,
  from: Shrunk,
  units: readonly Unit[],
  leaveOut: (from: Shrunk, units: ReadonlySet<Unit>) => Operation[] | undefined,
): Shrunk {
  let best = from
  let left = [...units]
  for (let size = left.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < left.length;) {
      const piece = left.slice(at, at + size)
      const operations = leaveOut(best, new Set(piece))
      const smaller = operations === undefined ? undefined : attempt.judge(operations)
      if (smaller === undefined) {
        at += size
      } else {
        best = smaller
        left = left.toSpliced(at, size)
      }
    }
  }
  return best
}
