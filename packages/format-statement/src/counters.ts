/**
 * What the connection counts: SQLite's `changes()` and `last_insert_rowid()`, read without the functions of that name.
 *
 * Explaining a statement that writes sets `changes()` to 0. Where the statement asks for it, that must be undone.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

const TABLE = '_understudy_changes'

/** Running a statement that does nothing tells the counters as they stand, also within a trigger. */
export function counterStatement(database: DatabaseSync): StatementSync {
  const statement = database.prepare('select 1 where 0')
  statement.setReadBigInts(true)
  return statement
}

/**
 * Sets `changes()` to `count`: an UPDATE that changes so many rows of a TEMP table. Without rowids, so that
 * `last_insert_rowid()` stays.
 */
export function restoreChanges(database: DatabaseSync, count: bigint): void {
  database.exec(`create temp table if not exists ${TABLE} (n integer primary key) without rowid`)
  const { have } = database.prepare(`select count(*) as have from temp.${TABLE}`).get() as { have: number }
  if (count > BigInt(have)) {
    database
      .prepare(
        `with recursive c (n) as (select ? + 1 union all select n + 1 from c where n < ?) insert into temp.${TABLE} select n from c`,
      )
      .run(BigInt(have), count)
  }
  database.prepare(`update temp.${TABLE} set n = n where n <= ?`).run(count)
}
