/**
 * The thread that looks into a database file that came from a peer: a gigabyte takes seconds, and none of them is the
 * event loop's. Started by `received.ts` for one file; its one message is the finding.
 *
 * 1. The connection is the narrowest there is: read-only, immutable (no log or journal beside the file is looked at), as
 *    of a foreign schema, with no function of the user. So CHECK constraints are left out, and a table that cannot be
 *    looked through without such a function (STRICT or NOT NULL generated columns) is only read.
 * 2. Imports Node alone and what imports Node alone, so that it starts the same from source and from a build.
 */
import type { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { openHardened } from './hardened-connection.ts'

/** What is wrong, or what the position row says. */
export type Finding =
  | { readonly wrong: string }
  | { readonly position: Readonly<Record<string, unknown>> | undefined }

export interface Inspection {
  readonly path: string
  readonly positionTable: string
  readonly ownTablePrefix: string
}

const ONE_LINE_MAX = 200

function inspect({ path, positionTable, ownTablePrefix }: Inspection): Finding {
  const database = openHardened(path, { trust: 'foreign', readOnly: true, file: 'immutable' })
  try {
    database.exec('pragma query_only = on; pragma ignore_check_constraints = on')
    const wrong = ownTables(database, ownTablePrefix) ?? damage(database)
    if (wrong !== undefined) return { wrong }
    const exists = database.prepare('select 1 from sqlite_schema where name = ?').get(positionTable)
    if (exists === undefined) return { position: undefined }
    const rows = database.prepare(`select * from ${positionTable} limit 2`).all()
    return rows.length === 1
      ? { position: { ...rows[0] } }
      : { wrong: `${positionTable} has ${rows.length} rows` }
  } finally {
    database.close()
  }
}

/** Of columns alone: an expression or a condition would run what its author wrote. */
const NAME = String.raw`(?:\w+|"\w+")`
const PLAIN_INDEX = new RegExp(
  String.raw`^create (?:unique )?index ${NAME} on ${NAME} ?\(${NAME}(?:, ?${NAME})*\)$`,
  'i',
)

/** The project's own tables are plain ones, and nothing hangs on them but plain indexes of their own. */
function ownTables(database: DatabaseSync, prefix: string): string | undefined {
  const own = database
    .prepare(
      `select type, name, tbl_name, sql from sqlite_schema
        where instr(lower(name), ?1) = 1 or instr(lower(tbl_name), ?1) = 1`,
    )
    .all(prefix)
  for (const { type, name, tbl_name: table, sql } of own) {
    const isOwn = [name, table].every((each) => String(each).toLowerCase().startsWith(prefix))
    const isIndexOfTable = type === 'index' && (sql === null || (isOwn && PLAIN_INDEX.test(String(sql))))
    const isPlain = type === 'table' && !/^\s*create\s+virtual/i.test(String(sql))
    if (!isPlain && !isIndexOfTable)
      return `a ${String(type)} has to do with a table that belongs to the node: ${cut(name)}`
  }
  return undefined
}

function damage(database: DatabaseSync): string | undefined {
  try {
    return reported(database, '')
  } catch (error) {
    if (!needsFunction(error)) throw error
  }
  const tables = database.prepare(
    `select name from pragma_table_list where schema = 'main' and type = 'table'`,
  )
  for (const { name } of tables.all()) {
    const table = String(name)
    try {
      const wrong = reported(database, `(${quoted(table)})`)
      if (wrong !== undefined) return wrong
    } catch (error) {
      if (!needsFunction(error)) throw error
      readThrough(database, table)
    }
  }
  return undefined
}

function reported(database: DatabaseSync, argument: string): string | undefined {
  const row = database.prepare(`pragma quick_check${argument}`).get()
  const text = Object.values(row ?? {})[0]
  return text === 'ok' ? undefined : `it is damaged: ${cut(text)}`
}

/** Reads every cell, with its overflow pages; throws where one is damaged. */
function readThrough(database: DatabaseSync, table: string): void {
  const columns = database.prepare('select name from pragma_table_xinfo(?) where hidden <> 2').all(table)
  const lengths = columns.map(({ name }) => `sum(length(hex(${quoted(String(name))})))`)
  database.prepare(`select ${['count(*)', ...lengths].join(', ')} from ${quoted(table)} not indexed`).get()
}

function needsFunction(error: unknown): boolean {
  return error instanceof Error && /^(unknown|no such) function/.test(error.message)
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** One short line: the text may come from the file. */
function cut(text: unknown): string {
  return String(text).replaceAll(/\s+/g, ' ').slice(0, ONE_LINE_MAX)
}

function finding(): Finding {
  try {
    return inspect(workerData as Inspection)
  } catch (error) {
    return { wrong: cut(error instanceof Error ? error.message : error) }
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
parentPort?.postMessage(finding())
