/** Small pieces of SQL. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'

/** An identifier, quoted. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A statement that returns rows as arrays, integers as bigints. */
export function plainStatement(database: DatabaseSync, sql: string): StatementSync {
  const statement = database.prepare(sql)
  statement.setReadBigInts(true)
  statement.setReturnArrays(true)
  return statement
}

/** All rows as arrays, integers as bigints. */
export function plainRows(database: DatabaseSync, sql: string): SQLOutputValue[][] {
  return plainStatement(database, sql).all() as unknown as SQLOutputValue[][]
}

/** The one number that a statement returns. */
export function number(database: DatabaseSync, sql: string): number {
  return Number(Object.values(database.prepare(sql).get() ?? {})[0])
}
