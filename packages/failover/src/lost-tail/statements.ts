/**
 * What applies a lost tail to the new history: one write of statements, for its leader.
 *
 * 1. Only transactions that are to be applied, only their changes that are not there already, in their order.
 * 2. Before each update and delete stands a SELECT that fails unless the row is still as it was compared: so a row that changed
 *    meanwhile undoes the whole write, through any client. An insert fails by itself where its key is taken.
 */
import type { LostChange, LostRow, SqlValue } from './changes.ts'
import { quote, type Classification } from './classify.ts'

export interface ApplyStatement {
  readonly sql: string
  readonly params: readonly SqlValue[]
}

/** Empty when there is nothing to apply. */
export function statementsFor({ transactions }: Classification): ApplyStatement[] {
  return transactions
    .filter(({ decision }) => decision === 'apply')
    .flatMap(({ changes }) => changes)
    .filter(({ verdict }) => verdict === 'clean')
    .flatMap(({ change }) => statementsOf(change))
}

function statementsOf({ operation, table, key, before = {}, after = {} }: LostChange): ApplyStatement[] {
  const name = quote(table)
  if (operation === 'insert') {
    const columns = Object.keys(after)
    const marks = columns.map(() => '?').join(', ')
    const sql = `insert into ${name} (${columns.map(quote).join(', ')}) values (${marks})`
    return [{ sql, params: columns.map((column) => after[column] as SqlValue) }]
  }
  const found = matching(before)
  const guard = `select abs(case (select count(*) from ${name} where ${found.sql}) when 1 then 0 else -9223372036854775808 end)`
  const guarded = { sql: guard, params: found.params }
  if (operation === 'delete')
    return [guarded, { sql: `delete from ${name} where ${found.sql}`, params: found.params }]
  const changed = Object.keys(after).filter((column) => !key.includes(column))
  const set = changed.map((column) => `${quote(column)} = ?`).join(', ')
  return [
    guarded,
    {
      sql: `update ${name} set ${set} where ${found.sql}`,
      params: [...changed.map((column) => after[column] as SqlValue), ...found.params],
    },
  ]
}

function matching(row: LostRow): ApplyStatement {
  const columns = Object.keys(row)
  return {
    sql: columns.map((column) => `${quote(column)} is ?`).join(' and '),
    params: columns.map((column) => row[column] as SqlValue),
  }
}
