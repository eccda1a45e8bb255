/**
 * Refuses NULL in PRIMARY KEY columns, which SQLite allows in rowid tables and which sessions do not record.
 *
 * TEMP triggers on the leader's connection call a function that throws, so that the statement fails whatever its
 * conflict clause says, and foreign-key actions are caught as well. They exist for tables whose key can hold NULL only;
 * INTEGER PRIMARY KEY, NOT NULL, STRICT and WITHOUT ROWID tables need none.
 */
import type { DatabaseSync } from 'node:sqlite'
import { UnderstudyError } from '@understudy/contracts'
import type { Schema } from './schema.ts'
import { quote } from './sql.ts'

const FUNCTION = '_understudy_null_key'
const PREFIX = '_understudy_key_'

/** Registers the function that the triggers call. */
export function registerNullKeyGuard(database: DatabaseSync): void {
  database.function(FUNCTION, { varargs: false }, (table) => {
    throw new UnderstudyError(
      'NULL_IN_PRIMARY_KEY',
      `A write stored NULL in a PRIMARY KEY column of table ${String(table)}. Such a row has no identity and cannot be ` +
        'replicated; the statement was undone. Give the row a key, and best declare its key columns NOT NULL.',
      { table: String(table) },
    )
  })
}

/** Makes the triggers that `schema` needs, anew; with `undefined` only drops them. */
export function syncNullKeyTriggers(database: DatabaseSync, schema: Schema | undefined): void {
  const existing = database
    .prepare(`select name from temp.sqlite_schema where type = 'trigger' and substr(name, 1, ?) = ?`)
    .all(PREFIX.length, PREFIX)
  for (const { name } of existing) database.exec(`drop trigger temp.${quote(String(name))}`)
  if (schema === undefined) return
  let number = 0
  for (const table of schema.tables.values()) {
    if (table.nullableKey.length === 0) continue
    number += 1
    const condition = table.nullableKey.map((column) => `new.${quote(column)} is null`).join(' or ')
    const columns = table.nullableKey.map(quote).join(', ')
    const text = `'${table.name.replaceAll("'", "''")}'`
    const body = `on main.${quote(table.name)} when ${condition} begin select ${FUNCTION}(${text}); end`
    database.exec(`create temp trigger ${PREFIX}${number}_insert after insert ${body}`)
    database.exec(`create temp trigger ${PREFIX}${number}_update after update of ${columns} ${body}`)
  }
}
