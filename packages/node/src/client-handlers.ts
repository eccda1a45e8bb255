/** What a node answers its clients: the bridge from `server` to the node's own methods. */
import type { Position, ReadTransaction, Row, Table, WriteTransaction } from '@understudy/contracts'
import type { ResultSet, SqlStatement } from '@understudy/protocol'
import type { PolicyOptions } from '@understudy/replication'
import type { ClientHandlers, ResultLimits } from '@understudy/server'
import { fingerprintOfStatements } from '@understudy/replication'
import type { UnderstudyNode } from './api.ts'

/** Handlers that serve `node`. */
export function clientHandlers(node: UnderstudyNode): ClientHandlers {
  return {
    status: () => node.status(),
    async write(statements, { rowsMax, bytesMax, ...asks }) {
      const body = (tx: WriteTransaction): ResultSet[] => runStatements(tx, statements, { rowsMax, bytesMax })
      const answer = await node.write(body, {
        // A name that is no follower's would hold up everybody's writes.
        ...(asks.of && { onlyIfReady: true }),
        ...asks,
        ...(asks.key && { fingerprint: fingerprintOf(statements) }),
      })
      const { value, receipt, replayed, valueKept } = answer
      const says = replayed === undefined ? {} : { replayed, valueKept: valueKept === true }
      return { results: value ?? [], position: receipt.position, receipt, ...says }
    },
    async read(statement, { after, timeoutMs, signal, ...limits }) {
      const { sql, parameters } = statement
      let position: Position | undefined
      const result = await node.read(
        (tx) => {
          const table = tx.table(sql, parameters, limits)
          position = node.applied
          return resultSet(table, 0)
        },
        { ...(after && { after }), timeoutMs, signal, foreign: true },
      )
      return { result, position }
    },
    mark: () => node.mark(),
    async digest(at, options) {
      return { position: at, tables: await node.digest(at, options) }
    },
    rows: (at, table, offset) => node.rows(at, table, offset),
    verdict: (receipt) => node.verdict(receipt),
    reach: (receipt, { level, count, ...waiting }) => node.reach(receipt, level, count, waiting),
    release: (at) => node.release(at),
    exposure: (options) => node.exposure(options),
    slots: () => node.slots(),
    dropSlot: (name) => node.dropSlot(name),
    forget: (name) => node.forget(name),
    switchFormat: (format) => node.switchFormat(format),
    setAcks: ({ rule, acceptLoss, ...policy }) =>
      node.setAcks(rule, {
        acceptLoss,
        ...(policy as Pick<PolicyOptions, 'onUnmet' | 'visibility' | 'ackTimeoutMs'>),
      }),
  }
}

/** What a key stands for: results of a client have another shape than those of a write in the process. */
function fingerprintOf(statements: readonly SqlStatement[]): string {
  return `client ${fingerprintOfStatements(statements.map(({ sql, parameters }) => ({ sql, params: parameters })))}`
}

/** Runs the statements of a client's write. What they return shares the limits, so that many results are one answer. */
function runStatements(
  tx: WriteTransaction,
  statements: readonly SqlStatement[],
  { rowsMax, bytesMax }: ResultLimits,
): ResultSet[] {
  let rowsLeft = rowsMax
  return statements.map((statement) => {
    const result = runStatement(tx, statement, { rowsMax: Math.max(rowsLeft, 0), bytesMax })
    rowsLeft -= result.rows.length
    return result
  })
}

/** Whether a statement returns rows or changes them is SQLite's to know. */
function runStatement(
  tx: WriteTransaction,
  { sql, parameters }: SqlStatement,
  limits: ResultLimits,
): ResultSet {
  const before = totalChanges(tx).total
  const table = tx.table(sql, parameters, limits)
  const { direct, total } = totalChanges(tx)
  return resultSet(table, total === before ? 0 : direct)
}

function totalChanges(tx: ReadTransaction): { direct: number; total: number } {
  const row = tx.get('select changes() as direct, total_changes() as total') as Row
  return { direct: Number(row['direct']), total: Number(row['total']) }
}

function resultSet({ columns, rows }: Table, changes: number): ResultSet {
  return { columns, rows, changes }
}
