/**
 * The tripwire: what a group did to rows, boiled down to a few bytes for each table, on the leader and on each follower.
 *
 * Decides: what a digest is made of. Leaves to others: when to take one, what to do when two differ.
 *
 * 1. A session reports the net change of its tables: those with a PRIMARY KEY, in rows without NULL in the key.
 * 2. Changesets of the same statements, from the same start, in the same build of SQLite are equal byte for byte. What was
 *    rolled back in between leaves its mark on the order of the rows (and on the rows themselves, where keys can be equal
 *    and yet differ), and another build may order them otherwise: then rows are added up in whatever order.
 * 3. Tables stand in the order of their names, because a changeset has them in the order in which they were first touched.
 * 4. A session may not be able to answer after a schema change. So the digest is cut there: rows before it and rows after
 *    it add up. Where tables that it saw are gone with a schema change that was rolled back, or a changeset would be too
 *    large, there is no digest, and counts of changed rows alone are compared.
 */
import { crc32 } from 'node:zlib'
import type { DatabaseSync, Session } from 'node:sqlite'
import {
  DIGEST_BYTES,
  DIGEST_HARD_ROWS,
  DIGEST_NONE,
  DIGEST_ROWS,
  type Digest,
  type TableDigest,
} from './payload.ts'

const TABLE = 0x54
const UPDATE = 23
const STATISTICS = 'sqlite_stat1'
const NO_DIGEST: Digest = { kind: DIGEST_NONE, tables: [] }

export class Tripwire {
  readonly #database: DatabaseSync
  readonly #ownPrefix: Buffer
  /**
   * Open for as long as this lives, on a table that does not exist: with no session open SQLite compiles `DELETE FROM t`
   * to a truncation that no session sees.
   */
  readonly #guard: Session
  #session: Session | undefined
  #changesets: Uint8Array[] = []
  /** What was digested before schema changes. */
  #parts: TableDigest[] = []
  /** Tables of those with keys that can be equal and yet differ. */
  readonly #soft = new Set<string>()
  #candidate:
    | {
        readonly changeset: Uint8Array
        readonly tables: readonly TableDigest[]
        readonly hard: ReadonlySet<string>
      }
    | undefined
  #isLost = false
  /** The session from before the first schema change of the open write. */
  #parked: Session | undefined
  #markChangesets = 0
  #markParts = 0

  constructor(database: DatabaseSync, ownPrefix: string) {
    this.#database = database
    this.#ownPrefix = Buffer.from(ownPrefix)
    this.#guard = database.createSession({ table: `${ownPrefix}none` })
  }

  /** From now on. */
  open(): void {
    this.drop()
    this.#session = this.#database.createSession()
  }

