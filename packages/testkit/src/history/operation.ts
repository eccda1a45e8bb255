/** What a client did, as a checker of histories sees it: asked at one moment, answered at a later one, or never. */

/** What a register holds, or what identifies one element. `null` is a register that nobody wrote. */
export type Scalar = string | number | boolean | null

/**
 * - `read`: of a register gives a scalar, of a set or a list all elements.
 * - `write`: of a register.
 * - `cas`: writes `value` where `from` is; gives whether it did.
 * - `add`: of an element that nothing else adds, to a set or at the end of a list.
 */
export type ActionKind = 'read' | 'write' | 'cas' | 'add'

/** What is asked of an object. */
export interface Action {
  readonly kind: ActionKind
  /** The object: register, set or list. */
  readonly key: string
  /** Written or added. */
  readonly value?: Scalar
  /** What a `cas` expects. */
  readonly from?: Scalar
}

export type Output = Scalar | readonly Scalar[]

/** `unknown`: it may have happened, may happen at any later moment, or never. `fail`: it did not happen and will not. */
export type Outcome = 'ok' | 'fail' | 'unknown'

export interface Operation extends Action {
  /** Number in its history. */
  readonly id: number
  /** Who asked. Operations of one process may overlap. */
  readonly process: string
  readonly outcome: Outcome
  /** Of a read or a `cas` that was answered. */
  readonly output?: Output
  /** By one monotonic clock for all operations of a history. */
  readonly invokedAtMs: number
  /** Infinity when it was not answered, or nobody knows what it did. */
  readonly completedAtMs: number
  /** Where a receipt says that it stands, as `epoch/lsn` or `epoch/lsn#index`. */
  readonly position?: string
  /** The code of the error that it was answered with. */
  readonly error?: string
}

/** What a person reads of an operation. */
export function describeAction(operation: Action & Pick<Operation, 'output'>): string {
  const { kind, value, from, output } = operation
  const result = output === undefined ? '?' : describeOutput(output)
  switch (kind) {
    case 'read':
      return `read → ${result}`
    case 'cas':
      return `cas ${JSON.stringify(from)} to ${JSON.stringify(value)} → ${result}`
    case 'write':
    case 'add':
      return `${kind} ${JSON.stringify(value)}`
  }
}

const SHOWN_MAX = 12

function describeOutput(output: Output): string {
  if (!Array.isArray(output)) return JSON.stringify(output)
  const elements: readonly Scalar[] = output
  const last = elements.slice(-SHOWN_MAX).map((each) => JSON.stringify(each))
  const left = elements.length - last.length
  return `[${left > 0 ? `${left} more, ` : ''}${last.join(', ')}]`
}
