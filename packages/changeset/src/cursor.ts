/**
 * Walks a changeset or patchset without making an object for a row or a value.
 *
 * Decides: where each value of a change begins, how long it is, and that all of it lies inside the bytes.
 * Leaves to others: what the values mean, and whether they make sense together.
 *
 * 1. `next` has checked every byte of a change before it returns true: reads at `starts` and `lengths` stay in bounds.
 * 2. Each `next` moves on by at least one byte or throws, so any input ends.
 * 3. The arrays are reused: what they say holds until the next call.
 */
import {
  COLUMNS_MAX,
  LENGTH_MAX,
  malformed,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  TABLE_CHANGESET,
  TABLE_PATCHSET,
  TYPE_ABSENT,
  TYPE_BLOB,
  TYPE_INTEGER,
  TYPE_NULL,
  TYPE_REAL,
  TYPE_TEXT,
} from './format.ts'

/** A place in a changeset: one change. */
export interface ChangesetCursor {
  readonly bytes: Uint8Array
  /** Counts the table headers met so far; when it grows, table, key and columns are new. */
  readonly tableOrdinal: number
  readonly table: string
  readonly columns: number
  /** One byte for each column: its position in the PRIMARY KEY from 1, or 0. A view. */
  readonly key: Uint8Array
  readonly patchset: boolean
  /** `OP_DELETE`, `OP_INSERT` or `OP_UPDATE`. */
  readonly operation: number
  readonly indirect: boolean
  /**
   * Type code of each value: old values at `[0, columns)`, new ones at `[columns, 2 * columns)`. `TYPE_ABSENT` where
   * nothing was recorded.
   */
  readonly types: Uint8Array
  /** Offset of each value's content in `bytes`: 8 big-endian bytes for integer and real, the bytes of text and blob. */
  readonly starts: Uint32Array
  /** Length of each value's content. */
  readonly lengths: Uint32Array
  /** Moves to the next change; false at the end. Throws `CHANGESET_MALFORMED`. */
  next(): boolean
}

