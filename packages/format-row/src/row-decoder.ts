/**
 * TableChanges to changesets: the way back of `row-encoder.ts`.
 *
 * 1. Every byte is checked before any of the resulting changeset may be used: field order, counts, types, limits.
 * 2. Rows of tables with `replace` go to a changeset of their own, because conflicts in it are answered differently; so do
 *    those that they replaced, which only undoing needs.
 */
import { COLUMNS_MAX, OP_DELETE, OP_INSERT, OP_UPDATE, type ChangesetWriter } from '@understudy/changeset'
import { BYTES, corrupt, FIXED64, VARINT, type ProtoReader } from './wire.ts'

/** A table as a payload describes it. */
export interface DecodedTable {
  readonly name: string
  readonly columns: readonly string[]
  /** Indexes of key columns in key order. */
  readonly key: readonly number[]
  readonly replace: boolean
  readonly deletes: number
  readonly updates: number
  readonly inserts: number
}

/** The fields of a TableChanges before its rows. */
interface Header {
  /** As they stand in the payload. */
  readonly bytes: Uint8Array
  readonly name: string
  readonly nameBytes: Uint8Array
  readonly columns: readonly string[]
  readonly key: Uint8Array
  readonly keyOrder: readonly number[]
}

const STRATEGY = { fatal: true, ignoreBOM: true } as const
const TAG_VALUE = (1 << 3) | BYTES
const TAG_CHANGED = (2 << 3) | BYTES
const TAG_OLD = (3 << 3) | BYTES
const TAG_NEW = (4 << 3) | BYTES
const TAG_REPLACED = (8 << 3) | BYTES

/** Decodes TableChanges messages. */
export class RowDecoder {
  readonly #utf8 = new TextDecoder('utf-8', STRATEGY)
  readonly #strict: ChangesetWriter
  readonly #replacing: ChangesetWriter
  readonly #replaced: ChangesetWriter
  #reader!: ProtoReader
  #out!: ChangesetWriter
  #columns = 0
  /** For each column its position in the key from 1, or 0. */
  #key: Uint8Array = new Uint8Array(0)
  #keyOrder: readonly number[] = []
  #last: Header | undefined
  /** Offset of each column's value in the message being read: an update's old and new values, by column. */
  #old: Uint32Array = new Uint32Array(0)
  #new: Uint32Array = new Uint32Array(0)
  #changed: number[] = []

  /** Changesets go to `strict`, those of tables with `replace` to `replacing`, inserts of the rows replaced to `replaced`. */
  constructor(strict: ChangesetWriter, replacing: ChangesetWriter, replaced: ChangesetWriter) {
    this.#strict = strict
    this.#replacing = replacing
    this.#replaced = replaced
  }

