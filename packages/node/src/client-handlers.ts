/** What a node answers its clients: the bridge from `server` to the node's own methods. */
import type { Position, ReadTransaction, Row, WriteTransaction } from '@understudy/contracts'
import type { ResultSet, SqlStatement } from '@understudy/protocol'
import type { ClientHandlers } from '@understudy/server'
import type { UnderstudyNode } from './node.ts'

/** Handlers that serve `node`. */
export function clientHandlers(node: UnderstudyNode): ClientHandlers {
  return {
    status: () => node.status(),
    async write(statements) {
      const { value, receipt } = await node.write((tx) =>
        statements.map((statement) => runStatement(tx, statement)),
      )
      return { results: value, position: receipt.position }
    },
    async read(statement, { after, timeoutMs, signal }) {
      const { sql, parameters } = statement
      let position: Position | undefined
      const result = await node.read(
        (tx) => {
          const rows = tx.all(sql, parameters)
          position = node.applied
          return resultSet(rows, 0)
        },
        { ...(after && { after }), timeoutMs, signal },
      )
      return { result, position }
    },
    mark: () => node.mark(),
    async digest(at, { timeoutMs, signal }) {
      return { position: at, tables: await node.digest(at, { timeoutMs, signal }) }
    },
    slots: () => node.slots(),
    dropSlot: (name) => node.dropSlot(name),
  }
}

/** Runs one statement of a client's write; whether it returns rows or changes them is SQLite's to know. */
function runStatement(tx: WriteTransaction, { sql, parameters }: SqlStatement): ResultSet {
  const before = totalChanges(tx).total
  const rows = tx.all(sql, parameters)
  const { direct, total } = totalChanges(tx)
  return resultSet(rows, total === before ? 0 : direct)
}

function totalChanges(tx: ReadTransaction): { direct: number; total: number } {
  const row = tx.get('select changes() as direct, total_changes() as total') as Row
  return { direct: Number(row['direct']), total: Number(row['total']) }
}

function resultSet(rows: readonly Row[], changes: number): ResultSet {
  const columns = Object.keys(rows[0] ?? {})
  return { columns, rows: rows.map((row) => columns.map((column) => row[column] ?? null)), changes }
}
