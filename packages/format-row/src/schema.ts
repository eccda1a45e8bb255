/**
 * What a database's schema means for rows: columns and keys of each table, the fingerprint, what cannot be replicated.
 *
 * 1. The fingerprint depends on names, order, declared types, keys, generated columns, STRICT, WITHOUT ROWID and the
 *    columns, uniqueness and collations of indexes. It does not depend on triggers, views, statistics, the project's
 *    own tables, or where anything lies in the file.
 * 2. A schema read is as good as its `version`: SQLite's schema_version, which every change of the schema raises, but
 *    which a rollback sets back.
 */
import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { BYTES, ProtoWriter, VARINT, varintSize } from './wire.ts'

/** How a key column's values compare, as far as rows care. */
const HARD = 0
/** Numbers may be equal without being the same (1 and 1.0). */
const SOFT_NUMBERS = 1
/** Texts may be equal without being the same. */
const SOFT_ALL = 2

/** A table whose rows replicate. */
export interface TableSchema {
  readonly name: string
  /** Stored columns in order. */
  readonly columns: readonly string[]
  /** Indexes of key columns in key order. */
  readonly key: readonly number[]
  /** For each stored column: whether two keys can be equal and yet differ there. */
  readonly softness: Uint8Array
  /** Of a virtual table, whose code alone writes to it: no key is ever spelled otherwise. */
  readonly isShadow: boolean
  /** The fields `table`, `columns` and `key` of TableChanges, encoded. */
  readonly header: Uint8Array
  /** Key columns that can hold NULL. */
  readonly nullableKey: readonly string[]
}

export interface Schema {
  /** SQLite's schema_version. */
  readonly version: number
  /** 8 bytes as they stand in payloads. */
  readonly fingerprint: Uint8Array
  readonly tables: ReadonlyMap<string, TableSchema>
  /** Tables without PRIMARY KEY, the project's own not counted. */
  readonly keyless: ReadonlySet<string>
  /** Tables with AUTOINCREMENT, and `sqlite_sequence` itself where it exists. */
  readonly counted: ReadonlySet<string>
  readonly hasStatistics: boolean
  readonly hasForeignKeys: boolean
  readonly hasVirtualTables: boolean
  /** A table has keys that can be equal and yet differ. */
  readonly hasSoftKeys: boolean
}

interface ColumnRow {
  readonly table: string
  readonly kind: string
  readonly withoutRowid: number
  readonly strict: number
  readonly column: string
  readonly type: string
  readonly key: number
  readonly hidden: number
  readonly required: number
}

interface IndexRow {
  readonly table: string
  readonly index: string
  readonly unique: number
  readonly origin: string
  readonly partial: number
  readonly column: string | null
  readonly descending: number
  readonly collation: string
}

const COLUMNS_SQL = `select l.name as "table", l.type as kind, l.wr as withoutRowid, l.strict as strict,
  x.name as "column", x.type as type, x.pk as key, x.hidden as hidden, x."notnull" as required
  from pragma_table_list l, pragma_table_xinfo(l.name, 'main') x
  where l.schema = 'main' and l.type in ('table', 'shadow') and substr(l.name, 1, 7) <> 'sqlite_'
  order by l.name, x.cid`

const INDEXES_SQL = `select m.name as "table", i.name as "index", i."unique" as "unique", i.origin as origin,
  i.partial as partial, c.name as "column", c."desc" as descending, c.coll as collation
  from main.sqlite_schema m, pragma_index_list(m.name, 'main') i, pragma_index_xinfo(i.name, 'main') c
  where m.type = 'table' and m.rootpage > 0 and substr(m.name, 1, 7) <> 'sqlite_' and c.key = 1
  order by m.name, i.name, c.seqno`

const OTHERS_SQL = `select name, type, coalesce(sql, '') as sql from main.sqlite_schema
  where type = 'table' and (rootpage = 0 or sql like '%autoincrement%' or name in ('sqlite_sequence', 'sqlite_stat1'))
  order by name`

const FOREIGN_SQL = `select 1 from main.sqlite_schema m, pragma_foreign_key_list(m.name, 'main')
  where m.type = 'table' and m.rootpage > 0 limit 1`

