/**
 * The tables of keys: what is remembered of writes that were given one.
 *
 * Decides: the tables, when they are made, which rows go. Leaves to others: what a key is for, when rows are written (replication).
 *
 * 1. Their names are reserved (guard), and begin otherwise than those that no format replicates: formats and digests see the user's
 *    own tables in them. Each has a PRIMARY KEY, numbers are given by the node, and each statement names its row: so it does the
 *    same on every node, in every format.
 * 2. They are made by the first write with a key, inside it. A database without keys has none.
 * 3. Rows are deleted from the oldest on, a few with each new one. So the number of rows is the distance of the numbers at both ends.
 * 4. Tables are used only when they are ours: they may have come from elsewhere, with a file.
 */
import type { StatementSync } from 'node:sqlite'
import {
  UnderstudyError,
  type KeyedWrite,
  type KeyLimits,
  type KeyTable,
  type LogPoint,
  type Lsn,
  type Position,
} from '@understudy/contracts'
import type { Connection } from './connection.ts'
import { KEY_TABLE_PREFIX } from './guard.ts'

const KEYS = `${KEY_TABLE_PREFIX}s`
const KEYS_INDEX = `${KEY_TABLE_PREFIX}s_key`
/** One row for each group that had keys, once its record is known. */
const GROUPS = `${KEY_TABLE_PREFIX}groups`

const SCHEMA: readonly string[] = [
  `create table ${KEYS} (id integer primary key, key text not null, at integer not null, epoch integer not null, after integer not null, place integer not null, digest blob, value text)`,
  `create index ${KEYS_INDEX} on ${KEYS} (key)`,
  `create table ${GROUPS} (after integer primary key, epoch integer not null, lsn integer not null, crc integer not null)`,
]
const COLUMNS: Readonly<Record<string, string>> = {
  [KEYS]: 'id key at epoch after place digest value',
  [GROUPS]: 'after epoch lsn crc',
}

interface Queries {
  readonly find: StatementSync
  readonly last: StatementSync
  readonly oldest: StatementSync
  readonly settled: StatementSync
}

export class Keys implements KeyTable {
  readonly #connection: Connection
  /** `undefined`: there are no tables, in schema generation `#asOf`. */
  #queries: Queries | undefined
  #asOf = -1

  constructor(connection: Connection) {
    this.#connection = connection
  }

