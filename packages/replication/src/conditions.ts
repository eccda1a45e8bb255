/**
 * Conditions on the outcome of earlier steps of a list.
 *
 * Decides: whether a condition holds, what of a list is malformed, which statements may fail. Pure: the steps are run elsewhere.
 *
 * 1. A condition speaks of earlier steps alone: it never has to wait, and there is no circle.
 * 2. Of a step that was skipped nothing is true: neither `ok` nor `error`, and it changed and returned nothing.
 */
import { UnderstudyError, type Condition } from '@understudy/contracts'

/** What came of a step. */
export type StepOutcome =
  | { readonly kind: 'skipped' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'ran'; readonly changes: number | bigint; readonly rows: number }

/** What a condition may stand in: a statement or a requirement. */
export interface ConditionalStep {
  readonly when?: Condition
  readonly require?: Condition
}

/** As deep as the protocol carries them, so that a list that is run here can be sent elsewhere. */
const DEPTH_MAX = 16

export function holds(condition: Condition, outcomes: readonly StepOutcome[]): boolean {
  if ('ok' in condition) return outcomes[condition.ok]?.kind === 'ran'
  if ('error' in condition) return outcomes[condition.error]?.kind === 'failed'
  if ('changed' in condition) {
    const outcome = outcomes[condition.changed]
    return counts(outcome?.kind === 'ran' ? Number(outcome.changes) : 0, outcome, condition.rows)
  }
  if ('returned' in condition) {
    const outcome = outcomes[condition.returned]
    return counts(outcome?.kind === 'ran' ? outcome.rows : 0, outcome, condition.rows)
  }
  if ('not' in condition) return !holds(condition.not, outcomes)
  if ('and' in condition) return condition.and.every((each) => holds(each, outcomes))
  return condition.or.some((each) => holds(each, outcomes))
}

function counts(count: number, outcome: StepOutcome | undefined, rows: number | undefined): boolean {
  return outcome?.kind === 'ran' && (rows === undefined ? count > 0 : count === rows)
}

/** What conditions ask of the steps that they speak of. */
export interface Asked {
  /** Steps that may fail. */
  readonly mayFail: ReadonlySet<number>
  /** Steps whose rows are counted. */
  readonly rowsOf: ReadonlySet<number>
}

/** Reads the conditions of a list. Throws `INVALID_ARGUMENT` for one that is none, or that speaks of a step that is not earlier. */
export function askedOf(steps: readonly ConditionalStep[]): Asked {
  const mayFail = new Set<number>()
  const rowsOf = new Set<number>()
  const walk = (condition: unknown, index: number, depth: number): void => {
    if (typeof condition !== 'object' || condition === null) throw invalid(index, 'it is no object')
    if (depth > DEPTH_MAX) throw invalid(index, `it is nested more than ${DEPTH_MAX} deep`)
    const given = condition as Readonly<Record<string, unknown>>
    const kinds = Object.keys(given).filter((key) => key !== 'rows' && given[key] !== undefined)
    const [kind] = kinds
    if (kind === undefined || kinds.length > 1) throw invalid(index, 'it must say one thing')
    const said = given[kind]
    switch (kind) {
      case 'error':
        mayFail.add(earlier(said, index))
        break
      case 'returned':
        rowsOf.add(earlier(said, index))
        break
      case 'ok':
      case 'changed':
        earlier(said, index)
        break
      case 'not':
        return walk(said, index, depth + 1)
      case 'and':
      case 'or':
        if (!Array.isArray(said)) throw invalid(index, `${kind} takes a list`)
        for (const each of said as readonly unknown[]) walk(each, index, depth + 1)
        break
      default:
        throw invalid(index, `nothing is known of ${JSON.stringify(kind.slice(0, 40))}`)
    }
    const { rows } = given
    if (rows !== undefined && !(isCount(rows) && (kind === 'changed' || kind === 'returned')))
      throw invalid(index, 'rows is a whole number, of changed or returned')
  }
  for (const [index, { when, require }] of steps.entries()) {
    if (when !== undefined) walk(when, index, 1)
    if (require !== undefined) walk(require, index, 1)
  }
  return { mayFail, rowsOf }
}

function earlier(step: unknown, index: number): number {
  if (isCount(step) && step < index) return step
  throw invalid(index, `it speaks of step ${String(step)}, which is not an earlier one`)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function invalid(index: number, why: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `The condition of step ${index} cannot be used: ${why}. Nothing was run; give such as { ok: 0 }, { changed: 1, rows: 2 } or { not: { error: 0 } }.`,
    { statement: index },
  )
}
