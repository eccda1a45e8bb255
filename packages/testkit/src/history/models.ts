/**
 * What the objects of a history are: registers, sets and lists of elements that are added once.
 *
 * Decides what an operation makes of a state, and what it could not have seen. Leaves to `search` which order is tried.
 *
 * 1. A state is a scalar, so that equal states are found by a map.
 * 2. Sets and lists are read whole. All reads of one must be ordered by inclusion, or two of them contradict each other; so what the largest
 *    read shows says in which order elements can have come, and a state is how many are there.
 * 3. An element is added by one operation only; whoever makes histories sees to that.
 */
import { describeAction, type Operation, type Scalar } from './operation.ts'

/** Something that no order of the operations explains, seen without looking for one. */
export class Contradiction extends Error {
  override readonly name: string = 'Contradiction'
  readonly operations: readonly Operation[]

  constructor(message: string, operations: readonly Operation[]) {
    super(message)
    this.operations = operations
  }
}

/** One object, for the operations that it was made from. */
export interface Machine {
  readonly initial: Scalar
  /** What can happen in a state may happen in it at once, whatever else is under way: no continuation is lost by it. */
  readonly isForced: boolean
  /** The state afterwards; `undefined` when the operation cannot have happened in `state`. */
  step(state: Scalar, operation: Operation): Scalar | undefined
  /** Two operations of unknown outcome with the same class do the same, so that whichever was asked for first may as well be the one that happened. */
  classOf(operation: Operation): string
  describe(state: Scalar): string
}

export interface Model {
  readonly name: 'register' | 'set' | 'append'
  /** Throws `Contradiction`. */
  prepare(operations: readonly Operation[]): Machine
  /** What others can see of it: undefined for an operation that changes nothing. */
  makes(operation: Operation): Scalar | undefined
  /** The values that it saw; `all` when it saw that something was not there. */
  observes(operation: Operation): readonly Scalar[] | 'all'
  /**
   * The history in which `values` never were. Where that one cannot be explained, `operations` cannot either. Undefined when what remains needs
   * one of them.
   */
  without(operations: readonly Operation[], values: ReadonlySet<Scalar>): Operation[] | undefined
}

/** Registers that begin as `initial`, null by default. */
export function register(initial: Scalar = null): Model {
  return {
    name: 'register',
    makes: ({ kind, value, output }) => (kind === 'read' || output === false ? undefined : value),
    observes({ kind, output, from }) {
      if (kind === 'read') return output === undefined ? [] : [output as Scalar]
      if (kind === 'cas') return output === false ? 'all' : [from ?? null]
      return []
    },
    without: withoutWritten,
    prepare: (operations) => registerMachine(initial, operations),
  }
}

/** Any value that no operation looks for: all of them are one state. */
const UNSEEN = '\u0000 a value that nobody saw'

function registerMachine(initial: Scalar, operations: readonly Operation[]): Machine {
  const looked = new Set<Scalar>([initial])
  for (const { kind, output, from } of operations) {
    if (kind === 'read' && output !== undefined) looked.add(output as Scalar)
    if (kind === 'cas') looked.add(from ?? null)
  }
  // Only what may happen at any time makes so many states; without it they are called by their names.
  const isCertain = operations.every(({ outcome }) => outcome === 'ok')
  const seen = (state: Scalar): Scalar => (isCertain || looked.has(state) ? state : UNSEEN)
  return {
    initial,
    isForced: false,
    step(state, operation) {
      const after = stepRegister(state, operation)
      return after === undefined ? undefined : seen(after)
    },
    classOf: ({ kind, from = null, value = null }) => JSON.stringify([kind, from, seen(value)]),
    describe: (state) => (state === UNSEEN ? 'a value that nobody saw' : JSON.stringify(state)),
  }
}

function withoutWritten(
  this: Model,
  operations: readonly Operation[],
  values: ReadonlySet<Scalar>,
): Operation[] | undefined {
  const observed = new Set<Scalar>()
  const made: Scalar[] = []
  const kept: Operation[] = []
  for (const operation of operations) {
    const makes = this.makes(operation)
    const observes = this.observes(operation)
    // Somebody saw that a value was not there, which may be so because of one of these.
    if (observes === 'all') return undefined
    if ((makes !== undefined && values.has(makes)) || observes.some((value) => values.has(value))) {
      if (makes !== undefined && !values.has(makes)) made.push(makes)
      continue
    }
    kept.push(operation)
    for (const value of observes) observed.add(value)
  }
  return made.some((value) => observed.has(value)) ? undefined : kept
}

function stepRegister(
  state: Scalar,
  { kind, value = null, from = null, output }: Operation,
): Scalar | undefined {
  switch (kind) {
    case 'read':
      return output === undefined || output === state ? state : undefined
    case 'write':
      return value
    case 'cas':
      if (output === false) return state === from ? undefined : state
      return state === from ? value : undefined
    case 'add':
      throw new TypeError('a register has no add')
  }
}