  /** Before a schema change, after which the session could not answer any more. */
  beforeSchema(): void {
    this.#candidate = undefined
    if (this.#isLost || this.#session === undefined) return
    const changeset = this.#read(this.#session)
    if (changeset === undefined) return
    const tables = digestTables(changeset, true, this.#ownPrefix)
    // The table may be gone, or have another name, when the digest is taken.
    const hard = tables.map(({ table }) => table).filter((table) => hasHardKey(this.#database, table))
    this.#candidate = { changeset, tables, hard: new Set(hard) }
  }

  /** After it: `changed` tells whether it happened. */
  afterSchema(changed: boolean): void {
    const candidate = this.#candidate
    this.#candidate = undefined
    if (!changed || this.#session === undefined) return
    // What the write did before may have to be told again, when the write is rolled back.
    if (this.#parked === undefined) {
      this.#parked = this.#session
      this.#markChangesets = this.#changesets.length
      this.#markParts = this.#parts.length
    } else {
      this.#session.close()
    }
    this.#session = this.#database.createSession()
    if (candidate === undefined) return
    this.#changesets.push(candidate.changeset)
    this.#parts.push(...candidate.tables)
    for (const { table } of candidate.tables) if (!candidate.hard.has(table)) this.#soft.add(table)
  }

  /** The write is over. */
  endWrite(): void {
    this.#parked?.close()
    this.#parked = undefined
  }

  /** The write was rolled back, its schema changes too: the session from before them goes on, if it can. */
  abandonWrite(): void {
    if (this.#parked === undefined) return
    this.#session?.close()
    this.#session = this.#parked
    this.#parked = undefined
    this.#changesets.length = this.#markChangesets
    this.#parts.length = this.#markParts
  }

  /** Digest of what happened since `open`. */
  take(kind: number): Digest {
    const session = this.#session
    this.#session = undefined
    if (kind === DIGEST_NONE || session === undefined || this.#isLost) {
      session?.close()
      this.drop()
      return NO_DIGEST
    }
    const changeset = this.#read(session)
    session.close()
    if (changeset === undefined) return NO_DIGEST
    const sums = kind !== DIGEST_BYTES || this.#changesets.length > 0
    this.#changesets.push(changeset)
    const last = digestTables(changeset, sums, this.#ownPrefix)
    const parts = this.#parts
    if (kind !== DIGEST_HARD_ROWS) {
      const tables = parts.length === 0 ? last : merged([...parts, ...last])
      return { kind: sums ? DIGEST_ROWS : DIGEST_BYTES, tables }
    }
    const hard = last.filter(({ table }) => hasHardKey(this.#database, table))
    return { kind, tables: merged([...parts.filter(({ table }) => !this.#soft.has(table)), ...hard]) }
  }

  /** What the last digest was made of. */
  get changesets(): readonly Uint8Array[] {
    return this.#changesets
  }

  drop(): void {
    if (this.#changesets.length > 0) this.#changesets = []
    if (this.#parts.length > 0) this.#parts = []
    if (this.#soft.size > 0) this.#soft.clear()
    this.#candidate = undefined
    this.#isLost = false
    this.endWrite()
    this.#session?.close()
    this.#session = undefined
  }

  close(): void {
    this.drop()
    this.#guard.close()
  }

  #read(session: Session): Uint8Array | undefined {
    try {
      return session.changeset()
    } catch {
      this.#isLost = true
      return undefined
    }
  }
}

/**
 * Whether two keys of a table that are equal are the same bytes. Where they need not be (NOCASE, untyped, REAL), a
 * session that saw a change which was rolled back finds another row under the key.
 */
function hasHardKey(database: DatabaseSync, table: string): boolean {
  const columns = database
    .prepare(`select name, type from pragma_table_xinfo(?, 'main') where pk > 0`)
    .all(table)
  const index = database
    .prepare(`select name from pragma_index_list(?, 'main') where origin = 'pk'`)
    .get(table)
  // The rowid, an integer always.
  if (index === undefined) return columns.length === 1
  const collations = database
    .prepare(`select coll from pragma_index_xinfo(?, 'main') where key = 1`)
    .all(index['name'] as string)
  return (
    collations.every(({ coll }) => coll === 'BINARY') &&
    columns.every(
      ({ type }) =>
        /int|char|clob|text|num|dec|bool|date/i.test(String(type)) && !/real|floa|doub/i.test(String(type)),
    )
  )
}

/** Digests of rows add up. */
function merged(parts: readonly TableDigest[]): TableDigest[] {
  const tables = new Map<string, TableDigest>()
  for (const { table, rows, crc } of parts) {
    const sum = tables.get(table)
    tables.set(table, {
      table,
      rows: rows + (sum?.rows ?? 0),
      crc: (crc + (sum?.crc ?? 0)) % 0x1_0000_0000,
    })
  }
  return [...tables.values()].sort((a, b) => (a.table < b.table ? -1 : 1))
}

/**
 * The digest of each table of a changeset (https://sqlite.org/sessionintro.html), by name. The bytes are SQLite's own, of
 * this process, so that they are walked without a doubt.
 */
export function digestTables(changeset: Uint8Array, sums: boolean, ownPrefix: Buffer): TableDigest[] {
  const tables: TableDigest[] = []
  let at = 0
  while (at < changeset.length) {
    // Each part of the changeset: a header, then rows.
    const [columns, size] = varint(changeset, at + 1)
    const nameAt = at + 1 + size + columns
    const nameEnd = changeset.indexOf(0, nameAt)
    const table = Buffer.from(changeset.buffer, changeset.byteOffset + nameAt, nameEnd - nameAt).toString()
    const isStatistics = table === STATISTICS
    const start = nameEnd + 1
    let rows = 0
    let sum = 0
    at = start
    while (at < changeset.length && changeset[at] !== TABLE) {
      const end = rowEnd(changeset, at, columns)
      if (isStatistics) {
        if (!isOwn(changeset, at, ownPrefix)) {
          rows += 1
          sum += rowSum(changeset, at, end)
        }
      } else {
        rows += 1
        if (sums) sum += rowSum(changeset, at, end)
      }
      at = end
    }
    if (rows === 0) continue
    const crc = sums || isStatistics ? sum % 0x1_0000_0000 : crc32(changeset.subarray(start, at))
    tables.push({ table, rows, crc })
  }
  return tables.length < 2 ? tables : tables.sort((a, b) => (a.table < b.table ? -1 : 1))
}

/** Without the flag "indirect", which a direct change leaves off even when it was rolled back. */
function rowSum(changeset: Uint8Array, at: number, end: number): number {
  return crc32(changeset.subarray(at + 2, end), changeset[at])
}

/** Where the change at `at` ends: operation, flag, one record, or two for an update. */
function rowEnd(bytes: Uint8Array, at: number, columns: number): number {
  let position = at + 2
  for (let left = bytes[at] === UPDATE ? columns * 2 : columns; left > 0; left -= 1) {
    const type = bytes[position++] as number
    if (type === 1 || type === 2) position += 8
    else if (type === 3 || type === 4) {
      const first = bytes[position] as number
      if (first < 0x80) position += 1 + first
      else {
        const [length, size] = varint(bytes, position)
        position += size + length
      }
    }
  }
  return position
}

/** Statistics of a table of the project, which may exist on one node only. */
function isOwn(bytes: Uint8Array, at: number, prefix: Buffer): boolean {
  const [, size] = varint(bytes, at + 3)
  const start = at + 3 + size
  return bytes[at + 2] === 3 && prefix.equals(bytes.subarray(start, start + prefix.length))
}

/** SQLite's varint, big-endian, of lengths: value and size. */
function varint(bytes: Uint8Array, at: number): readonly [number, number] {
  let value = 0
  let size = 0
  for (;;) {
    const byte = bytes[at + size] as number
    size += 1
    value = value * 0x80 + (byte & 0x7f)
    if (byte < 0x80 || size === 9) return [value, size]
  }
}
