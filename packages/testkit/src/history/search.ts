/**
 * Looks for an order of the operations of one object in which each happens between its call and its answer.
 *
 * After Wing and Gong, with Lowe's just-in-time order: the history is gone through once, and all that may be the case at each moment is kept as a set of
 * configurations, each a state with the operations under way that have happened already. An operation happens in a configuration only when its
 * answer, or that of another one, needs it.
 *
 * 1. Work and memory depend on how many operations are under way at once, not on how many there are.
 * 2. What changes nothing and fits the state happens at once: no continuation is lost by it.
 * 3. Operations of unknown outcome stay under way for ever, and need never happen. Of two configurations that differ only in that one has used more of
 *    them, that one is dropped. Of several that do the same, the one that was asked for first happens first.
 * 4. `stepsMax` bounds the work. What it cuts short is undecided, which is no verdict.
 */
import type { Machine } from './models.ts'
import type { Operation, Scalar } from './operation.ts'

interface Configuration {
  readonly state: Scalar
  /** Of those whose answer is known and still to come: which have happened. */
  readonly known: bigint
  /** Of those of unknown outcome: which have happened. */
  readonly maybe: bigint
}

interface UnderWay {
  readonly operation: Operation
  readonly bit: bigint
  readonly isMaybe: boolean
  readonly isPure: boolean
  /** Of unknown outcome: the one that happens before it does, 0 when there is none. */
  readonly before: bigint
}

export type SearchResult =
  | { readonly kind: 'linearizable'; readonly steps: number }
  /** The answer that nothing before it explains, and the states that were possible before it. */
  | {
      readonly kind: 'broken'
      readonly culprit: Operation
      readonly states: readonly Scalar[]
      readonly steps: number
    }
  | { readonly kind: 'undecided'; readonly steps: number }

/** Configurations, without those that another one makes superfluous. */
class Configurations {
  readonly #byState = new Map<Scalar, Map<bigint, bigint[]>>()
  size = 0

  /** Whether it was new. */
  add({ state, known, maybe }: Configuration): boolean {
    let byKnown = this.#byState.get(state)
    if (byKnown === undefined) this.#byState.set(state, (byKnown = new Map()))
    const there = byKnown.get(known)
    if (there === undefined) {
      byKnown.set(known, [maybe])
      this.size++
      return true
    }
    if (there.some((each) => (each & maybe) === each)) return false
    const kept = there.filter((each) => (each & maybe) !== maybe)
    this.size += kept.length + 1 - there.length
    kept.push(maybe)
    byKnown.set(known, kept)
    return true
  }

  *[Symbol.iterator](): Generator<Configuration> {
    for (const [state, byKnown] of this.#byState)
      for (const [known, maybes] of byKnown) for (const maybe of maybes) yield { state, known, maybe }
  }

  states(): Scalar[] {
    return [...this.#byState.keys()]
  }
}

interface Moment {
  readonly atMs: number
  readonly isAnswer: boolean
  readonly operation: Operation
}

/** Calls before answers of the same moment, so that nothing is called a breach for want of a finer clock. */
function momentsOf(operations: readonly Operation[]): Moment[] {
  const moments: Moment[] = []
  for (const operation of operations) {
    const { invokedAtMs, completedAtMs } = operation
    moments.push({ atMs: invokedAtMs, isAnswer: false, operation })
    if (operation.outcome === 'ok') moments.push({ atMs: completedAtMs, isAnswer: true, operation })
  }
  return moments.sort((a, b) => a.atMs - b.atMs || Number(a.isAnswer) - Number(b.isAnswer))
}

/** `isPure`: whether an operation changes no state. Operations that failed must not be among them. */
export function search(
  machine: Machine,
  operations: readonly Operation[],
  isPure: (operation: Operation) => boolean,
  stepsMax: number,
): SearchResult {
  const walk = new Walk(machine, stepsMax)
  for (const { isAnswer, operation } of momentsOf(operations)) {
    if (!isAnswer) {
      walk.begin(operation, isPure(operation))
      continue
    }
    const result = walk.answer(operation)
    if (result !== undefined) return result
  }
  return { kind: 'linearizable', steps: walk.steps }
}

class Walk {
  steps = 0
  readonly #machine: Machine
  readonly #stepsMax: number
  readonly #underWay = new Map<Operation, UnderWay>()
  readonly #freeBits: bigint[] = []
  readonly #lastOfClass = new Map<string, bigint>()
  #bits = 0n
  #maybes = 0n
  #current = new Configurations()

  constructor(machine: Machine, stepsMax: number) {
    this.#machine = machine
    this.#stepsMax = stepsMax
    this.#current.add({ state: machine.initial, known: 0n, maybe: 0n })
  }

  begin(operation: Operation, isPure: boolean): void {
    const isMaybe = operation.outcome !== 'ok'
    const bit = isMaybe ? 1n << this.#maybes++ : (this.#freeBits.pop() ?? 1n << this.#bits++)
    let before = 0n
    if (isMaybe) {
      const name = this.#machine.classOf(operation)
      before = this.#lastOfClass.get(name) ?? 0n
      this.#lastOfClass.set(name, bit)
    }
    this.#underWay.set(operation, { operation, bit, isMaybe, isPure, before })
  }

  /** `operation` must have happened by now. */
  answer(operation: Operation): SearchResult | undefined {
    const answered = this.#underWay.get(operation)
    if (answered === undefined) throw new TypeError('an operation is answered before it is called')
    const { bit } = answered
    const next = new Configurations()
    const seen = new Configurations()
    const open = [...this.#current]
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const settled = this.#settle(at)
      if ((settled.known & bit) !== 0n) {
        next.add({ ...settled, known: settled.known ^ bit })
        continue
      }
      if (this.steps > this.#stepsMax) return { kind: 'undecided', steps: this.steps }
      if (!seen.add(settled)) continue
      this.#expand(settled, answered, open)
    }
    if (next.size === 0)
      return { kind: 'broken', culprit: operation, states: this.#current.states(), steps: this.steps }
    this.#current = next
    this.#underWay.delete(operation)
    this.#freeBits.push(bit)
    return undefined
  }

  /** Puts what can come of `at` onto `open`. */
  #expand(at: Configuration, answered: UnderWay, open: Configuration[]): void {
    const { isForced } = this.#machine
    const first = this.#happen(at, answered)
    if (first !== undefined) open.push(first)
    if (first !== undefined && isForced) return
    for (const each of this.#underWay.values()) {
      if (each === answered) continue
      const after = this.#happen(at, each)
      if (after === undefined) continue
      open.push(after)
      if (isForced) return
    }
  }

  /** With all that changes nothing and fits. */
  #settle(at: Configuration): Configuration {
    let { known } = at
    for (const { operation, bit, isMaybe, isPure } of this.#underWay.values()) {
      if (!isPure || isMaybe || (known & bit) !== 0n) continue
      this.steps++
      if (this.#machine.step(at.state, operation) === at.state) known |= bit
    }
    return known === at.known ? at : { ...at, known }
  }

  #happen(at: Configuration, each: UnderWay): Configuration | undefined {
    const { operation, bit, isMaybe, isPure, before } = each
    if (isPure || ((isMaybe ? at.maybe : at.known) & bit) !== 0n) return undefined
    if ((at.maybe & before) !== before) return undefined
    this.steps++
    const state = this.#machine.step(at.state, operation)
    if (state === undefined) return undefined
    if (!isMaybe) return { state, known: at.known | bit, maybe: at.maybe }
    // It need not happen, and would change nothing.
    return state === at.state ? undefined : { state, known: at.known, maybe: at.maybe | bit }
  }
}
