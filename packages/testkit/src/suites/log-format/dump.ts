/**
 * Everything that two databases must agree on, as text that a person can compare: rows with the type of each value,
 * schema, counters, pragmas.
 */
import { createHash } from 'node:crypto'
import type { SQLOutputValue } from 'node:sqlite'
import type { SqliteConnection } from '@understudy/contracts'

export interface DumpOptions {
  /** Triggers are compared too, in their order. Off while an applier has them taken out. */
  readonly triggers: boolean
  /** `sqlite_stat1` is compared too. */
  readonly statistics: boolean
  /** Rowids are compared too, also those that no column shows. */
  readonly rowids: boolean
}

/** One line for each fact, in an order that does not depend on where rows lie. */
export function dumpDatabase(connection: SqliteConnection, options: DumpOptions): string[] {
  return connection.internal(() => {
    const { database, ownTablePrefix } = connection
    const objects = database
      .prepare(
        `select type, name, tbl_name as owner, coalesce(sql, '') as sql from sqlite_schema
        where substr(name, 1, ?) <> ? and name not like 'sqlite_stat%' order by type, name`,
      )
      .all(ownTablePrefix.length, ownTablePrefix)
    const lines = objects
      .filter((object) => object['type'] !== 'trigger')
      .map((object) => `schema ${JSON.stringify(Object.values(object))}`)
    if (options.triggers) {
      const triggers = database
        .prepare(`select sql from sqlite_schema where type = 'trigger' order by rowid`)
        .all()
      lines.push(...triggers.map((trigger) => `trigger ${String(trigger['sql'])}`))
    }
    refreshVirtual(connection)
    for (const pragma of ['user_version', 'application_id', 'integrity_check', 'foreign_key_check']) {
      lines.push(`${pragma} ${JSON.stringify(database.prepare(`pragma ${pragma}`).all())}`)
    }
    for (const object of objects) {
      const virtual = /^create\s+virtual/i.test(String(object['sql']))
      if (object['type'] === 'table' && !virtual)
        lines.push(...dumpTable(connection, String(object['name']), options.rowids))
    }
    if (options.statistics && hasTable(connection, 'sqlite_stat1'))
      lines.push(...dumpTable(connection, 'sqlite_stat1', false))
    return lines
  })
}

/**
 * FTS5 keeps the structure of its index and looks whether another connection changed it only when a query begins; its
 * part of `integrity_check` does not look, and finds a mismatch where there is none.
 */
function refreshVirtual({ database }: SqliteConnection): void {
  const tables = database
    .prepare(
      `select name from sqlite_schema where type = 'table' and sql like 'create virtual%' order by name`,
    )
    .all()
  for (const { name } of tables)
    database.prepare(`select 1 from "${String(name).replaceAll('"', '""')}" limit 1`).all()
}

function dumpTable(connection: SqliteConnection, table: string, rowids: boolean): string[] {
  const { database, ownTablePrefix } = connection
  const columns = database
    .prepare('select name from pragma_table_xinfo(?)')
    .all(table)
    .map(({ name }) => `"${String(name).replaceAll('"', '""')}"`)
  if (rowids && hasRowids(connection, table)) columns.push('_rowid_')
  const list = columns.map(
    (column) =>
      `typeof(${column}), case typeof(${column}) when 'text' then cast(${column} as blob) else ${column} end`,
  )
  const statement = database.prepare(`select ${list.join(', ')} from "${table.replaceAll('"', '""')}"`)
  statement.setReturnArrays(true)
  statement.setReadBigInts(true)
  const rows = statement.all() as unknown as SQLOutputValue[][]
  return rows
    .filter(
      (row) => table !== 'sqlite_stat1' || !shown(row[1]).startsWith(shown(Buffer.from(ownTablePrefix))),
    )
    .map((row) => `${table}: ${row.map(shown).join(' ')}`)
    .sort()
}

/** The exact content of a value; text comes as its bytes. Long ones by their hash. */
function shown(value: SQLOutputValue | undefined): string {
  if (value instanceof Uint8Array) {
    if (value.length > 256) return `sha256:${createHash('sha256').update(value).digest('hex')}`
    return Buffer.from(value).toString('hex')
  }
  return Object.is(value, -0) ? '-0' : String(value)
}

function hasTable(connection: SqliteConnection, table: string): boolean {
  return connection.database.prepare('select 1 from sqlite_schema where name = ?').get(table) !== undefined
}

function hasRowids(connection: SqliteConnection, table: string): boolean {
  const found = connection.database
    .prepare(`select wr from pragma_table_list where schema = 'main' and name = ?`)
    .get(table)
  return found?.['wr'] === 0
}
