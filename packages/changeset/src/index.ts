/** Reads SQLite changesets as rows, writes rows as changesets. */
export { changesetCursor } from './cursor.ts'
export type { ChangesetCursor } from './cursor.ts'
export { decodeChangeset, decodeChangesetRaw, rawValueAt, toValue, valueAt } from './decode.ts'
export { encodeChangeset, invertChangeset } from './encode.ts'
export {
  COLUMNS_MAX,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_NULL,
  TYPE_REAL,
  TYPE_TEXT,
} from './format.ts'
export type { Change, Operation, RawValue, Value } from './format.ts'
export { ChangesetWriter } from './writer.ts'