/** Reads the schema of `main`. `ownPrefix`: tables of that prefix are not replicated. */
export function readSchema(database: DatabaseSync, ownPrefix: string): Schema {
  const version = schemaVersion(database)
  const own = (name: string) => name.toLowerCase().startsWith(ownPrefix)
  const columns = rows<ColumnRow>(database, COLUMNS_SQL).filter((row) => !own(row.table))
  const indexes = rows<IndexRow>(database, INDEXES_SQL).filter((row) => !own(row.table))
  const others = rows<{ name: string; type: string; sql: string }>(database, OTHERS_SQL).filter(
    (row) => !own(row.name),
  )
  const virtual = others.filter((row) => /^create\s+virtual/i.test(row.sql))
  const tables = new Map<string, TableSchema>()
  const keyless = new Set<string>()
  for (const [name, own] of Map.groupBy(columns, (row) => row.table)) {
    if (own.every((row) => row.key === 0)) keyless.add(name)
    else
      tables.set(
        name,
        tableSchema(
          name,
          own,
          indexes.filter((row) => row.table === name),
        ),
      )
  }
  const fingerprint = createHash('sha256')
  fingerprint.update(
    JSON.stringify([columns.map((row) => Object.values(row)), indexes.map((row) => Object.values(row))]),
  )
  fingerprint.update(JSON.stringify(virtual.map((row) => row.name)))
  return {
    version,
    fingerprint: new Uint8Array(fingerprint.digest().subarray(0, 8)),
    tables,
    keyless,
    counted: new Set(
      others
        .filter((row) => /autoincrement/i.test(row.sql) || row.name === 'sqlite_sequence')
        .map((row) => row.name),
    ),
    hasStatistics: others.some((row) => row.name === 'sqlite_stat1'),
    hasForeignKeys: rows(database, FOREIGN_SQL).length > 0,
    hasVirtualTables: virtual.length > 0,
    hasSoftKeys: [...tables.values()].some(
      ({ softness, isShadow }) => !isShadow && softness.some((kind) => kind !== HARD),
    ),
  }
}

/** SQLite's schema_version. */
export function schemaVersion(database: DatabaseSync): number {
  return Number(Object.values(database.prepare('pragma main.schema_version').get() ?? {})[0])
}

/** Whether an inserted key can take the place of another that compares equal. */
export function isSoft(softness: number, isNumber: boolean): boolean {
  return softness === SOFT_ALL || (softness === SOFT_NUMBERS && isNumber)
}

function tableSchema(name: string, all: readonly ColumnRow[], indexes: readonly IndexRow[]): TableSchema {
  // Hidden 2 and 3 are generated columns, virtual and stored: sessions leave both out.
  const stored = all.filter((row) => row.hidden === 0)
  const columns = stored.map((row) => row.column)
  const key = stored
    .filter((row) => row.key > 0)
    .sort((a, b) => a.key - b.key)
    .map((row) => columns.indexOf(row.column))
  const keyIndex = indexes.filter((row) => row.origin === 'pk')
  // Only an INTEGER PRIMARY KEY has no index of its own: it is the rowid, an integer always.
  const isRowid = keyIndex.length === 0
  const softness = Uint8Array.from(stored, (row) => {
    if (row.key === 0 || isRowid) return HARD
    const collation = keyIndex.find((part) => part.column === row.column)?.collation ?? 'BINARY'
    if (collation.toUpperCase() !== 'BINARY') return SOFT_ALL
    return numbersStayApart(row.type) ? HARD : SOFT_NUMBERS
  })
  const nullable = stored.filter(
    (row) => row.key > 0 && row.required === 0 && !isRowid && row.kind !== 'shadow',
  )
  return {
    name,
    columns,
    key,
    softness,
    isShadow: all[0]?.kind === 'shadow',
    header: tableHeader(name, columns, key),
    nullableKey: nullable.map((row) => row.column),
  }
}

/** Whether equal numbers are stored alike in a column of this declared type, by SQLite's rules of affinity. */
function numbersStayApart(declared: string): boolean {
  const type = declared.toUpperCase()
  if (type.includes('INT') || type.includes('CHAR') || type.includes('CLOB') || type.includes('TEXT'))
    return true
  if (type === '' || type === 'ANY' || type.includes('BLOB')) return false
  return !(type.includes('REAL') || type.includes('FLOA') || type.includes('DOUB'))
}

function tableHeader(name: string, columns: readonly string[], key: readonly number[]): Uint8Array {
  const writer = new ProtoWriter(256)
  writer.append((1 << 3) | BYTES, Buffer.from(name))
  for (const column of columns) writer.append((2 << 3) | BYTES, Buffer.from(column))
  const keyBytes = key.reduce((sum, index) => sum + varintSize(index), 0)
  writer.reserve(keyBytes + 8)
  writer.byte((3 << 3) | BYTES)
  writer.varint(keyBytes)
  for (const index of key) writer.varint(index)
  return writer.bytes().slice()
}

/** Field `replace` of TableChanges, set. */
export const REPLACE_FIELD: Uint8Array = Uint8Array.of((4 << 3) | VARINT, 1)

function rows<R>(database: DatabaseSync, sql: string): R[] {
  return database.prepare(sql).all() as R[]
}
