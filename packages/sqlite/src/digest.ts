/**
 * A digest of each table: equal on two nodes exactly when the rows are, types and bits included.
 *
 * Decides: which tables and columns count, in which order rows come, how a value becomes bytes. Leaves to others: at which
 * position the connection looks.
 *
 * 1. Rows come in the order of their PRIMARY KEY (rowids may differ between nodes; without a key, in rowid order).
 * 2. Each row is, for each column: the first letter of its type (n, i, r, t, b), then for integers and reals 8 bytes,
 *    big-endian; for texts and blobs the length in 4 bytes, big-endian, and the bytes as stored. So 1, 1.0, '1', x'31',
 *    NULL, 0.0 and -0.0 all differ.
 * 3. Not counted: the node's own tables, SQLite's statistics, virtual tables (their shadow tables are), virtual generated
 *    columns (they follow from the others).
 * 4. The event loop is given back after each slice; a slice is at least one row. Slices are measured in real time, which
 *    changes when rows are read, never what comes out.
 */
import { createHash, type Hash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { UnderstudyError } from '@understudy/contracts'
import { OWN_TABLE_PREFIX } from './guard.ts'

export interface TableDigest {
  readonly table: string
  readonly rows: number
  /** SHA-256 of all rows, in hexadecimal. */
  readonly sha256: string
}

export interface DigestOptions {
  /** Milliseconds of work before the event loop is given back. Default 5. */
  readonly sliceMs?: number
  readonly signal?: AbortSignal
}

interface Table {
  readonly name: string
  readonly wr: number
}

export interface RowSource {
  readonly sql: string
  /** Those that count, in their order. */
  readonly columns: readonly string[]
  /** Of the PRIMARY KEY, in its order. */
  readonly key: readonly string[]
}

interface Column {
  readonly name: string
  readonly pk: number
  readonly hidden: number
}

const ROWS_BETWEEN_LOOKS = 16
const BUFFER_BYTES = 65_536
/** Virtual generated columns, and columns of virtual tables that are not stored. */
const HIDDEN_STORED: ReadonlySet<number> = new Set([0, 3])

/** Digests every table that counts. `database` has a read transaction open, and nothing else runs on it meanwhile. Rejects with `ABORTED`. */
export async function digestTables(
  database: DatabaseSync,
  options: DigestOptions = {},
): Promise<TableDigest[]> {
  const digests: TableDigest[] = []
  for (const table of listTables(database)) digests.push(await digestTable(database, table, options))
  return digests
}

/** How the rows of one table are read, in the order of its digest; `undefined` when there is none that counts. */
export function rowSource(database: DatabaseSync, name: string): RowSource | undefined {
  const table = listTables(database).find((each) => each.name === name)
  return table && selectRows(database, table)
}

function listTables(database: DatabaseSync): Table[] {
  const tables = database
    .prepare(
      "select name, wr from pragma_table_list where schema = 'main' and type in ('table', 'shadow') order by name",
    )
    .all() as unknown as Table[]
  return tables.filter(({ name }) => counts(name))
}

function counts(name: string): boolean {
  if (name.toLowerCase().startsWith(OWN_TABLE_PREFIX)) return false
  return !name.startsWith('sqlite_') || name === 'sqlite_sequence'
}

async function digestTable(
  database: DatabaseSync,
  table: Table,
  options: DigestOptions,
): Promise<TableDigest> {
  const { sliceMs = 5, signal } = options
  const statement = database.prepare(selectRows(database, table).sql)
  statement.setReadBigInts(true)
  statement.setReturnArrays(true)
  const hasher = new RowHasher()
  let rows = 0
  let sliceEndsAt = performance.now() + sliceMs
  for (const row of statement.iterate() as Iterable<unknown>) {
    const bytes = hasher.add(row as unknown[])
    rows++
    if (rows % ROWS_BETWEEN_LOOKS !== 0 && bytes < BUFFER_BYTES) continue
    if (performance.now() < sliceEndsAt) continue
    await new Promise<void>((resolve) => setImmediate(resolve))
    if (signal?.aborted === true) throw aborted(signal)
    sliceEndsAt = performance.now() + sliceMs
  }
  if (signal?.aborted === true) throw aborted(signal)
  return { table: table.name, rows, sha256: hasher.end() }
}

function aborted(signal: AbortSignal): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    'The digest was aborted; nothing was changed. Digest again to get one.',
    {
      cause: signal.reason,
    },
  )
}

