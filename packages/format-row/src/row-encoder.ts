/**
 * Changesets to TableChanges: values are moved, never turned into JavaScript values.
 *
 * 1. Within a table: deletes, then updates, then inserts, whatever the order of the changeset.
 * 2. An update that changes its own key to one that compares equal is left out: the session extension reports the row
 *    under its new key as an insert as well, which replaces the old one (`replace`).
 * 3. A write that gives a key another spelling and is rolled back leaves that spelling in the session, which then finds
 *    the row under it and reports an insert of a row that was always there. Where the row is also updated, the insert is
 *    left out: SQLite may retry the update after it, and would find the new values where the old ones are due.
 * 4. The row whose place an insert takes is put together from that update and the insert, for undoing. An insert without such an
 *    update is of a new row, or of one whose key was spelled otherwise for a while (3, or there and back again): the
 *    changeset does not tell which, the recorder may.
 * 5. Changes of `sqlite_stat1` are left out and reported by `sawStatistics`.
 */
import { UnderstudyError } from '@understudy/contracts'
import {
  changesetCursor,
  OP_DELETE,
  OP_INSERT,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_REAL,
  TYPE_TEXT,
  type ChangesetCursor,
} from '@understudy/changeset'
import { isSoft, REPLACE_FIELD, type Schema, type TableSchema } from './schema.ts'
import { BYTES, FIXED64, ProtoReader, ProtoWriter, VARINT, varintSize, zigzagSize } from './wire.ts'

const STATISTICS_TABLE = 'sqlite_stat1'
const TAG_STEP = (5 << 3) | BYTES
const TAG_ROWS = (1 << 3) | BYTES
const TAG_DELETE = (5 << 3) | BYTES
const TAG_UPDATE = (6 << 3) | BYTES
const TAG_INSERT = (7 << 3) | BYTES
const TAG_REPLACED = (8 << 3) | BYTES
const TAG_ROW_VALUE = (1 << 3) | BYTES
const TAG_UPDATE_KEY = (1 << 3) | BYTES
const TAG_UPDATE_CHANGED = (2 << 3) | BYTES
const TAG_UPDATE_OLD = (3 << 3) | BYTES
const TAG_UPDATE_NEW = (4 << 3) | BYTES
const TAG_NULL = (1 << 3) | VARINT
const TAG_INTEGER = (2 << 3) | VARINT
const TAG_REAL = (3 << 3) | FIXED64
const TAG_TEXT = (4 << 3) | BYTES
const TAG_BLOB = (5 << 3) | BYTES

/** Encodes the row steps of payloads, one after another, with buffers that are reused. */
export class RowEncoder {
  /** Rows written since `begin`. */
  changes = 0
  sawStatistics = false
  /** Rows deleted, of the `changes`. */
  deletes = 0
  /** A table has `replace`. */
  replaced = false
  /** One of its inserts took no place that is known of. */
  placeless = false
  /** A row whose place an insert takes is not known. */
  replacedUnknown = false
  /**
   * Tables that got rows: an insert on a follower raises an AUTOINCREMENT counter also where it was an update of the key
   * on the leader, which does not. SQLite may take updates of several rows apart as well.
   */
  readonly inserted: Set<string> = new Set()
  #updateCount = 0
  readonly #deletes = new ProtoWriter()
  readonly #updates = new ProtoWriter()
  readonly #inserts = new ProtoWriter()
  #changed: number[] = []
  #replace = false
  /** Of rows whose keys can equal others: see 3. */
  readonly #updatedKeys: Set<string> = new Set()
  readonly #movedRows: MovedRow[] = []
  readonly #insertedRows: { readonly key: string; readonly from: number; readonly to: number }[] = []

  /** Forgets what was counted and seen: a new payload begins. */
  begin(): void {
    this.changes = 0
    this.sawStatistics = false
    this.deletes = 0
    this.replaced = false
    this.placeless = false
    this.replacedUnknown = false
    this.inserted.clear()
    // What a group that could not be encoded left must not travel with the next one.
    this.#reset()
  }

  /** Appends a Step for each table of `changeset` to `out`. */
  encode(changeset: Uint8Array, schema: Schema, out: ProtoWriter): void {
    const cursor = changesetCursor(changeset)
    let ordinal = 0
    let table: TableSchema | undefined
    while (cursor.next()) {
      if (cursor.tableOrdinal !== ordinal) {
        this.#flush(table, out)
        ordinal = cursor.tableOrdinal
        table = this.#table(cursor, schema)
      }
      if (table !== undefined) this.#change(cursor, table)
    }
    this.#flush(table, out)
  }

