/**
 * What a payload says, by another reader and other means: protobufjs decodes it with row.proto, plain SQL does it by the
 * names of tables and columns. Fuzzing compares an applier with this.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import protobuf from 'protobufjs'

export interface PlainValueMessage {
  null?: boolean
  integer?: string
  real?: number
  text?: Uint8Array
  blob?: Uint8Array
}

export interface PlainTable {
  table: string
  columns: string[]
  key: number[]
  replace?: boolean
  deletes?: { values: PlainValueMessage[] }[]
  updates?: {
    key: PlainValueMessage[]
    changed: number[]
    old: PlainValueMessage[]
    new: PlainValueMessage[]
  }[]
  inserts?: { values: PlainValueMessage[] }[]
}

/** A Group of row.proto. */
export interface PlainGroup {
  version: number
  writes: number
  changes?: string
  schema: Uint8Array
  steps?: { rows?: PlainTable; schema?: { sql: string; schema: Uint8Array } }[]
  sequences?: { all?: boolean; sequences?: { name: PlainValueMessage; value: PlainValueMessage }[] }
  triggers?: { triggers?: { name: string; sql: string }[] }
  user_version?: number
  application_id?: number
  statistics?: { rows?: { values: PlainValueMessage[] }[] }
}

export interface PlainCodec {
  decode(payload: Uint8Array): PlainGroup
  encode(group: PlainGroup): Uint8Array
}

export function plainCodec(): PlainCodec {
  // protobufjs finds its own dependency `long` in CommonJS only; without it 64-bit integers lose digits.
  const long = createRequire(createRequire(import.meta.url).resolve('protobufjs'))('long') as {
    default?: unknown
  }
  protobuf.util.Long = (long.default ?? long) as typeof protobuf.util.Long
  protobuf.configure()
  const root = new protobuf.Root().loadSync(join(import.meta.dirname, '../src/row.proto'), { keepCase: true })
  const type = root.lookupType('understudy.row.v1.Group')
  return {
    decode: (payload) =>
      type.toObject(type.decode(payload), { longs: String, arrays: false }) as unknown as PlainGroup,
    encode: (group) => type.encode(type.fromObject(group)).finish().slice(),
  }
}

/** Does what the group says, in a database without triggers and foreign keys. Throws where it cannot be done. */
export function doPlainly(database: DatabaseSync, group: PlainGroup): void {
  for (const { rows, schema } of group.steps ?? []) {
    if (rows !== undefined) changeRows(database, rows)
    else if (schema !== undefined) database.exec(schema.sql)
  }
  const { sequences, statistics, triggers } = group
  if (sequences !== undefined) {
    // All there is: the same name may come twice.
    const all = sequences.all === true
    if (all) run(database, 'delete from sqlite_sequence', [])
    for (const { name, value } of sequences.sequences ?? []) {
      const known = all
        ? 0
        : run(database, 'update sqlite_sequence set seq = ? where name = ?', [value, name])
      if (known === 0) run(database, 'insert into sqlite_sequence (seq, name) values (?, ?)', [value, name])
    }
  }
  if (group.user_version !== undefined) database.exec(`pragma user_version = ${group.user_version}`)
  if (group.application_id !== undefined) database.exec(`pragma application_id = ${group.application_id}`)
  if (statistics !== undefined) {
    database.exec('analyze sqlite_schema; delete from sqlite_stat1')
    for (const { values } of statistics.rows ?? []) {
      run(database, 'insert into sqlite_stat1 (tbl, idx, stat) values (?, ?, ?)', values)
    }
  }
  if (triggers === undefined) return
  database.exec('delete from _understudy_trigger')
  for (const { name, sql } of triggers.triggers ?? []) {
    database.prepare('insert into _understudy_trigger values (?, ?)').run(name, sql)
  }
}

