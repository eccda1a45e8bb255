/**
 * Writes given as a list of steps instead of a callback: they can be forwarded, retried and carried across a
 * switchover, because they are data.
 */
import type { RunResult, WriteTransaction } from '@understudy/contracts'
import { checkSteps, runSteps, type Statement, type Step, type StepFailure, type StepKind } from './steps.ts'

/** What a step of a list did. */
export interface StepResult extends RunResult {
  /** Its condition did not hold. */
  readonly skipped?: true
  /** It failed, left nothing behind, and a condition asks for that. */
  readonly error?: StepFailure
}

/**
 * A write as a callback. Throws `INVALID_ARGUMENT` for a condition that cannot be. The types let a list in for every storage; one whose
 * transactions have no `run` rejects it with its own error.
 */
export function callbackOf<T>(body: ((tx: T) => unknown) | readonly Step[]): (tx: T) => unknown {
  if (typeof body === 'function') return body
  checkSteps(body)
  const run = (tx: WriteTransaction): StepResult[] => runSteps(body, kindOf(tx))
  return run as (tx: never) => unknown as (tx: T) => unknown
}

const NOTHING: RunResult = Object.freeze({ changes: 0, lastInsertRowid: 0 })

/** Results as `run` gives them. Whose rows are counted is run as a table, of which SQLite tells no row id. */
function kindOf(tx: WriteTransaction): StepKind<Step, StepResult> {
  return {
    run(step, wantsRows) {
      const { sql, params } = step as Statement
      if (!wantsRows) {
        const result = tx.run(sql, params)
        return { result, changes: result.changes, rows: 0 }
      }
      const before = changesOf(tx).total
      const rows = tx.table(sql, params).rows.length
      const { direct, total } = changesOf(tx)
      const changes = total === before ? 0 : direct
      return { result: { changes, lastInsertRowid: 0 }, changes, rows }
    },
    skipped: () => ({ ...NOTHING, skipped: true }),
    failed: (error) => ({ ...NOTHING, error }),
    held: () => NOTHING,
    totalChanges: () => changesOf(tx).total,
  }
}

/** Rows that the last statement that changes rows has changed, and all of them so far. */
export function changesOf(tx: Pick<WriteTransaction, 'get'>): {
  readonly direct: number
  readonly total: number
} {
  const row = tx.get('select changes() as direct, total_changes() as total')
  return { direct: Number(row?.['direct']), total: Number(row?.['total']) }
}
