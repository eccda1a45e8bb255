/**
 * A result that is read in parts, and what is known of a statement before it runs.
 *
 * Decides: where a part ends. Leaves to others: compiling, who may run what (`statements.ts`), the transaction.
 *
 * 1. A cursor has a compiled statement of its own: the cached ones are run again, from their beginning, by whoever comes next.
 * 2. A part has a row at least, however large, unless there is none; and whether it is the last one is known with it.
 * 3. A statement that was asked for its shape was never stepped.
 */
import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import type { Parameters } from '@understudy/contracts'
import { isSqlite, SQLITE_CODES } from './errors.ts'

export interface PartLimits {
  readonly rowsMax: number
  /** Of texts and blobs; any other value counts 8. */
  readonly bytesMax: number
}

export interface ResultPart {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly SQLOutputValue[])[]
  /** The cursor is over, and closed. */
  readonly isLast: boolean
}

/** A result that is read in parts, for as long as its transaction. */
export interface RowCursor {
  readonly columns: readonly string[]
  /** Throws what SQLite throws, `WRITE_FORBIDDEN`, `CLOSED`. */
  next(limits: PartLimits): ResultPart
  close(): void
}

export interface StatementShape {
  /** None for a statement that returns no rows. `type`: as the table declares it, empty for an expression. */
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  /** Values that it takes by place. */
  readonly parameters: number
  readonly readOnly: boolean
}

/** Reads one compiled statement in parts. `narrow`: what an integer becomes. */
export class StatementCursor implements RowCursor {
  readonly columns: readonly string[]
  readonly #rows: Iterator<unknown>
  readonly #narrow: ((value: SQLOutputValue) => SQLOutputValue) | undefined
  /** Read, and not given out: it tells whether there is more. */
  #ahead: SQLOutputValue[] | undefined
  #isOver = false

  constructor(
    statement: StatementSync,
    parameters: Parameters,
    narrow: ((value: SQLOutputValue) => SQLOutputValue) | undefined,
  ) {
    this.columns = statement.columns().map(({ name }) => name)
    this.#narrow = narrow
    statement.setReturnArrays(true)
    statement.setReadBigInts(true)
    this.#rows = iterate(statement, parameters)
  }

  next({ rowsMax, bytesMax }: PartLimits): ResultPart {
    const rows: SQLOutputValue[][] = []
    let bytes = 0
    let row = this.#ahead ?? this.#read()
    while (row !== undefined) {
      rows.push(row)
      for (const value of row) bytes += valueBytes(value)
      row = this.#read()
      if (rows.length >= rowsMax || bytes >= bytesMax) break
    }
    this.#ahead = row
    return { columns: this.columns, rows, isLast: row === undefined }
  }

  close(): void {
    this.#ahead = undefined
    if (this.#isOver) return
    this.#isOver = true
    this.#rows.return?.()
  }

  #read(): SQLOutputValue[] | undefined {
    if (this.#isOver) return undefined
    const next = this.#rows.next()
    if (next.done === true) {
      this.#isOver = true
      return undefined
    }
    const row = next.value as SQLOutputValue[]
    const narrow = this.#narrow
    if (narrow !== undefined)
      for (let at = 0; at < row.length; at++) row[at] = narrow(row[at] as SQLOutputValue)
    return row
  }
}

/** Bytes that a value counts for limits. */
export function valueBytes(value: SQLOutputValue): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  return value instanceof Uint8Array ? value.byteLength : 8
}

/** Binds, and steps nothing yet. */
export function iterate(statement: StatementSync, parameters: Parameters): Iterator<unknown> {
  return (
    isList(parameters) ? statement.iterate(...parameters) : statement.iterate(parameters)
  ) as Iterator<unknown>
}

export function isList(parameters: Parameters): parameters is readonly SQLInputValue[] {
  return Array.isArray(parameters)
}

/** SQLite's own limit. */
const PARAMETERS_MAX = 32_766

/** How many values a statement takes by place: SQLite says only whether so many are too many. Nothing is stepped. */
export function parameterCount(statement: StatementSync): number {
  const takes = (count: number): boolean => {
    try {
      statement.iterate(...Array.from<null>({ length: count }).fill(null)).return?.()
      return true
    } catch (error) {
      if (isSqlite(error, SQLITE_CODES.RANGE)) return false
      throw error
    }
  }
  let [least, over] = [0, 1]
  while (over <= PARAMETERS_MAX && takes(over)) [least, over] = [over, over * 2]
  while (over - least > 1) {
    const middle = (least + over) >> 1
    if (middle <= PARAMETERS_MAX && takes(middle)) least = middle
    else over = middle
  }
  return least
}
