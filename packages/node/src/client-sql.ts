/**
 * SQL of clients: lists of statements, transactions, views that stay open.
 *
 * Decides: how results of a client's statement are taken, what of a list is rolled back because its answer would be wrong. Leaves to
 * others: who may ask and for how long something is kept (server), the transactions themselves.
 */
import {
  UnderstudyError,
  type LogPoint,
  type PositionProof,
  type ReadTransaction,
  type Table,
  type WriteTransaction,
} from '@understudy/contracts'
import type { ResultSet, SqlStatement } from '@understudy/protocol'
import {
  changesOf,
  fingerprintOfStatements,
  runSteps,
  type Step,
  type StepKind,
} from '@understudy/replication'
import type {
  OpenRead,
  OpenReadRequest,
  OpenWrite,
  OpenWriteRequest,
  StatementLimits,
} from '@understudy/server'
import type { SqliteRead } from '@understudy/sqlite'
import type { UnderstudyNode } from './api.ts'

const NO_RESULT: ResultSet = Object.freeze({ columns: [], rows: [], changes: 0 })

/** Runs a client's list in a write. What the statements return shares the limits, so that many results are one answer. */
export function runClientSteps(
  tx: WriteTransaction,
  statements: readonly SqlStatement[],
  { rowsMax, ...limits }: StatementLimits,
): ResultSet[] {
  let rowsLeft = rowsMax
  const kind: StepKind<SqlStatement, ResultSet> = {
    run(statement, wantsRows) {
      const result = runStatement(tx, statement, { ...limits, rowsMax: Math.max(rowsLeft, 0) })
      rowsLeft -= result.rows.length
      // A condition must not be judged by a part of the rows.
      if (wantsRows && rowsLeft < 0) throw tooManyRows(rowsMax)
      return { result, changes: result.changes, rows: result.rows.length }
    },
    skipped: () => ({ ...NO_RESULT, skipped: true }),
    failed: (error) => ({ ...NO_RESULT, error }),
    held: () => NO_RESULT,
    totalChanges: () => changesOf(tx).total,
  }
  return runSteps(statements, kind)
}

/** What a key stands for: results of a client have another shape than those of a write in the process. */
export function fingerprintOf(statements: readonly SqlStatement[]): string {
  const steps = statements.map(({ sql, parameters, require, ...rest }): Step =>
    require === undefined ? { sql, params: parameters, ...rest } : { require },
  )
  return `client ${fingerprintOfStatements(steps)}`
}

/** Whether a statement returns rows or changes them is SQLite's to know. */
function runStatement(
  tx: WriteTransaction,
  { sql, parameters }: SqlStatement,
  limits: StatementLimits,
): ResultSet {
  const before = changesOf(tx).total
  const table = tx.table(sql, parameters, limits)
  const { direct, total } = changesOf(tx)
  return resultSet(table, total === before ? 0 : direct)
}

/** A read's result is a client's, too. */
export function readStatement(
  tx: ReadTransaction,
  { sql, parameters }: SqlStatement,
  limits: StatementLimits,
): ResultSet {
  return resultSet(tx.table(sql, parameters, limits), 0)
}

function resultSet({ columns, rows }: Table, changes: number): ResultSet {
  return { columns, rows, changes }
}

/** Keeps a view for a client until it is closed. */
export function openRead(
  node: UnderstudyNode,
  proofOf: (at: LogPoint) => PositionProof | undefined,
  { after, waitMs, signal }: OpenReadRequest,
): Promise<OpenRead> {
  const opened = Promise.withResolvers<OpenRead>()
  const over = Promise.withResolvers<void>()
  const hold = (tx: SqliteRead): Promise<void> => {
    // SQLite takes its view at the first statement: here, so that it is the one of the position.
    tx.get('select 1 from sqlite_schema limit 1')
    const position = node.applied
    const proof = proofOf(position)
    opened.resolve({
      position,
      ...(proof && { proof }),
      run: (statement, limits) => readStatement(tx, statement, limits),
      cursor: ({ sql, parameters }, options) => tx.cursor(sql, parameters, options),
      close: over.resolve,
    })
    return over.promise
  }
  node.read(hold, { ...(after && { after }), timeoutMs: waitMs, signal, held: true }).catch(opened.reject)
  return opened.promise
}

/** Its own reason: nobody is told of it. */
const ROLLED_BACK = Symbol('rolled back')

/** Keeps a transaction that writes for a client until it is committed or rolled back. */
export function openWrite(
  node: UnderstudyNode,
  { timeoutMs, waitMs, signal, ack, of, ackTimeoutMs }: OpenWriteRequest,
): Promise<OpenWrite> {
  const opened = Promise.withResolvers<OpenWrite>()
  const over = Promise.withResolvers<void>()
  const hold = (tx: WriteTransaction): Promise<void> => {
    opened.resolve({
      position: node.applied,
      run: (statement, limits) => runStatement(tx, statement, limits),
      commit: async () => {
        over.resolve()
        const { receipt } = await written
        return { results: [], position: receipt.position, receipt }
      },
      rollback: async () => {
        over.reject(ROLLED_BACK)
        await written.catch(() => {})
      },
    })
    return over.promise
  }
  const written = node.transaction(hold, {
    timeoutMs,
    waitMs,
    signal,
    ...(ack && { ack }),
    // A name that is no follower's would hold up everybody's writes.
    ...(of && { of, onlyIfReady: true }),
    ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
  })
  written.catch(opened.reject)
  // Where the transaction ended by itself nobody waits for this any more.
  over.promise.catch(() => {})
  return opened.promise
}

function tooManyRows(rowsMax: number): UnderstudyError {
  return new UnderstudyError(
    'RESULT_TOO_LARGE',
    `The results of the list have more than ${rowsMax} rows, and a condition asks how many a statement returned. The write was rolled back. Ask for fewer rows.`,
  )
}
