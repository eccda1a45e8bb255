/** Rows as a caller wants them: integers as they were asked for, rows as objects. */
import { UnderstudyError } from '@understudy/contracts'
import type { Value } from '@understudy/protocol'

/**
 * What a 64-bit integer becomes: `auto` a number where that is exact, else a bigint; `bigint` always a bigint, which tells
 * INTEGER from REAL; `number` always a number, and an error where that would not be exact.
 */
export type Integers = 'auto' | 'bigint' | 'number'

/** A row by the names of its columns, without a prototype; of two columns of one name the last counts. */
export type Row = Record<string, Value>

export function toObjects(columns: readonly string[], rows: readonly (readonly Value[])[]): Row[] {
  return rows.map((values) => {
    const row = Object.create(null) as Row
    for (let at = 0; at < columns.length; at++) row[columns[at] as string] = values[at] as Value
    return row
  })
}

/** Throws `INVALID_ARGUMENT` for an integer that no number holds exactly, where numbers were asked for. */
export function checkIntegers(
  columns: readonly string[],
  rows: readonly (readonly Value[])[],
  integers: Integers,
): void {
  if (integers !== 'number') return
  for (const row of rows) {
    const at = row.findIndex((value) => typeof value === 'bigint')
    if (at >= 0) throw inexact(columns[at] as string, row[at] as bigint)
  }
}

/** Throws `INVALID_ARGUMENT` for what is none. */
export function integersOf(asked: Integers | undefined): Integers {
  if (asked === undefined) return 'auto'
  if (['auto', 'bigint', 'number'].includes(asked)) return asked
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `bigint is ${JSON.stringify(asked)}; give 'auto', 'bigint' or 'number'. Nothing was sent.`,
  )
}

function inexact(column: string, value: bigint): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `${column} is ${value}, which no number holds exactly. What the statement did is done; ask for bigint: 'auto' or 'bigint'.`,
    { column },
  )
}