  find(key: string): KeyedWrite | undefined {
    return this.#reading((queries) => {
      const row = queries.find.get(key)
      if (row === undefined) return undefined
      return {
        epoch: Number(row['epoch']),
        after: Number(row['after']),
        index: Number(row['place']),
        digest: row['digest'] instanceof Uint8Array ? row['digest'] : undefined,
        value: typeof row['value'] === 'string' ? row['value'] : undefined,
      }
    })
  }

  put(key: string, write: KeyedWrite, atMs: number, limits: KeyLimits): void {
    const { statements } = this.#connection
    if (this.#reading(() => true) !== true) {
      for (const sql of SCHEMA) statements.runKeyed(sql)
    }
    const { epoch, after, index, digest, value } = write
    const id = this.#reading(({ last }) => Number(last.get()?.['id'] ?? 0) + 1) ?? 1
    const at = Math.floor(atMs)
    statements.runKeyed(
      `insert into ${KEYS} (id, key, at, epoch, after, place, digest, value) values (?, ?, ?, ?, ?, ?, ?, ?)`,
      [id, key, at, epoch, after, index, digest ?? null, value ?? null],
    )
    for (const each of this.#overLimit(id, at, limits)) {
      statements.runKeyed(`delete from ${KEYS} where id = ?`, [each.id])
      if (each.isLast) statements.runKeyed(`delete from ${GROUPS} where after = ?`, [each.after])
    }
  }

  settle(after: Lsn, { epoch, lsn, crc }: LogPoint): void {
    this.#connection.statements.runKeyed(
      `insert into ${GROUPS} (after, epoch, lsn, crc) values (?, ?, ?, ?)`,
      [after, epoch, lsn, crc],
    )
  }

  settled(after: Lsn): LogPoint | undefined {
    return this.#reading(({ settled }) => {
      const row = settled.get(after)
      if (row === undefined) return undefined
      return { epoch: Number(row['epoch']), lsn: Number(row['lsn']), crc: Number(row['crc']) }
    })
  }

  unsettled(): Position | undefined {
    return this.#reading(({ last, settled }) => {
      const row = last.get()
      if (row === undefined || settled.get(Number(row['after'])) !== undefined) return undefined
      return { epoch: Number(row['epoch']), lsn: Number(row['after']) }
    })
  }

  /** The oldest rows that are over a limit; `isLast`: no other row is of their group. */
  #overLimit(
    newest: number,
    atMs: number,
    { keepMs, keysMax, droppedMax }: KeyLimits,
  ): { readonly id: number; readonly after: Lsn; readonly isLast: boolean }[] {
    const rows = this.#reading(({ oldest }) => oldest.all(droppedMax + 1)) ?? []
    const over: { id: number; after: Lsn; isLast: boolean }[] = []
    for (const [index, row] of rows.entries()) {
      const id = Number(row['id'])
      const isOver = newest - id >= keysMax || Number(row['at']) < atMs - keepMs
      if (!isOver || id === newest || index === droppedMax) break
      const next = rows[index + 1]
      over.push({ id, after: Number(row['after']), isLast: Number(next?.['after']) !== Number(row['after']) })
    }
    return over
  }

  /** `undefined` too when there are no tables. */
  #reading<R>(read: (queries: Queries) => R): R | undefined {
    const connection = this.#connection
    return connection.internal(() => {
      const { generation } = connection.guard
      if (generation !== this.#asOf) {
        this.#queries = this.#prepare()
        this.#asOf = generation
      }
      return this.#queries && read(this.#queries)
    })
  }

  #prepare(): Queries | undefined {
    const { database } = this.#connection
    const objects = database
      .prepare(
        `select type, name, tbl_name, sql from sqlite_schema where lower(substr(name, 1, ?1)) = ?2 or lower(substr(tbl_name, 1, ?1)) = ?2`,
      )
      .all(KEY_TABLE_PREFIX.length, KEY_TABLE_PREFIX)
    if (objects.length === 0) return undefined
    const path = database.location() ?? ''
    for (const { type, name, tbl_name: table, sql } of objects) {
      const known =
        type === 'table' ? Object.hasOwn(COLUMNS, String(name)) : name === KEYS_INDEX && table === KEYS
      if (!known || /^\s*create\s+virtual/i.test(String(sql)))
        throw keysUnsuitable(path, `it has the ${String(type)} ${String(name)}`)
    }
    for (const [table, expected] of Object.entries(COLUMNS)) {
      const columns = database.prepare('select name from pragma_table_xinfo(?) order by cid').all(table)
      if (columns.map(({ name }) => String(name)).join(' ') !== expected)
        throw keysUnsuitable(path, `${table} has other columns`)
    }
    return {
      find: database.prepare(`select epoch, after, place, digest, value from ${KEYS} where key = ? limit 1`),
      last: database.prepare(`select id, epoch, after from ${KEYS} order by id desc limit 1`),
      oldest: database.prepare(`select id, at, after from ${KEYS} order by id limit ?`),
      settled: database.prepare(`select epoch, lsn, crc from ${GROUPS} where after = ?`),
    }
  }
}

function keysUnsuitable(path: string, reason: string): UnderstudyError {
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `The tables ${KEY_TABLE_PREFIX}* of ${path} are not as a node made them: ${reason}. The file was kept as it is, and writes with a key are refused; ` +
      'writes without one go on. Rename or drop those tables in a copy of the file, and import that.',
    { path },
  )
}