  #table(cursor: ChangesetCursor, schema: Schema): TableSchema | undefined {
    if (cursor.table === STATISTICS_TABLE) {
      this.sawStatistics = true
      return undefined
    }
    const table = schema.tables.get(cursor.table)
    if (table !== undefined && table.columns.length === cursor.columns) return table
    throw new UnderstudyError(
      'NOT_WRITTEN',
      `The recorded changes of table ${cursor.table} do not fit its schema, so the group was rolled back and nothing ` +
        'was logged. Write again; put a schema change and the rows that depend on it into a write of their own.',
      { table: cursor.table },
    )
  }

  #change(cursor: ChangesetCursor, table: TableSchema): void {
    if (cursor.operation === OP_INSERT) {
      const from = this.#inserts.length
      this.#row(this.#inserts, TAG_INSERT, cursor, cursor.columns)
      if (!hasSoftKey(cursor, table, cursor.columns)) return
      const key = keyOf(cursor, table, cursor.columns)
      this.#insertedRows.push({ key, from, to: this.#inserts.length })
    } else if (cursor.operation === OP_DELETE) {
      this.#row(this.#deletes, TAG_DELETE, cursor, 0)
      this.deletes += 1
    } else {
      this.#update(cursor, table)
    }
  }

  #row(writer: ProtoWriter, tag: number, cursor: ChangesetCursor, base: number): void {
    const end = base + cursor.columns
    let size = 0
    for (let index = base; index < end; index += 1) size += fieldSize(cursor, index)
    writer.reserve(size + 12)
    writer.byte(tag)
    writer.varint(size)
    for (let index = base; index < end; index += 1) writeField(writer, TAG_ROW_VALUE, cursor, index)
    this.changes += 1
  }

  #update(cursor: ChangesetCursor, table: TableSchema): void {
    const { columns, types } = cursor
    for (const index of table.key) {
      if (types[columns + index] === TYPE_ABSENT) continue
      this.#movedRows.push(movedRow(cursor, table))
      return
    }
    const changed = this.#changed
    changed.length = 0
    let size = 0
    let changedBytes = 0
    for (const index of table.key) size += fieldSize(cursor, index)
    for (let index = 0; index < columns; index += 1) {
      if (types[columns + index] === TYPE_ABSENT) continue
      changed.push(index)
      changedBytes += varintSize(index)
      size += fieldSize(cursor, index) + fieldSize(cursor, columns + index)
    }
    size += 1 + varintSize(changedBytes) + changedBytes
    const writer = this.#updates
    writer.reserve(size + 12)
    writer.byte(TAG_UPDATE)
    writer.varint(size)
    for (const index of table.key) writeField(writer, TAG_UPDATE_KEY, cursor, index)
    writer.byte(TAG_UPDATE_CHANGED)
    writer.varint(changedBytes)
    for (const index of changed) writer.varint(index)
    for (const index of changed) writeField(writer, TAG_UPDATE_OLD, cursor, index)
    for (const index of changed) writeField(writer, TAG_UPDATE_NEW, cursor, columns + index)
    this.#updateCount += 1
    this.changes += 1
    if (hasSoftKey(cursor, table, 0)) this.#updatedKeys.add(keyOf(cursor, table, 0))
  }

  /** Leaves out inserts of rows that are updated, and all but the first of one row. */
  #dropRepeated(): void {
    const seen = this.#updatedKeys
    const repeated = this.#insertedRows.filter(({ key }) => {
      const isRepeated = seen.has(key)
      seen.add(key)
      return isRepeated
    })
    if (repeated.length === 0) return
    const rows = this.#inserts.bytes().slice()
    this.#inserts.reset()
    this.#inserts.reserve(rows.length)
    let at = 0
    for (const { from, to } of repeated) {
      this.#inserts.copy(rows, at, from - at)
      at = to
    }
    this.#inserts.copy(rows, at, rows.length - at)
    this.changes -= repeated.length
    this.#replace = repeated.length < this.#insertedRows.length
  }

  #flush(table: TableSchema | undefined, out: ProtoWriter): void {
    const replaced = this.#replacedRows(table)
    const parts = [this.#deletes, this.#updates, this.#inserts, replaced]
    if (this.#insertedRows.length > 0) {
      this.#replace = true
      this.#dropRepeated()
    }
    this.replaced ||= this.#replace
    const rowBytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (table !== undefined && rowBytes > 0) {
      const size = table.header.length + (this.#replace ? REPLACE_FIELD.length : 0) + rowBytes
      out.reserve(size + 24)
      out.byte(TAG_STEP)
      out.varint(1 + varintSize(size) + size)
      out.byte(TAG_ROWS)
      out.varint(size)
      out.copy(table.header, 0, table.header.length)
      if (this.#replace) out.copy(REPLACE_FIELD, 0, REPLACE_FIELD.length)
      for (const part of parts) out.copy(part.bytes(), 0, part.length)
    }
    if (table !== undefined && (this.#inserts.length > 0 || this.#updateCount > 1))
      this.inserted.add(table.name)
    this.#reset()
  }

  /** The rows whose place inserts take, as they were. Before repeated inserts are dropped: it reads them. */
  #replacedRows(table: TableSchema | undefined): ProtoWriter {
    const out = new ProtoWriter(0)
    if (this.#movedRows.length === 0) {
      this.placeless ||= this.#insertedRows.length > 0 && table?.isShadow === false
      return out
    }
    const inserts = new Map(this.#insertedRows.map((row) => [row.key, row]))
    const rows = this.#inserts.bytes()
    for (const { key, old } of this.#movedRows) {
      const insert = inserts.get(key)
      if (insert === undefined || this.#updatedKeys.has(key)) {
        this.replacedUnknown = true
        continue
      }
      const now = fieldsOf(rows.subarray(insert.from, insert.to))
      const fields = old.map((field, index) => field ?? (now[index] as Uint8Array))
      const size = fields.reduce((sum, field) => sum + field.length, 0)
      out.reserve(size + 12)
      out.byte(TAG_REPLACED)
      out.varint(size)
      for (const field of fields) out.copy(field, 0, field.length)
      inserts.delete(key)
    }
    this.placeless ||= inserts.size > 0
    return out
  }

  #reset(): void {
    for (const part of [this.#deletes, this.#updates, this.#inserts]) part.reset()
    this.#updateCount = 0
    this.#replace = false
    this.#updatedKeys.clear()
    this.#insertedRows.length = 0
    this.#movedRows.length = 0
  }
}

/** A row that is under another spelling of its key now. */
interface MovedRow {
  /** The key that it has now. */
  readonly key: string
  /** Its old values as fields of a Row; `undefined` where they did not change. */
  readonly old: readonly (Uint8Array | undefined)[]
}

function movedRow(cursor: ChangesetCursor, table: TableSchema): MovedRow {
  const { columns, types } = cursor
  const old = Array.from({ length: columns }, (_, index) => {
    if (types[index] === TYPE_ABSENT) return undefined
    const writer = new ProtoWriter(fieldSize(cursor, index) + 12)
    writeField(writer, TAG_ROW_VALUE, cursor, index)
    return writer.bytes()
  })
  return { key: keyOf(cursor, table, columns, 0), old }
}

/** The values of an encoded Row, each with its tag and length. */
function fieldsOf(row: Uint8Array): Uint8Array[] {
  const reader = new ProtoReader(row)
  reader.offset = 1
  reader.varint(row.length)
  const fields: Uint8Array[] = []
  while (reader.offset < row.length) {
    const from = reader.offset
    reader.offset += 1
    reader.offset = reader.span(row.length)
    fields.push(row.subarray(from, reader.offset))
  }
  return fields
}

/** `base`: where the values of the row begin, 0 for old ones. */
function hasSoftKey(cursor: ChangesetCursor, table: TableSchema, base: number): boolean {
  for (const index of table.key) {
    const softness = table.softness[index] as number
    if (softness === 0) continue
    const type = cursor.types[base + index]
    if (isSoft(softness, type === TYPE_INTEGER || type === TYPE_REAL)) return true
  }
  return false
}

/** A key as it is spelled: equal for equal bytes and types alone. `fallback`: where values stand that `base` lacks. */
function keyOf(cursor: ChangesetCursor, table: TableSchema, base: number, fallback: number = base): string {
  let key = ''
  for (const column of table.key) {
    const index = (cursor.types[base + column] === TYPE_ABSENT ? fallback : base) + column
    const start = cursor.starts[index] as number
    const length = cursor.lengths[index] as number
    const { buffer, byteOffset } = cursor.bytes
    key += `${cursor.types[index]} ${length} ${Buffer.from(buffer, byteOffset + start, length).toString('latin1')}`
  }
  return key
}

/** Bytes of a Value as a field: tag, length, content. */
function fieldSize(cursor: ChangesetCursor, index: number): number {
  const type = cursor.types[index]
  if (type === TYPE_TEXT || type === TYPE_BLOB) {
    const length = cursor.lengths[index] as number
    const inner = 1 + varintSize(length) + length
    return 1 + varintSize(inner) + inner
  }
  if (type === TYPE_INTEGER) {
    const start = cursor.starts[index] as number
    return 3 + zigzagSize(word(cursor.bytes, start), word(cursor.bytes, start + 4))
  }
  return type === TYPE_REAL ? 11 : 4
}

function writeField(writer: ProtoWriter, tag: number, cursor: ChangesetCursor, index: number): void {
  const { bytes } = cursor
  const type = cursor.types[index]
  const start = cursor.starts[index] as number
  writer.byte(tag)
  if (type === TYPE_TEXT || type === TYPE_BLOB) {
    const length = cursor.lengths[index] as number
    writer.varint(1 + varintSize(length) + length)
    writer.byte(type === TYPE_TEXT ? TAG_TEXT : TAG_BLOB)
    writer.varint(length)
    writer.copy(bytes, start, length)
  } else if (type === TYPE_INTEGER) {
    const high = word(bytes, start)
    const low = word(bytes, start + 4)
    writer.byte(1 + zigzagSize(high, low))
    writer.byte(TAG_INTEGER)
    writer.zigzag(high, low)
  } else if (type === TYPE_REAL) {
    writer.byte(9)
    writer.byte(TAG_REAL)
    writer.reversed8(bytes, start)
  } else {
    writer.byte(2)
    writer.byte(TAG_NULL)
    writer.byte(1)
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  )
}