function changeRows(database: DatabaseSync, table: PlainTable): void {
  const name = quoted(table.table)
  const all = table.columns.map(quoted)
  const key = table.key.map((index) => all[index] as string)
  const where = (columns: readonly string[]): string =>
    columns.map((column) => `${column} is ?`).join(' and ')
  const insert = (values: readonly PlainValueMessage[]): void => {
    const marks = all.map(() => '?').join()
    must(run(database, `insert into ${name} (${all.join()}) values (${marks})`, values))
  }
  for (const { values } of table.deletes ?? []) {
    must(run(database, `delete from ${name} where ${where(all)}`, values))
  }
  let pending = (table.updates ?? []).map((update) => {
    const changed = update.changed.map((index) => all[index] as string)
    const set = changed.map((column) => `${column} = ?`).join()
    return {
      whole: `${name} where ${where([...key, ...changed])}`,
      identity: [...update.key, ...update.old],
      set: `update ${name} set ${set} where ${where([...key, ...changed])}`,
      values: update.new,
      ...update,
    }
  })
  while (pending.length > 0) {
    const left = pending.filter(({ set, values, identity }) => {
      try {
        must(run(database, set, [...values, ...identity]))
        return false
      } catch (error) {
        if (error instanceof NotThere) throw error
        return true
      }
    })
    if (left.length === pending.length) {
      // Values that change places: all of them out, then all in.
      const rows = left.map(({ whole, identity, changed, new: news }) => {
        const row = select(database, `select ${all.join()} from ${whole}`, identity)
        must(run(database, `delete from ${whole}`, identity))
        return row.map((value, index) => (changed.includes(index) ? news[changed.indexOf(index)] : value))
      })
      for (const row of rows) insert(row as PlainValueMessage[])
      break
    }
    pending = left
  }
  for (const { values } of table.inserts ?? []) {
    if (table.replace === true) {
      const place = key.map((column) => `${column} = ?`).join(' and ')
      run(
        database,
        `delete from ${name} where ${place}`,
        table.key.map((index) => values[index] ?? {}),
      )
    }
    insert(values)
  }
}

class NotThere extends Error {}

function must(changes: number): void {
  if (changes !== 1) throw new NotThere('a row is not there')
}

function run(database: DatabaseSync, sql: string, values: readonly PlainValueMessage[]): number {
  const bound = bind(sql, values)
  return Number(database.prepare(bound.sql).run(...bound.values).changes)
}

function select(
  database: DatabaseSync,
  sql: string,
  values: readonly PlainValueMessage[],
): PlainValueMessage[] {
  const bound = bind(sql, values)
  const statement = database.prepare(bound.sql)
  statement.setReturnArrays(true)
  statement.setReadBigInts(true)
  const row = statement.get(...bound.values) as unknown as unknown[] | undefined
  if (row === undefined) throw new NotThere('a row is not there')
  return row.map((value) => {
    if (value === null) return { null: true }
    if (typeof value === 'bigint') return { integer: String(value) }
    if (typeof value === 'number') return { real: value }
    return typeof value === 'string' ? { text: Buffer.from(value) } : { blob: value as Uint8Array }
  })
}

/** Text may be any bytes, and a parameter of node:sqlite cannot: such a one is cast, without the affinity of a cast. */
function bind(sql: string, messages: readonly PlainValueMessage[]): { sql: string; values: SQLInputValue[] } {
  const texts: string[] = []
  const values = messages.map((message): SQLInputValue => {
    const { integer, real, text, blob } = message
    texts.push('?')
    if (integer !== undefined) return BigInt(integer)
    if (real !== undefined) return real
    if (blob !== undefined) return blob
    if (text === undefined) return null
    const string = Buffer.from(text).toString()
    if (Buffer.compare(Buffer.from(string), text) === 0) return string
    texts[texts.length - 1] = '+cast(? as text)'
    return text
  })
  let index = 0
  // Names of the tables of these tests hold no question mark; one that a mutation made finds no such table.
  return { sql: sql.replaceAll('?', () => texts[index++] ?? '?'), values }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