/** A cursor before the first change of `bytes`, which must not be written to meanwhile. */
export function changesetCursor(bytes: Uint8Array): ChangesetCursor {
  return new Cursor(bytes)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Names are short and plain mostly, where a decoder costs more than it is worth. */
function tableName(bytes: Uint8Array, start: number, end: number): string {
  let name = ''
  for (let index = start; index < end; index += 1) {
    const byte = bytes[index] as number
    if (byte >= 0x80 || end - start > 64) {
      try {
        return decoder.decode(bytes.subarray(start, end))
      } catch (cause) {
        throw malformed(`a table name that is not UTF-8 (${String(cause)})`, start)
      }
    }
    name += String.fromCharCode(byte)
  }
  return name
}

function hasKey(key: Uint8Array): boolean {
  for (let index = 0; index < key.length; index += 1) if (key[index] !== 0) return true
  return false
}

class Cursor implements ChangesetCursor {
  readonly bytes: Uint8Array
  tableOrdinal = 0
  table = ''
  columns = 0
  key: Uint8Array = new Uint8Array(0)
  patchset = false
  operation = 0
  indirect = false
  types: Uint8Array = new Uint8Array(0)
  starts: Uint32Array = new Uint32Array(0)
  lengths: Uint32Array = new Uint32Array(0)
  #offset = 0

  constructor(bytes: Uint8Array) {
    if (bytes.length > LENGTH_MAX) throw malformed('more than 2 GiB of bytes', LENGTH_MAX)
    this.bytes = bytes
  }

  next(): boolean {
    const { bytes } = this
    for (;;) {
      if (this.#offset >= bytes.length) return false
      const code = bytes[this.#offset]
      if (code !== TABLE_CHANGESET && code !== TABLE_PATCHSET) break
      this.#header(code === TABLE_PATCHSET)
    }
    const at = this.#offset
    if (this.columns === 0) throw malformed('a change before any table header', at)
    if (at + 2 > bytes.length) throw malformed('a change cut off', at)
    this.operation = bytes[at] as number
    const indirect = bytes[at + 1] as number
    if (indirect > 1) throw malformed('an indirect flag that is neither 0 nor 1', at + 1)
    this.indirect = indirect === 1
    this.#offset = at + 2
    this.#values(at)
    return true
  }

  /** Reads the records that the operation has, and marks the other values absent. */
  #values(at: number): void {
    const { columns, patchset } = this
    switch (this.operation) {
      case OP_INSERT:
        this.types.fill(TYPE_ABSENT, 0, columns)
        this.#record(columns, true)
        return
      case OP_DELETE:
        this.types.fill(TYPE_ABSENT, columns, 2 * columns)
        if (patchset) this.#keyRecord()
        else this.#record(0, true)
        return
      case OP_UPDATE:
        if (patchset) {
          this.types.fill(TYPE_ABSENT, 0, columns)
          this.#record(columns, false)
          this.#moveKey()
        } else {
          this.#record(0, false)
          this.#record(columns, false)
        }
        this.#requireKey()
        return
      default:
        throw malformed(`operation code ${this.operation}`, at)
    }
  }

  #header(patchset: boolean): void {
    const { bytes } = this
    const begin = this.#offset
    this.#offset = begin + 1
    const columns = this.#varint()
    if (columns < 1 || columns > COLUMNS_MAX) throw malformed(`a table of ${columns} columns`, begin)
    const keyStart = this.#offset
    const nameStart = keyStart + columns
    const nameEnd = bytes.indexOf(0, nameStart)
    if (nameStart >= bytes.length || nameEnd < 0) throw malformed('a table header cut off', begin)
    this.key = bytes.subarray(keyStart, nameStart)
    if (!hasKey(this.key)) throw malformed('a table without key columns', begin)
    this.table = tableName(bytes, nameStart, nameEnd)
    this.columns = columns
    this.patchset = patchset
    this.tableOrdinal += 1
    if (this.types.length < 2 * columns) {
      this.types = new Uint8Array(2 * columns)
      this.starts = new Uint32Array(2 * columns)
      this.lengths = new Uint32Array(2 * columns)
    }
    this.#offset = nameEnd + 1
  }

  /** Reads one value for each column into the arrays from `base`. `complete`: none may be absent. */
  #record(base: number, complete: boolean): void {
    const end = base + this.columns
    for (let index = base; index < end; index += 1) {
      if (this.#value(index) === TYPE_ABSENT && complete) {
        throw malformed('a missing value in a whole row', this.#offset - 1)
      }
    }
  }

  /** Deletes of a patchset carry values for the key columns only. */
  #keyRecord(): void {
    for (let index = 0; index < this.columns; index += 1) {
      if (this.key[index] === 0) this.types[index] = TYPE_ABSENT
      else if (this.#value(index) === TYPE_ABSENT) throw malformed('a missing key value', this.#offset - 1)
    }
  }

  /** Updates of a patchset have one record, where key columns hold the key and all others new values. */
  #moveKey(): void {
    const { columns } = this
    for (let index = 0; index < columns; index += 1) {
      if (this.key[index] === 0) continue
      this.types[index] = this.types[columns + index] as number
      this.starts[index] = this.starts[columns + index] as number
      this.lengths[index] = this.lengths[columns + index] as number
      this.types[columns + index] = TYPE_ABSENT
    }
  }

  #requireKey(): void {
    for (let index = 0; index < this.columns; index += 1) {
      if (this.key[index] !== 0 && this.types[index] === TYPE_ABSENT) {
        throw malformed('an update without its key', this.#offset)
      }
    }
  }

  /** Reads the value at the offset into the arrays at `index`; returns its type. */
  #value(index: number): number {
    const { bytes } = this
    const offset = this.#offset
    if (offset >= bytes.length) throw malformed('a value cut off', offset)
    const type = bytes[offset] as number
    let start = offset + 1
    let length = 0
    if (type === TYPE_INTEGER || type === TYPE_REAL) {
      length = 8
    } else if (type === TYPE_TEXT || type === TYPE_BLOB) {
      const first = bytes[start] as number
      if (start < bytes.length && first < 0x80) {
        length = first
        start += 1
      } else {
        this.#offset = start
        length = this.#varint()
        start = this.#offset
      }
    } else if (type !== TYPE_NULL && type !== TYPE_ABSENT) {
      throw malformed(`value type ${type}`, offset)
    }
    const end = start + length
    if (end > bytes.length) throw malformed('a value cut off', offset)
    this.types[index] = type
    this.starts[index] = start
    this.lengths[index] = length
    this.#offset = end
    return type
  }

  /** SQLite's varint: big-endian groups of seven bits. Nine bytes at most; none of ours is beyond 31 bits. */
  #varint(): number {
    const { bytes } = this
    const begin = this.#offset
    let value = 0
    for (let index = 0; index < 5; index += 1) {
      if (begin + index >= bytes.length) throw malformed('a length cut off', begin)
      const byte = bytes[begin + index] as number
      value = value * 128 + (byte & 0x7f)
      if (byte < 0x80) {
        if (value > LENGTH_MAX) break
        this.#offset = begin + index + 1
        return value
      }
    }
    throw malformed('a length beyond 31 bits', begin)
  }
}
