/**
 * Which tables give ids that no failover can keep from being given twice.
 *
 * SQLite gives a row of a plain INTEGER PRIMARY KEY the largest id in the table plus one. So the id of a last row that was deleted, or that
 * only a lost leader had, goes to another row. AUTOINCREMENT keeps a counter, which can be set above what was ever given.
 *
 * Decides: which tables these are. Leaves to others: reading the schema.
 */
import type { ReadRows } from '../lost-tail/classify.ts'

export interface IdFinding {
  readonly table: string
  /** The column that is the rowid. */
  readonly column: string
  /** What is wrong, in one sentence. */
  readonly problem: string
  /** What to do, in one sentence. */
  readonly advice: string
}

/** Tables whose rowid is a column, with the SQL that made each. An index of origin `pk` means that the key is no rowid. */
const TABLES_SQL = `select l.name, x.name, m.sql
  from pragma_table_list l
  join pragma_table_xinfo(l.name) x on x.pk = 1 and lower(x.type) = 'integer'
  join sqlite_schema m on m.type = 'table' and m.name = l.name
  where l.schema = 'main' and l.type = 'table' and l.wr = 0
    and substr(l.name, 1, 7) <> 'sqlite_' and substr(lower(l.name), 1, 11) <> '_understudy'
    and (select count(*) from pragma_table_xinfo(l.name) k where k.pk > 0) = 1
    and not exists (select 1 from pragma_index_list(l.name) i where i.origin = 'pk')
  order by l.name`

/** Tables with a plain INTEGER PRIMARY KEY, by name. Throws what reading throws. */
export async function lintIds(read: ReadRows): Promise<IdFinding[]> {
  const rows = await read(TABLES_SQL, [])
  return rows
    .filter(([, , sql]) => !hasAutoincrement(String(sql)))
    .map(([table, column]) => ({
      table: String(table),
      column: String(column),
      problem: `Ids of ${String(table)} can be given twice: after its last row is deleted, or lost with a leader, SQLite gives its id to another row.`,
      advice:
        `Make the table anew with "${String(column)} integer primary key autoincrement", copy the rows, and rename it; or let programs make the keys, ` +
        'such as UUIDs.',
    }))
}

/** Whether the word stands in the SQL of a table outside of names, texts and comments. */
function hasAutoincrement(sql: string): boolean {
  const plain = sql.replaceAll(
    /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\//g,
    ' ',
  )
  return /\bautoincrement\b/i.test(plain)
}
