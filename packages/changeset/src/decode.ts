/**
 * Turns a changeset into plain objects, one for each change: for tools, tests and callers that are not in a hurry.
 * The cursor is the fast way.
 */
import type { ChangesetCursor } from './cursor.ts'
import { changesetCursor } from './cursor.ts'
import type { Change, Operation, RawValue, Value } from './format.ts'
import {
  malformed,
  OP_DELETE,
  OP_INSERT,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_NULL,
  TYPE_REAL,
  TYPE_TEXT,
} from './format.ts'

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * The changes of a changeset or patchset with JavaScript values. Throws `CHANGESET_MALFORMED` when it reaches bytes
 * that make no sense; changes before them were yielded. Blobs are copies.
 */
export function* decodeChangeset(bytes: Uint8Array): Generator<Change> {
  const cursor = changesetCursor(bytes)
  while (cursor.next()) yield changeAt(cursor, valueAt)
}

/** The same with raw values: views of `bytes`, nothing lost. */
export function* decodeChangesetRaw(bytes: Uint8Array): Generator<Change<RawValue>> {
  const cursor = changesetCursor(bytes)
  while (cursor.next()) yield changeAt(cursor, rawValueAt)
}

/**
 * The value at `index` of a cursor's arrays, in JavaScript; `undefined` where nothing was recorded.
 */
export function valueAt(cursor: ChangesetCursor, index: number): Value | undefined {
  const raw = rawValueAt(cursor, index)
  return raw === undefined ? undefined : toValue(raw)
}

/** The value at `index` of a cursor's arrays as a view of its bytes; `undefined` where nothing was recorded. */
export function rawValueAt(cursor: ChangesetCursor, index: number): RawValue | undefined {
  const start = cursor.starts[index] as number
  const bytes = cursor.bytes.subarray(start, start + (cursor.lengths[index] as number))
  switch (cursor.types[index]) {
    case TYPE_ABSENT:
      return undefined
    case TYPE_INTEGER:
      return { type: 'integer', bytes }
    case TYPE_REAL:
      return { type: 'real', bytes }
    case TYPE_TEXT:
      return { type: 'text', bytes }
    case TYPE_BLOB:
      return { type: 'blob', bytes }
    case TYPE_NULL:
      return { type: 'null', bytes }
    case undefined:
    default:
      throw malformed('an unknown value type', start)
  }
}

/** A raw value in JavaScript. A blob is copied. */
export function toValue(raw: RawValue): Value {
  switch (raw.type) {
    case 'integer':
      return view(raw.bytes).getBigInt64(0)
    case 'real':
      return view(raw.bytes).getFloat64(0)
    case 'text':
      return lenient.decode(raw.bytes)
    case 'blob':
      return new Uint8Array(raw.bytes)
    case 'null':
      return null
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function changeAt<V>(
  cursor: ChangesetCursor,
  read: (cursor: ChangesetCursor, index: number) => V | undefined,
): Change<V> {
  const { columns } = cursor
  const before: (V | undefined)[] = []
  const after: (V | undefined)[] = []
  for (let index = 0; index < columns; index += 1) {
    if (cursor.operation !== OP_INSERT) before.push(read(cursor, index))
    if (cursor.operation !== OP_DELETE) after.push(read(cursor, columns + index))
  }
  return {
    table: cursor.table,
    key: Array.from(cursor.key),
    operation: operationName(cursor.operation),
    indirect: cursor.indirect,
    patchset: cursor.patchset,
    before,
    after,
  }
}

function operationName(code: number): Operation {
  if (code === OP_INSERT) return 'insert'
  return code === OP_DELETE ? 'delete' : 'update'
}
