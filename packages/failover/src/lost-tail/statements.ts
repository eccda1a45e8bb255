/**
 * What applies a lost tail to the new history: one write of statements, for its leader.
 *
 * 1. Only transactions that are to be applied, only their changes that are not there already, in their order.
 * 2. After each stands a SELECT that fails unless the row is now as the change left it: so a row that changed meanwhile undoes the
 *    whole write, through any client, and one that an action of a foreign key took along is no error.
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
    const sql = `insert into ${name} (${columns.map(quote).join(', ')}) values (${marks}) on conflict do nothing`
    return [{ sql, params: columns.map((column) => after[column] as SqlValue) }, counted(name, after, 1)]
  }
  const found = matching(before)
  if (operation === 'delete') {
    const identity = Object.fromEntries(key.map((column) => [column, before[column] as SqlValue]))
    return [
      { sql: `delete from ${name} where ${found.sql}`, params: found.params },
      counted(name, identity, 0),
    ]
  }
  const changed = Object.keys(after).filter((column) => !key.includes(column))
  const set = changed.map((column) => `${quote(column)} = ?`).join(', ')
  const params = [...changed.map((column) => after[column] as SqlValue), ...found.params]
  return [{ sql: `update ${name} set ${set} where ${found.sql}`, params }, counted(name, after, 1)]
}

/** Fails the write unless so many rows have these values: the absolute value of the smallest integer is none. */
function counted(name: string, row: LostRow, count: number): ApplyStatement {
  const { sql, params } = matching(row)
  const condition = `(select count(*) from ${name} where ${sql}) when ${count}`
  return { sql: `select abs(case ${condition} then 0 else -9223372036854775808 end)`, params }
}

function matching(row: LostRow): ApplyStatement {
  const columns = Object.keys(row)
  return {
    sql: columns.map((column) => `${quote(column)} is ?`).join(' and '),
    params: columns.map((column) => row[column] as SqlValue),
  }
}
