/**
 * The numbers of SQLite's changeset format, and the shapes that decoded changes take.
 *
 * Source of the format: the comments "CHANGESET FORMAT" and "RECORD FORMAT" in SQLite's ext/session/sqlite3session.c.
 * The README of this package has the byte tables.
 */
import { UnderstudyError } from '@understudy/contracts'

/** First byte of the header of a table whose changes carry full old values. */
export const TABLE_CHANGESET = 0x54
/** First byte of the header of a table whose changes carry only keys of what was there before. */
export const TABLE_PATCHSET = 0x50

/** Operation codes: SQLite's authorizer codes. */
export const OP_DELETE = 9
export const OP_INSERT = 18
export const OP_UPDATE = 23

/** Value type codes. `TYPE_ABSENT` stands for "not recorded", which is not NULL. */
export const TYPE_ABSENT = 0
export const TYPE_INTEGER = 1
export const TYPE_REAL = 2
export const TYPE_TEXT = 3
export const TYPE_BLOB = 4
export const TYPE_NULL = 5

/** SQLite's own hard limit for columns of a table. */
export const COLUMNS_MAX = 32_767
/** Lengths are signed 32-bit integers in SQLite. */
export const LENGTH_MAX = 0x7fff_ffff

export type Operation = 'delete' | 'insert' | 'update'

/** A value as its bytes stand in the changeset; `bytes` is a view: 8 bytes big-endian for integer and real, none for null. */
export interface RawValue {
  readonly type: 'integer' | 'real' | 'text' | 'blob' | 'null'
  readonly bytes: Uint8Array
}

/**
 * A value in JavaScript: `bigint` is an INTEGER, `number` a REAL, so that 1 and 1.0 stay two values. Text that is not
 * valid UTF-8 shows U+FFFD: use raw values where bytes matter.
 */
export type Value = bigint | number | string | Uint8Array | null

/** One change of one row. `undefined` in `before` and `after` stands for "not recorded". */
export interface Change<V = Value> {
  readonly table: string
  /** For each column its position in the PRIMARY KEY from 1, or 0. Old SQLite versions wrote 1 for every key column. */
  readonly key: readonly number[]
  readonly operation: Operation
  /** Made by a trigger or a foreign-key action. */
  readonly indirect: boolean
  /** From a patchset: the old values of other than key columns were never recorded. */
  readonly patchset: boolean
  /** One entry for each column. Deletes: the row. Updates: the key, and the old value of each changed column. Inserts: empty. */
  readonly before: readonly (V | undefined)[]
  /** One entry for each column. Inserts: the row. Updates: the new value of each changed column. Deletes: empty. */
  readonly after: readonly (V | undefined)[]
}

/** The error for bytes that are no changeset. */
export function malformed(what: string, offset: number): UnderstudyError {
  return new UnderstudyError(
    'CHANGESET_MALFORMED',
    `Not a SQLite changeset: ${what} at byte ${offset}. Nothing was done with it; take the changeset anew from its source.`,
    { offset },
  )
}