/** One column of type letters, then each value; texts as blobs, so that their bytes come as they are. */
function selectRows(database: DatabaseSync, table: Table): RowSource {
  const all = database
    .prepare('select name, pk, hidden from pragma_table_xinfo(?)')
    .all(table.name) as unknown as Column[]
  const names = all.filter(({ hidden }) => HIDDEN_STORED.has(hidden)).map(({ name }) => name)
  const columns = names.map((name) => quoted(name))
  const types = columns.map((column) => `substr(typeof(${column}), 1, 1)`).join(' || ')
  const values = columns.map(
    (column) => `iif(typeof(${column}) = 'text', cast(${column} as blob), ${column})`,
  )
  const { index, order } = rowOrder(database, table, all)
  const indexedBy = index === undefined ? '' : `indexed by ${quoted(index)}`
  return {
    sql: `select ${types}, ${values.join(', ')} from main.${quoted(table.name)} ${indexedBy} order by ${order}`,
    columns: names,
    key: all
      .filter(({ pk }) => pk > 0)
      .sort((a, b) => a.pk - b.pk)
      .map(({ name }) => name),
  }
}

function rowOrder(
  database: DatabaseSync,
  table: Table,
  columns: readonly Column[],
): { readonly index?: string; readonly order: string } {
  const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk)
  const order = key.map(({ name }) => quoted(name)).join(', ')
  if (key.length > 0 && table.wr === 1) return { order }
  if (key.length > 0) {
    // Through the key's index, so that the first row does not wait for a sort of all.
    const index = database
      .prepare("select name from pragma_index_list(?) where origin = 'pk'")
      .get(table.name)
    return index === undefined ? { order } : { index: String(index['name']), order }
  }
  if (table.name === 'sqlite_sequence') return { order: 'name' }
  const names = new Set(columns.map(({ name }) => name.toLowerCase()))
  const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !names.has(name))
  return { order: rowid ?? columns.map(({ name }) => quoted(name)).join(', ') }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** Gathers values in one buffer, so that the hash is called for 64 KiB at a time. */
class RowHasher {
  readonly #hash: Hash = createHash('sha256')
  readonly #buffer: Buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #length = 0

  /** Adds a row; returns about how many bytes it has. */
  add(row: readonly unknown[]): number {
    const types = row[0] as string
    let total = types.length
    for (let index = 0; index < types.length; index++)
      total += this.#value(types.charCodeAt(index), row[index + 1])
    return total
  }

  end(): string {
    this.#flush()
    return this.#hash.digest('hex')
  }

  #value(type: number, value: unknown): number {
    if (this.#length + 16 > BUFFER_BYTES) this.#flush()
    this.#length = this.#buffer.writeUInt8(type, this.#length)
    if (typeof value === 'bigint') this.#length = this.#buffer.writeBigInt64BE(value, this.#length)
    else if (typeof value === 'number') this.#length = this.#buffer.writeDoubleBE(value, this.#length)
    else if (value instanceof Uint8Array) return this.#bytes(value)
    return 8
  }

  #bytes(value: Uint8Array): number {
    this.#length = this.#buffer.writeUInt32BE(value.length, this.#length)
    if (this.#length + value.length > BUFFER_BYTES) this.#flush()
    if (value.length > BUFFER_BYTES) this.#hash.update(value)
    else {
      this.#buffer.set(value, this.#length)
      this.#length += value.length
    }
    return value.length
  }

  #flush(): void {
    if (this.#length > 0) this.#hash.update(this.#buffer.subarray(0, this.#length))
    this.#length = 0
  }
}
