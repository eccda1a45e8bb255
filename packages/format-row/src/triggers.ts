/**
 * User triggers of a database that applies rows: taken out, kept in a table of our own, put back.
 *
 * What a trigger did on the leader is in the rows; it must not happen twice. The table has no PRIMARY KEY, so that no
 * session ever records it, and its name has the project's prefix, so that no format replicates it.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { TriggerDefinition } from './payload.ts'
import { quote, runWhole } from './sql.ts'

const TABLE = '_understudy_trigger'

/** Every user trigger of `main`, in the order of creation, which decides the order of firing. */
export function readTriggers(database: DatabaseSync): TriggerDefinition[] {
  return definitions(
    database
      .prepare(
        `select name, sql from main.sqlite_schema where type = 'trigger' and substr(name, 1, 12) <> '_understudy_' order by rowid`,
      )
      .all(),
  )
}

/** Whether the triggers of this database are taken out. */
export function triggersAreSaved(database: DatabaseSync): boolean {
  return (
    database.prepare(`select 1 from main.sqlite_schema where type = 'table' and name = ?`).get(TABLE) !==
    undefined
  )
}

/** Takes all triggers out. Those found beside saved ones are added to them. */
export function saveTriggers(database: DatabaseSync): void {
  database.exec(`create table if not exists main.${TABLE} (name text not null, sql text not null)`)
  const found = readTriggers(database)
  const insert = database.prepare(`insert into main.${TABLE} (name, sql) values (?, ?)`)
  for (const { name, sql } of found) {
    insert.run(name, sql)
    database.exec(`drop trigger main.${quote(name)}`)
  }
}

/**
 * The saved triggers become `triggers`. Each is made once and taken back, because one that cannot be put back would show only
 * when this node is to lead.
 */
export function replaceSavedTriggers(database: DatabaseSync, triggers: readonly TriggerDefinition[]): void {
  if (triggers.length > 0) tryTriggers(database, triggers)
  database.exec(`delete from main.${TABLE}`)
  const insert = database.prepare(`insert into main.${TABLE} (name, sql) values (?, ?)`)
  for (const { name, sql } of triggers) insert.run(name, sql)
}

function tryTriggers(database: DatabaseSync, triggers: readonly TriggerDefinition[]): void {
  database.exec('savepoint _understudy_triggers')
  try {
    for (const { name, sql } of triggers) runWhole(database, sql, `trigger ${name} cannot be made here`)
  } finally {
    database.exec('rollback to _understudy_triggers; release _understudy_triggers')
  }
}

/** Puts the saved triggers back, in order. */
export function restoreTriggers(database: DatabaseSync): void {
  if (!triggersAreSaved(database)) return
  const saved = definitions(database.prepare(`select name, sql from main.${TABLE} order by rowid`).all())
  database.exec(`drop table main.${TABLE}`)
  for (const { sql } of saved) database.exec(sql)
}

function definitions(rows: readonly Record<string, unknown>[]): TriggerDefinition[] {
  return rows.map((row) => ({ name: String(row['name']), sql: String(row['sql']) }))
}
