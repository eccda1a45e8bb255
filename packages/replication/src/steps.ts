/**
 * A list of statements as one write, in which a step can depend on the outcome of earlier ones.
 *
 * Decides: which steps run, which failure is part of the list and which rolls it back. Leaves to others: what a condition means
 * (conditions), running one statement and the shape of its result (`StepKind`).
 *
 * 1. Steps run in order, each at most once.
 * 2. A failed statement is part of the list only when some condition asks `error` of it, when its error is its own (a constraint, a
 *    missing table, a value), and when it left nothing behind. What OR FAIL keeps of a failed statement cannot be taken back
 *    alone, so it rolls everything back.
 */
import {
  UnderstudyError,
  isUnderstudyError,
  type Condition,
  type Parameters,
  type Requirement,
} from '@understudy/contracts'
import { askedOf, holds, type StepOutcome } from './conditions.ts'

/** One statement of a write. */
export interface Statement {
  readonly sql: string
  readonly params?: Parameters
  /** Number of rows that the statement must change; with any other the whole write is rolled back with `EXPECTATION_FAILED`. */
  readonly expect?: number
  /** The statement is skipped unless this holds. */
  readonly when?: Condition
}

/** A step of a write: a statement, or something that must hold, or everything is rolled back with `CONDITION_FAILED`. */
export type Step = Statement | Requirement

/** How statements are run, and what their results look like. */
export interface StepKind<S extends object, R> {
  run(statement: S, wantsRows: boolean): { readonly result: R } & Pick<Ran, 'changes' | 'rows'>
  skipped(): R
  failed(failure: StepFailure): R
  /** Of a requirement that holds. */
  held(): R
  /** All rows that the connection has changed so far. */
  totalChanges(): number
}

export interface StepFailure {
  readonly code: 'SQL_FAILED'
  readonly message: string
}

type Ran = Extract<StepOutcome, { kind: 'ran' }>

/** What a step says beside its statement. */
interface Conditions {
  readonly when?: Condition
  readonly require?: Condition
  readonly expect?: number
}

/** Checks a list before it is queued. Throws `INVALID_ARGUMENT`. */
export function checkSteps(steps: readonly object[]): void {
  askedOf(steps)
}

/** Runs the steps in the open write. Throws what rolls it back. */
export function runSteps<S extends object, R>(steps: readonly S[], kind: StepKind<S, R>): R[] {
  const { mayFail, rowsOf } = askedOf(steps)
  const outcomes: StepOutcome[] = []
  return steps.map((step, index) => {
    const { when, require, expect } = step as Conditions
    if (require !== undefined) {
      if (!holds(require, outcomes)) throw conditionFailed(index, outcomes)
      outcomes.push({ kind: 'ran', changes: 0, rows: 0 })
      return kind.held()
    }
    if (when !== undefined && !holds(when, outcomes)) {
      outcomes.push({ kind: 'skipped' })
      return kind.skipped()
    }
    const before = mayFail.has(index) ? kind.totalChanges() : undefined
    let ran: ReturnType<StepKind<S, R>['run']>
    try {
      ran = kind.run(step, rowsOf.has(index))
    } catch (error) {
      const message = before === undefined ? undefined : ownFailure(error)
      if (message === undefined || kind.totalChanges() !== before) throw error
      outcomes.push({ kind: 'failed' })
      return kind.failed({ code: 'SQL_FAILED', message })
    }
    if (expect !== undefined && BigInt(ran.changes) !== BigInt(expect))
      throw expectationFailed(index, ran.changes, expect)
    outcomes.push({ kind: 'ran', changes: ran.changes, rows: ran.rows })
    return ran.result
  })
}

/** SQLITE_ERROR, TOOBIG, CONSTRAINT, MISMATCH, RANGE: errors of the statement, not of the disk or the memory. */
const OWN_ERRORS: ReadonlySet<number> = new Set([1, 18, 19, 20, 25])

/** The message of an error that is the statement's own. */
function ownFailure(error: unknown): string | undefined {
  if (isUnderstudyError(error) || !(error instanceof Error) || !('errcode' in error)) return undefined
  // The low byte is the primary code of an extended one.
  const { errcode } = error
  return typeof errcode === 'number' && OWN_ERRORS.has(errcode & 0xff) ? error.message : undefined
}

function expectationFailed(index: number, changes: number | bigint, expected: number): UnderstudyError {
  return new UnderstudyError(
    'EXPECTATION_FAILED',
    `Statement ${index} changed ${changes} rows where ${expected} were expected; the write was rolled back.`,
    { statement: index, changes: Number(changes), expected },
  )
}

/** Steps that a message names. */
const NAMED_MAX = 20

function conditionFailed(index: number, outcomes: readonly StepOutcome[]): UnderstudyError {
  const of = (kind: StepOutcome['kind']): number[] =>
    outcomes.flatMap((outcome, step) => (outcome.kind === kind ? [step] : []))
  const said = (['ran', 'skipped', 'failed'] as const)
    .map((kind) => [kind, of(kind)] as const)
    .filter(([, steps]) => steps.length > 0)
    .map(
      ([kind, steps]) =>
        `${kind}: ${steps.slice(0, NAMED_MAX).join(', ')}${steps.length > NAMED_MAX ? ', …' : ''}`,
    )
  return new UnderstudyError(
    'CONDITION_FAILED',
    `What step ${index} requires does not hold${said.length === 0 ? '' : ` (${said.join('; ')})`}; the write was rolled back and left no trace.`,
    { statement: index, ran: of('ran'), skipped: of('skipped'), failed: of('failed') },
  )
}
