/** What recorder and applier ask of a connection, alike. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { SqliteConnection } from '@understudy/contracts'

/** Makes full-text tables write down what they hold in memory, as the beginning of a savepoint does. */
export function flush({ database }: SqliteConnection): void {
  database.exec('savepoint _understudy_flush; release _understudy_flush')
}

export function hasVirtualTables({ database }: SqliteConnection): boolean {
  const sql = `select 1 from main.sqlite_schema where type = 'table' and rootpage = 0 limit 1`
  return database.prepare(sql).get() !== undefined
}

/** What the planner knows is what the table of statistics says, on every node. */
export function reloadStatistics({ database }: SqliteConnection): void {
  database.exec('analyze main.sqlite_schema')
}

/** After a rollback: the planner forgets what it learnt in between. */
export function rereadSchema({ database }: SqliteConnection): void {
  database.exec('pragma writable_schema = reset')
}

/** The one number that a statement returns. */
export function first(statement: StatementSync): number {
  return Number((statement.get() as unknown as unknown[])[0])
}

/** Compiled so that rows come as arrays. */
export function arrays(database: DatabaseSync, sql: string): StatementSync {
  const statement = database.prepare(sql)
  statement.setReturnArrays(true)
  return statement
}
