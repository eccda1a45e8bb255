/**
 * The rows of one table of a frozen view, page by page, in the order and with the columns of its digest.
 *
 * Decides: how large a page is. Leaves to others: which row is missing where.
 *
 * 1. Each row begins with the letters of its types, as in the digest; texts come as the bytes that are stored.
 * 2. The statement stays open between pages, so that a table of any size is read once. A page continues where the last
 *    one ended, or begins anew at 0.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { UnderstudyError } from '@understudy/contracts'
import { narrowed } from './statements.ts'
import { rowSource } from './digest.ts'

export interface RowPage {
  /** Columns of the PRIMARY KEY; empty when there is none. */
  readonly key: readonly string[]
  /** The first is not of the table: letters of the types of the others. */
  readonly columns: readonly string[]
  /** Empty at the end of the table. */
  readonly rows: readonly (readonly SQLOutputValue[])[]
}

const PAGE_ROWS = 2048
const PAGE_BYTES = 512 * 1024

interface Cursor {
  readonly table: string
  readonly key: readonly string[]
  readonly columns: readonly string[]
  readonly rows: Iterator<unknown>
  offset: number
}

export class RowPager {
  readonly #database: DatabaseSync
  #cursor: Cursor | undefined

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** The page of `table` that begins after `offset` rows. Throws `INVALID_ARGUMENT`. */
  page(table: string, offset: number): RowPage {
    if (offset === 0) this.#open(table)
    const cursor = this.#cursor
    if (cursor === undefined || cursor.table !== table || cursor.offset !== offset)
      throw refused(`row ${offset} of ${table} is not where the last page ended`)
    const rows: SQLOutputValue[][] = []
    for (let bytes = 0; rows.length < PAGE_ROWS && bytes < PAGE_BYTES;) {
      const next = cursor.rows.next()
      if (next.done === true) break
      const row = next.value as SQLOutputValue[]
      for (let at = 0; at < row.length; at++) row[at] = narrowed(row[at] as SQLOutputValue)
      rows.push(row)
      for (const value of row) bytes += value instanceof Uint8Array ? value.length + 8 : 8
    }
    cursor.offset += rows.length
    return { key: cursor.key, columns: cursor.columns, rows }
  }

  close(): void {
    this.#cursor?.rows.return?.()
    this.#cursor = undefined
  }

  #open(table: string): void {
    this.close()
    const source = rowSource(this.#database, table)
    if (source === undefined) throw refused(`there is no table ${table} whose rows count`)
    const statement = this.#database.prepare(source.sql)
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    const rows = statement.iterate() as Iterator<unknown>
    this.#cursor = { table, key: source.key, columns: ['', ...source.columns], rows, offset: 0 }
  }
}

function refused(what: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `No rows were read: ${what}. Nothing was changed; ask for the rows from 0.`,
  )
}
