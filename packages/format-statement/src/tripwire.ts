/**
 * The tripwire: what a group did to rows, boiled down to a few bytes for each table, on the leader and on each follower.
 *
 * Decides: what a digest is made of. Leaves to others: when to take one, what to do when two differ.
 *
 * 1. A session reports the net change of its tables: those with a PRIMARY KEY, in rows without NULL in the key.
 * 2. Changesets of the same statements, from the same start, in the same build of SQLite are equal byte for byte. What was
 *    rolled back in between leaves its mark on the order of the rows, and another build may order them otherwise: then
 *    rows are added up in whatever order (`DIGEST_ROWS`).
 * 3. Tables stand in the order of their names, because a changeset has them in the order in which they were first touched.
 * 4. A session may not be able to answer after a schema change. Then there is no digest, and counts of changed rows alone
 *    are compared.
 */
import { crc32 } from 'node:zlib'
import type { DatabaseSync, Session } from 'node:sqlite'
import { DIGEST_BYTES, DIGEST_NONE, DIGEST_ROWS, type Digest, type TableDigest } from './payload.ts'

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
  #changeset: Uint8Array | undefined

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

  /** Digest of what happened since `open`. */
  take(kind: number): Digest {
    const session = this.#session
    if (kind === DIGEST_NONE || session === undefined) {
      this.drop()
      return NO_DIGEST
    }
    try {
      this.#changeset = session.changeset()
    } catch {
      this.drop()
      return NO_DIGEST
    }
    session.close()
    this.#session = undefined
    const tables = digestTables(this.#changeset, kind === DIGEST_ROWS, this.#ownPrefix)
    return { kind: kind === DIGEST_ROWS ? DIGEST_ROWS : DIGEST_BYTES, tables }
  }

  /** What the last digest was made of. */
  get changeset(): Uint8Array | undefined {
    return this.#changeset
  }

  drop(): void {
    this.#changeset = undefined
    this.#session?.close()
    this.#session = undefined
  }

  close(): void {
    this.drop()
    this.#guard.close()
  }
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
          sum += crc32(changeset.subarray(at, end))
        }
      } else {
        rows += 1
        if (sums) sum += crc32(changeset.subarray(at, end))
      }
      at = end
    }
    if (rows === 0) continue
    const crc = sums || isStatistics ? sum % 0x1_0000_0000 : crc32(changeset.subarray(start, at))
    tables.push({ table, rows, crc })
  }
  return tables.length < 2 ? tables : tables.sort((a, b) => (a.table < b.table ? -1 : 1))
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
