/**
 * Writes given as a list of statements instead of a callback: they can be forwarded, retried and carried across a
 * switchover, because they are data.
 */
import {
  UnderstudyError,
  type Parameters,
  type RunResult,
  type WriteTransaction,
} from '@understudy/contracts'

/** One statement of a write. */
export interface Statement {
  readonly sql: string
  readonly params?: Parameters
  /** Number of rows that the statement must change; with any other the whole write is rolled back with `EXPECTATION_FAILED`. */
  readonly expect?: number
}

/** A write as a callback. The types let a list in for every storage; one whose transactions have no `run` rejects it with its own error. */
export function callbackOf<T>(body: ((tx: T) => unknown) | readonly Statement[]): (tx: T) => unknown {
  if (typeof body === 'function') return body
  return runStatements(body) as (tx: never) => unknown as (tx: T) => unknown
}

/** The callback that runs the list in order and returns each statement's result. */
function runStatements(statements: readonly Statement[]): (tx: WriteTransaction) => RunResult[] {
  return (tx) =>
    statements.map((statement, index) => {
      const result = tx.run(statement.sql, statement.params)
      if (statement.expect !== undefined && BigInt(result.changes) !== BigInt(statement.expect)) {
        throw new UnderstudyError(
          'EXPECTATION_FAILED',
          `Statement ${index} changed ${result.changes} rows where ${statement.expect} were expected; the write was rolled back.`,
          { statement: index, changes: Number(result.changes), expected: statement.expect },
        )
      }
      return result
    })
}