/** Sets: a read gives all elements, in any order. */
export function uniqueSet(): Model {
  return elements('set')
}

/** Lists: a read gives all elements in the order in which they were added. */
export function appends(): Model {
  return elements('append')
}

function elements(name: 'set' | 'append'): Model {
  return {
    name,
    makes: ({ kind, value }) => (kind === 'add' ? value : undefined),
    observes: ({ kind, output }) => (kind === 'read' ? elementsOf(output) : []),
    prepare(operations) {
      const ranks = name === 'set' ? ranksOfSet(operations) : ranksOfList(operations)
      mustBeAdded(ranks, operations)
      return machineOf(ranks)
    },
    without: (operations, values) =>
      operations
        .filter(({ kind, value = null }) => kind !== 'add' || !values.has(value))
        .map((operation) =>
          operation.output === undefined
            ? operation
            : { ...operation, output: elementsOf(operation.output).filter((each) => !values.has(each)) },
        ),
  }
}

/** When an element can have come: as one of number `from` to below `to`. */
interface Rank {
  readonly from: number
  to: number
}

function elementsOf(output: Operation['output']): readonly Scalar[] {
  return Array.isArray(output) ? (output as readonly Scalar[]) : []
}

function readsBySize(operations: readonly Operation[]): Operation[] {
  return operations
    .filter(({ kind, output }) => kind === 'read' && output !== undefined)
    .sort((a, b) => elementsOf(a.output).length - elementsOf(b.output).length)
}

function ranksOfSet(operations: readonly Operation[]): Map<Scalar, Rank> {
  const ranks = new Map<Scalar, Rank>()
  let before: Operation | undefined
  for (const read of readsBySize(operations)) {
    const shown = elementsOf(read.output)
    mustBeDifferent(read, shown)
    const known = ranks.size
    const rank: Rank = { from: known, to: shown.length }
    let seen = 0
    for (const element of shown) {
      if (ranks.has(element)) seen++
      else ranks.set(element, rank)
    }
    if (seen < known && before !== undefined) throw apart(before, read, new Set(shown))
    before = read
  }
  return ranks
}

function ranksOfList(operations: readonly Operation[]): Map<Scalar, Rank> {
  const reads = readsBySize(operations)
  const longest = reads.at(-1)
  const list = elementsOf(longest?.output)
  if (longest !== undefined) mustBeDifferent(longest, list)
  for (const read of reads) {
    const at = elementsOf(read.output).findIndex((element, index) => list[index] !== element)
    if (at === -1 || longest === undefined) continue
    const here = JSON.stringify(elementsOf(read.output)[at])
    throw new Contradiction(
      `two reads show another element at index ${at}: ${here} and ${JSON.stringify(list[at])}`,
      [read, longest],
    )
  }
  return new Map(list.map((element, index) => [element, { from: index, to: index + 1 }]))
}

function mustBeDifferent(read: Operation, shown: readonly Scalar[]): void {
  const seen = new Set<Scalar>()
  for (const element of shown) {
    if (seen.has(element)) throw new Contradiction(`a read shows ${JSON.stringify(element)} twice`, [read])
    seen.add(element)
  }
}

function apart(smaller: Operation, larger: Operation, has: ReadonlySet<Scalar>): Contradiction {
  const only = elementsOf(smaller.output).find((element) => !has.has(element)) ?? null
  return new Contradiction(
    `of two reads each shows an element that the other one lacks: ${JSON.stringify(only)} is in the first only`,
    [smaller, larger],
  )
}

function mustBeAdded(ranks: ReadonlyMap<Scalar, Rank>, operations: readonly Operation[]): void {
  const added = new Set<Scalar | undefined>()
  for (const { kind, value } of operations) if (kind === 'add') added.add(value)
  for (const element of ranks.keys()) {
    if (added.has(element)) continue
    const readers = operations.filter(({ output }) => elementsOf(output).includes(element))
    throw new Contradiction(`a read shows ${JSON.stringify(element)}, which no operation added`, readers)
  }
}

function machineOf(ranks: ReadonlyMap<Scalar, Rank>): Machine {
  return {
    initial: 0,
    // All elements of a rank come before any of the next one, in any order.
    isForced: true,
    step(state, operation) {
      const count = state as number
      if (operation.kind === 'read') {
        const { output } = operation
        return output === undefined || elementsOf(output).length === count ? count : undefined
      }
      if (operation.kind !== 'add') throw new TypeError(`a set has no ${describeAction(operation)}`)
      const rank = ranks.get(operation.value ?? null)
      // What no read shows can only have come after all that one shows.
      if (rank === undefined) return count >= ranks.size ? count + 1 : undefined
      return rank.from <= count && count < rank.to ? count + 1 : undefined
    },
    // Elements are different, and none is added twice.
    classOf: ({ value = null }) => JSON.stringify(value),
    describe: (state) => `${String(state)} elements`,
  }
}
