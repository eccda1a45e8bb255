/**
 * Changes to changesets, checked; and the inverse of a changeset.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { ChangesetCursor } from './cursor.ts'
import { changesetCursor } from './cursor.ts'
import type { Change, RawValue, Value } from './format.ts'
import {
  COLUMNS_MAX,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_REAL,
  TYPE_TEXT,
} from './format.ts'
import { ChangesetWriter } from './writer.ts'

const OPERATION_CODES = { delete: OP_DELETE, insert: OP_INSERT, update: OP_UPDATE } as const
const utf8 = new TextEncoder()

/**
 * The changeset of `changes`, in their order; neighbours of one table share a header. Throws `INVALID_ARGUMENT` for a
 * change that no changeset can hold.
 */
export function encodeChangeset(changes: Iterable<Change<Value | RawValue>>): Uint8Array {
  const writer = new ChangesetWriter()
  let previous: Change<Value | RawValue> | undefined
  for (const change of changes) {
    check(change)
    if (previous === undefined || !sameTable(previous, change)) {
      writer.table(utf8.encode(change.table), Uint8Array.from(change.key), change.patchset)
    }
    previous = change
    writer.change(OPERATION_CODES[change.operation], change.indirect)
    writeValues(writer, change)
  }
  return writer.bytes().slice()
}

/**
 * The changeset that undoes `bytes`: inserts become deletes and the other way round, updates swap sides. Order is
 * kept. A patchset has no inverse, since it lacks the old values: `INVALID_ARGUMENT`.
 */
export function invertChangeset(bytes: Uint8Array): Uint8Array {
  const cursor = changesetCursor(bytes)
  const writer = new ChangesetWriter(bytes.length + 64)
  let ordinal = 0
  while (cursor.next()) {
    if (cursor.patchset)
      throw invalid('A patchset cannot be inverted: it lacks the old values.', cursor.table)
    if (cursor.tableOrdinal !== ordinal) {
      ordinal = cursor.tableOrdinal
      writer.table(utf8.encode(cursor.table), cursor.key)
    }
    const { columns } = cursor
    if (cursor.operation === OP_UPDATE) {
      writer.change(OP_UPDATE, cursor.indirect)
      // The key stands on the old side alone, unless it changed to one that compares equal.
      for (let index = 0; index < columns; index += 1) {
        const keyOnly = cursor.key[index] !== 0 && cursor.types[columns + index] === TYPE_ABSENT
        copyValue(writer, cursor, keyOnly ? index : columns + index)
      }
      for (let index = 0; index < columns; index += 1) {
        const keyOnly = cursor.key[index] !== 0 && cursor.types[columns + index] === TYPE_ABSENT
        if (keyOnly) writer.absent()
        else copyValue(writer, cursor, index)
      }
    } else {
      const inserted = cursor.operation === OP_INSERT
      writer.change(inserted ? OP_DELETE : OP_INSERT, cursor.indirect)
      const base = inserted ? columns : 0
      for (let index = 0; index < columns; index += 1) copyValue(writer, cursor, base + index)
    }
  }
  return writer.bytes().slice()
}

function copyValue(writer: ChangesetWriter, cursor: ChangesetCursor, index: number): void {
  const start = cursor.starts[index] as number
  const length = cursor.lengths[index] as number
  const type = cursor.types[index]
  if (type === TYPE_TEXT) writer.text(cursor.bytes, start, length)
  else if (type === TYPE_BLOB) writer.blob(cursor.bytes, start, length)
  else if (type === TYPE_INTEGER) writer.integer(word(cursor.bytes, start), word(cursor.bytes, start + 4))
  else if (type === TYPE_REAL) writer.real(word(cursor.bytes, start), word(cursor.bytes, start + 4))
  else if (type === TYPE_ABSENT) writer.absent()
  else writer.null()
}

function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  )
}

function sameTable(a: Change<unknown>, b: Change<unknown>): boolean {
  return (
    a.table === b.table &&
    a.patchset === b.patchset &&
    a.key.length === b.key.length &&
    a.key.every((position, index) => position === b.key[index])
  )
}

function check(change: Change<unknown>): void {
  const { table, key, before, after, operation } = change
  const columns = key.length
  if (table === '' || table.includes('\0')) throw invalid('A table name is empty or has a NUL.', table)
  if (columns < 1 || columns > COLUMNS_MAX) throw invalid(`A table has ${columns} columns.`, table)
  if (!key.some((position) => position > 0)) throw invalid('A table has no key columns.', table)
  if (key.some((position) => !Number.isInteger(position) || position < 0 || position > 255)) {
    throw invalid('A key position is no integer from 0 to 255.', table)
  }
  const whole = (values: readonly unknown[]) => values.length === columns && !values.includes(undefined)
  const hasKey = () => key.every((position, index) => position === 0 || before[index] !== undefined)
  const sound =
    operation === 'insert'
      ? whole(after)
      : operation === 'delete'
        ? before.length === columns && (change.patchset ? hasKey() : whole(before))
        : before.length === columns && after.length === columns && hasKey()
  if (!sound) throw invalid(`Values of the ${operation} are missing or too many.`, table)
}

function writeValues(writer: ChangesetWriter, change: Change<Value | RawValue>): void {
  const { before, after, key, operation, patchset } = change
  if (operation === 'insert') {
    for (const value of after) writeValue(writer, value)
  } else if (operation === 'delete') {
    for (const [index, value] of before.entries()) {
      if (!patchset || key[index] !== 0) writeValue(writer, value)
    }
  } else if (patchset) {
    for (const [index, value] of after.entries()) writeValue(writer, key[index] === 0 ? value : before[index])
  } else {
    for (const value of before) writeValue(writer, value)
    for (const value of after) writeValue(writer, value)
  }
}

function writeValue(writer: ChangesetWriter, value: Value | RawValue | undefined): void {
  if (value === undefined) return writer.absent()
  if (value === null) return writer.null()
  if (typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) !== value) throw invalid('An integer is beyond 64 bits.', '')
    return writer.integer(Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asIntN(32, value)))
  }
  if (typeof value === 'number') {
    const bits = new DataView(new ArrayBuffer(8))
    bits.setFloat64(0, value)
    return writer.real(bits.getInt32(0), bits.getInt32(4))
  }
  if (typeof value === 'string') {
    const bytes = utf8.encode(value)
    return writer.text(bytes, 0, bytes.length)
  }
  if (value instanceof Uint8Array) return writer.blob(value, 0, value.length)
  return writeRaw(writer, value)
}

function writeRaw(writer: ChangesetWriter, { type, bytes }: RawValue): void {
  if ((type === 'integer' || type === 'real') && bytes.length !== 8) {
    throw invalid(`A raw ${type} has ${bytes.length} bytes instead of 8.`, '')
  }
  if (type === 'integer') return writer.integer(word(bytes, 0), word(bytes, 4))
  if (type === 'real') return writer.real(word(bytes, 0), word(bytes, 4))
  if (type === 'text') return writer.text(bytes, 0, bytes.length)
  if (type === 'blob') return writer.blob(bytes, 0, bytes.length)
  return writer.null()
}

function invalid(message: string, table: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${message} No changeset was made.`, { table })
}
