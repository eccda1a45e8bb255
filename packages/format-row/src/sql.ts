/** Small pieces of SQL. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { diverged, refused } from './divergence.ts'

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

/** Runs a text of a payload that must be one statement and nothing after it. `failure`: what it means that it fails. */
export function runWhole(database: DatabaseSync, sql: string, failure: string): void {
  try {
    const statement = database.prepare(sql)
    // The rest would be left out without a word; so would what follows a NUL.
    if (statement.sourceSQL.length !== sql.length) throw diverged(`${failure}: its text goes on`, { sql })
    statement.run()
  } catch (cause) {
    throw isUnderstudyError(cause) ? cause : refused(failure, cause)
  }
}

/** Whether a text begins as a statement that changes the schema of `main`, after spaces and comments. */
export function isSchemaChange(sql: string): boolean {
  const verb = wordAt(sql, 0)
  const isCreate = verb?.word === 'create'
  if (verb === undefined || (!isCreate && verb.word !== 'alter' && verb.word !== 'drop')) return false
  return !isCreate || !(wordAt(sql, verb.end)?.word ?? '').startsWith('temp')
}

function wordAt(sql: string, from: number): { readonly word: string; readonly end: number } | undefined {
  const space = /[\s;]+|--[^\n]*|\/\*[\s\S]*?\*\//y
  space.lastIndex = from
  let at = from
  while (space.test(sql)) at = space.lastIndex
  const word = /\w+/y
  word.lastIndex = at
  const [text] = word.exec(sql) ?? []
  return text === undefined ? undefined : { word: text.toLowerCase(), end: at + text.length }
}