  /** Reads the TableChanges that ends at `limit`. */
  table(reader: ProtoReader, limit: number): DecodedTable {
    this.#reader = reader
    const header = this.#header(limit)
    const replace = this.#is(limit, (4 << 3) | VARINT) && reader.varint(limit) !== 0
    this.#out = replace ? this.#replacing : this.#strict
    this.#out.table(header.nameBytes, header.key)
    const deletes = this.#rows(limit, (5 << 3) | BYTES, OP_DELETE)
    const updates = this.#updates(limit)
    const inserts = this.#rows(limit, (7 << 3) | BYTES, OP_INSERT)
    if (replace && reader.offset < limit && reader.bytes[reader.offset] === TAG_REPLACED) {
      this.#out = this.#replaced
      this.#out.table(header.nameBytes, header.key)
      if (this.#rows(limit, TAG_REPLACED, OP_INSERT) > inserts)
        throw corrupt('more rows replaced than inserted', reader.offset)
    }
    if (reader.offset !== limit) throw corrupt('an unknown or misplaced field', reader.offset)
    if (deletes + updates + inserts === 0) throw corrupt('a table without changes', limit)
    return {
      name: header.name,
      columns: header.columns,
      key: header.keyOrder,
      replace,
      deletes,
      updates,
      inserts,
    }
  }

  /** UTF-8 or an error. */
  string(bytes: Uint8Array, offset: number): string {
    try {
      return this.#utf8.decode(bytes)
    } catch {
      throw corrupt('a text that is not UTF-8', offset)
    }
  }

  /** Reads name, columns and key, or takes those of the table before when the bytes are the same. */
  #header(limit: number): Header {
    const reader = this.#reader
    const start = reader.offset
    if (this.#last !== undefined && startsWith(reader.bytes, start, limit, this.#last.bytes)) {
      reader.offset = start + this.#last.bytes.length
      return this.#use(this.#last)
    }
    const nameBytes = this.#bytesField(limit, (1 << 3) | BYTES, 'a table without a name')
    const name = this.string(nameBytes, reader.offset)
    if (name === '' || nameBytes.includes(0) || name.toLowerCase().startsWith('sqlite_')) {
      throw corrupt('a table name that no user can give', reader.offset)
    }
    const columns: string[] = []
    while (this.#is(limit, (2 << 3) | BYTES)) columns.push(this.string(this.#content(limit), reader.offset))
    if (columns.length < 1 || columns.length > COLUMNS_MAX)
      throw corrupt('a table without columns', reader.offset)
    const key = new Uint8Array(columns.length)
    const keyOrder = this.#readKey(limit, key)
    const bytes = new Uint8Array(reader.bytes.subarray(start, reader.offset))
    this.#last = { bytes, name, nameBytes: new Uint8Array(nameBytes), columns, key, keyOrder }
    return this.#use(this.#last)
  }

  #use(header: Header): Header {
    const columns = header.columns.length
    this.#columns = columns
    this.#key = header.key
    this.#keyOrder = header.keyOrder
    if (this.#old.length < columns) {
      this.#old = new Uint32Array(columns)
      this.#new = new Uint32Array(columns)
    }
    return header
  }

  #readKey(limit: number, key: Uint8Array): number[] {
    const reader = this.#reader
    if (!this.#is(limit, (3 << 3) | BYTES)) throw corrupt('a table without a key', reader.offset)
    const end = reader.span(limit)
    const order: number[] = []
    while (reader.offset < end) {
      const index = reader.varint(end)
      const position = order.push(index)
      if (index >= key.length || key[index] !== 0 || position > 255) {
        throw corrupt('a key column that does not exist or comes twice', reader.offset)
      }
      key[index] = position
    }
    if (order.length === 0) throw corrupt('a table without a key', reader.offset)
    return order
  }

