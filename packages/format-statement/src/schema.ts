/**
 * What the classifier must know of a schema: which b-tree belongs to what, and which columns identify a row.
 */
import type { DatabaseSync } from 'node:sqlite'

/** Column number of the rowid in an index. */
const ROWID = -1

export interface SchemaTable {
  readonly name: string
  /** Rows have an identity that every node shares: INTEGER PRIMARY KEY or WITHOUT ROWID. */
  readonly keyed: boolean
  /** Number of the INTEGER PRIMARY KEY column; -1: none. */
  readonly rowidColumn: number
  /** Columns as they are stored. */
  readonly columns: readonly SchemaColumn[]
  /** Sets of columns, by number, that no two rows share. */
  readonly uniques: readonly (readonly number[])[]
}

interface SchemaColumn {
  readonly number: number
  readonly name: string
  readonly isInteger: boolean
  readonly required: boolean
}

/** What a root page is the root of. `columns`: table column numbers by their place in the b-tree; -1 the rowid, -2 an expression. */
export interface BTree {
  readonly table: SchemaTable
  readonly columns: readonly number[]
  readonly isIndex: boolean
}

export interface SchemaFacts {
  readonly trees: ReadonlyMap<number, BTree>
  /** Name → module, in lower case. */
  readonly virtual: ReadonlyMap<string, string>
  readonly views: ReadonlyMap<string, string>
  /** By table, in lower case. */
  readonly triggers: ReadonlyMap<string, readonly string[]>
  readonly tableSql: ReadonlyMap<string, string>
  /** Tables with TEMP triggers that are not the project's own. */
  readonly tempTriggers: ReadonlySet<string>
}

interface SchemaRow {
  readonly type: string
  readonly name: string
  readonly owner: string
  readonly root: number
  readonly sql: string | null
}

interface ColumnRow {
  readonly cid: number
  readonly name: string
  readonly type: string
  readonly notnull: number
  readonly pk: number
  readonly hidden: number
}

interface IndexRow {
  readonly name: string
  readonly unique: number
  readonly origin: string
  readonly partial: number
}

export function readFacts(database: DatabaseSync, ownPrefix: string): SchemaFacts {
  const rows = database
    .prepare('select type, name, tbl_name as owner, rootpage as root, sql from main.sqlite_schema')
    .all() as unknown as SchemaRow[]
  const trees = new Map<number, BTree>()
  const virtual = new Map<string, string>()
  const views = new Map<string, string>()
  const triggers = new Map<string, string[]>()
  const tableSql = new Map<string, string>()
  const roots = new Map(rows.filter(({ type }) => type === 'index').map((row) => [row.name, row.root]))
  for (const { type, name, owner, root, sql } of rows) {
    const lower = name.toLowerCase()
    if (type === 'view') views.set(lower, sql ?? '')
    else if (type === 'trigger') {
      const table = owner.toLowerCase()
      triggers.set(table, [...(triggers.get(table) ?? []), sql ?? ''])
    } else if (type === 'table') {
      tableSql.set(lower, sql ?? '')
      const module = /^\s*create\s+virtual\s+table\b.*?\busing\s+["`[]?(\w+)/is.exec(sql ?? '')?.[1]
      if (module !== undefined) virtual.set(lower, module.toLowerCase())
      else if (root > 0) addTable(database, name, root, roots, trees)
    }
  }
  const temporary = database
    .prepare(`select tbl_name as owner, name from temp.sqlite_schema where type = 'trigger'`)
    .all()
  const tempTriggers = temporary
    .filter(({ name }) => !String(name).toLowerCase().startsWith(ownPrefix))
    .map(({ owner }) => String(owner).toLowerCase())
  return { trees, virtual, views, triggers, tableSql, tempTriggers: new Set(tempTriggers) }
}

function addTable(
  database: DatabaseSync,
  name: string,
  root: number,
  roots: ReadonlyMap<string, number>,
  trees: Map<number, BTree>,
): void {
  const all = database
    .prepare('select cid, name, type, "notnull", pk, hidden from pragma_table_xinfo(?, \'main\')')
    .all(name) as unknown as ColumnRow[]
  // Hidden 2 is a virtual generated column: not stored.
  const columns = all
    .filter(({ hidden }) => hidden !== 2)
    .map(({ cid, name, type, notnull, pk }) => ({
      number: cid,
      name: name.toLowerCase(),
      isInteger: /int/i.test(type),
      required: notnull === 1 || pk > 0,
    }))
  const indexes = database
    .prepare('select name, "unique", origin, partial from pragma_index_list(?, \'main\')')
    .all(name) as unknown as IndexRow[]
  const keyIndex = indexes.find(({ origin }) => origin === 'pk')
  const keyColumns = all.filter(({ pk }) => pk > 0)
  const rowidColumn = keyIndex === undefined ? (keyColumns[0]?.cid ?? -1) : -1
  // The index of a WITHOUT ROWID table's key is the table itself, and has no root of its own.
  const withoutRowid = keyIndex !== undefined && !roots.has(keyIndex.name)
  const uniques: number[][] = rowidColumn < 0 ? [] : [[rowidColumn]]
  const partsOf = new Map<string, number[]>()
  for (const index of indexes) {
    const parts = database
      .prepare("select cid, key from pragma_index_xinfo(?, 'main') order by seqno")
      .all(index.name) as unknown as { cid: number; key: number }[]
    partsOf.set(
      index.name,
      parts.map(({ cid }) => (cid === ROWID && rowidColumn >= 0 ? rowidColumn : cid)),
    )
    const key = parts.filter((part) => part.key === 1).map(({ cid }) => cid)
    const isRequired = (cid: number) =>
      (withoutRowid && index === keyIndex) || all.some((each) => each.cid === cid && each.notnull === 1)
    if (index.unique === 1 && index.partial === 0 && key.every(isRequired)) uniques.push(key)
  }
  const table = { name, keyed: rowidColumn >= 0 || withoutRowid, rowidColumn, columns, uniques }
  const stored = withoutRowid ? (partsOf.get(keyIndex.name) ?? []) : columns.map(({ number }) => number)
  trees.set(root, { table, columns: stored, isIndex: false })
  for (const [index, parts] of partsOf) {
    const indexRoot = roots.get(index)
    if (indexRoot !== undefined) trees.set(indexRoot, { table, columns: parts, isIndex: true })
  }
}