  #rows(limit: number, tag: number, operation: number): number {
    const reader = this.#reader
    const out = this.#out
    let count = 0
    while (this.#is(limit, tag)) {
      const end = reader.span(limit)
      out.change(operation)
      for (let index = 0; index < this.#columns; index += 1) {
        if (reader.offset >= end || reader.bytes[reader.offset++] !== TAG_VALUE) {
          throw corrupt('a row with too few values', reader.offset)
        }
        this.#value(end, this.#key[index] === 0)
      }
      if (reader.offset !== end) throw corrupt('a row with too many values', reader.offset)
      count += 1
    }
    return count
  }

  #updates(limit: number): number {
    const reader = this.#reader
    let count = 0
    while (this.#is(limit, (6 << 3) | BYTES)) {
      const end = reader.span(limit)
      this.#old.fill(0)
      this.#new.fill(0)
      for (const index of this.#keyOrder) this.#locate(end, TAG_VALUE, this.#old, index)
      this.#readChanged(end)
      for (const index of this.#changed) this.#locate(end, TAG_OLD, this.#old, index)
      for (const index of this.#changed) this.#locate(end, TAG_NEW, this.#new, index)
      if (reader.offset !== end) throw corrupt('an update with too many values', reader.offset)
      this.#out.change(OP_UPDATE)
      this.#side(this.#old, end)
      this.#side(this.#new, end)
      reader.offset = end
      count += 1
    }
    return count
  }

  #readChanged(limit: number): void {
    const reader = this.#reader
    if (!this.#is(limit, TAG_CHANGED)) throw corrupt('an update without its columns', reader.offset)
    const end = reader.span(limit)
    const changed = this.#changed
    changed.length = 0
    let previous = -1
    while (reader.offset < end) {
      const index = reader.varint(end)
      if (index <= previous || index >= this.#columns || this.#key[index] !== 0) {
        throw corrupt('an update of a column that it cannot change', reader.offset)
      }
      changed.push(index)
      previous = index
    }
    if (changed.length === 0) throw corrupt('an update that changes nothing', reader.offset)
  }

  /** Notes where the value of column `index` begins, and steps over it. */
  #locate(limit: number, tag: number, where: Uint32Array, index: number): void {
    const reader = this.#reader
    if (!this.#is(limit, tag)) throw corrupt('an update with too few values', reader.offset)
    where[index] = reader.offset
    reader.offset = reader.span(limit)
  }

  /** Writes one side of an update: the values located, absent ones between. */
  #side(where: Uint32Array, end: number): void {
    for (let index = 0; index < this.#columns; index += 1) {
      const offset = where[index] as number
      if (offset === 0) {
        this.#out.absent()
      } else {
        this.#reader.offset = offset
        this.#value(end, this.#key[index] === 0)
      }
    }
  }

  /** Moves one Value, of which the length comes next, to the changeset. */
  #value(limit: number, nullable: boolean): void {
    const reader = this.#reader
    const end = reader.span(limit)
    const at = reader.offset
    if (at >= end) throw corrupt('a value of no kind', at)
    reader.offset = at + 1
    switch (reader.bytes[at]) {
      case (4 << 3) | BYTES: {
        const contentEnd = reader.span(end)
        this.#out.text(reader.bytes, reader.offset, contentEnd - reader.offset)
        reader.offset = contentEnd
        break
      }
      case (2 << 3) | VARINT:
        reader.zigzag(end)
        this.#out.integer(reader.high, reader.low)
        break
      case (1 << 3) | VARINT:
        if (reader.varint(end) !== 1 || !nullable) throw corrupt('a NULL that cannot be', at)
        this.#out.null()
        break
      case (3 << 3) | FIXED64:
        reader.eight(end)
        // SQLite has no NaN: a follower would store NULL.
        if ((reader.high & 0x7ff0_0000) === 0x7ff0_0000 && ((reader.high & 0xf_ffff) | reader.low) !== 0) {
          throw corrupt('a real that is no number', at)
        }
        this.#out.real(reader.high, reader.low)
        break
      case (5 << 3) | BYTES: {
        const contentEnd = reader.span(end)
        this.#out.blob(reader.bytes, reader.offset, contentEnd - reader.offset)
        reader.offset = contentEnd
        break
      }
      case undefined:
      default:
        throw corrupt('a value of an unknown kind', at)
    }
    if (reader.offset !== end) throw corrupt('a value with too many bytes', reader.offset)
  }

  #is(limit: number, tag: number): boolean {
    const reader = this.#reader
    if (reader.offset >= limit || reader.bytes[reader.offset] !== tag) return false
    reader.offset += 1
    return true
  }

  #bytesField(limit: number, tag: number, problem: string): Uint8Array {
    if (!this.#is(limit, tag)) throw corrupt(problem, this.#reader.offset)
    return this.#content(limit)
  }

  #content(limit: number): Uint8Array {
    const reader = this.#reader
    const end = reader.span(limit)
    const content = reader.bytes.subarray(reader.offset, end)
    reader.offset = end
    return content
  }
}

/** Whether `prefix` stands at `start`. A header ends with its key, so no other header begins with it. */
function startsWith(bytes: Uint8Array, start: number, limit: number, prefix: Uint8Array): boolean {
  if (start + prefix.length > limit) return false
  for (let index = 0; index < prefix.length; index += 1)
    if (bytes[start + index] !== prefix[index]) return false
  return true
}
