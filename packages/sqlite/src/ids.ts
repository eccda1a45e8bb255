/**
 * Counters of AUTOINCREMENT, and the table of their ceilings.
 *
 * Decides: the table, when it is made, which statements may move a counter. Leaves to others: what a ceiling is for, when rows are
 * written (replication).
 *
 * 1. The name is reserved (guard), and begins otherwise than those that no format replicates: formats and digests see a user's own
 *    table in it. It has a PRIMARY KEY, and each statement names its row: so it does the same on every node, in every format.
 * 2. It is made by the first write that has something to remember, inside it. A database without AUTOINCREMENT has none.
 * 3. Only an INSERT, a change of the schema, or a write to `sqlite_sequence` itself moves a counter or brings one. Each
 *    names its table to the compiler, triggers included; a foreign key inserts nothing.
 * 4. It has no rowid, so that what a user asks of the last one stays what it was.
 * 5. The table is used only when it is ours: it may have come from elsewhere, with a file.
 */
import type { StatementSync } from 'node:sqlite'
import {
  UnderstudyError,
  type IdCeiling,
  type IdTable,
  type IdWatch,
  type StatementInfo,
  type StoredIds,
} from '@understudy/contracts'
import type { Connection } from './connection.ts'
import { IDS_TABLE } from './guard.ts'

const SCHEMA = `create table ${IDS_TABLE} (kind text not null, name text not null, ceiling integer not null, inforce integer not null, primary key (kind, name)) without rowid`
const COLUMNS = 'kind name ceiling inforce'
const COUNTERS = 'sqlite_sequence'
const CEILING = 'ceiling'
const MEMBER = 'member'
const FLOOR = 'floor'

/** What the schema of one generation says. */
interface View {
  /** `undefined`: there is no such table. */
  readonly stored: StatementSync | undefined
  /** `undefined`: no table ever had a counter. */
  readonly counters: StatementSync | undefined
  /** Tables with AUTOINCREMENT. */
  readonly counted: ReadonlySet<string>
}

export class Ids implements IdTable {
  readonly #connection: Connection
  #view: View | undefined
  #asOf = -1
  #floor = 0n

  constructor(connection: Connection) {
    this.#connection = connection
  }

  stored(): StoredIds {
    const ceilings = new Map<string, IdCeiling>()
    const members: string[] = []
    let floor = 0n
    const rows = this.#reading(({ stored }) => stored?.all() ?? []) as unknown as unknown[][]
    for (const [kind, name, ceiling, inForce] of rows) {
      if (kind === MEMBER) members.push(String(name))
      else if (kind === FLOOR) floor = typeof ceiling === 'bigint' ? ceiling : 0n
      else if (typeof ceiling === 'bigint' && typeof inForce === 'bigint')
        ceilings.set(String(name), { ceiling, inForce })
    }
    return { ceilings, members, floor }
  }

  counters(): ReadonlyMap<string, bigint> {
    return this.#reading(({ counters, counted }) => {
      const found = new Map<string, bigint>()
      for (const table of counted) found.set(table, 0n)
      const rows = (counters?.all() ?? []) as unknown as unknown[][]
      for (const [name, value] of rows) {
        // A user may have written anything there.
        if (typeof name !== 'string' || typeof value !== 'bigint') continue
        const before = found.get(name)
        if (before !== undefined && value > before) found.set(name, value)
      }
      return found
    })
  }

  watch(): IdWatch {
    let isTouched = true
    this.#floor = this.stored().floor
    // A statement that is compiled anew has another set: the schema may be another one.
    const known = new WeakMap<ReadonlySet<string>, boolean>()
    const mayMove = (writes: ReadonlySet<string>): boolean => {
      let moves = known.get(writes)
      if (moves === undefined) {
        const { counted } = this.#current()
        moves = writes.has(COUNTERS)
        for (const table of writes) moves ||= counted.has(table)
        known.set(writes, moves)
      }
      return moves
    }
    const close = this.#connection.observe({
      before: () => undefined,
      after: ({ effect, writes }: StatementInfo) => {
        if (effect === 'schema' && this.#floor > 0n) this.#startAbove(this.#floor)
        if (isTouched || effect === 'read') return
        isTouched = effect === 'schema' || (writes.size > 0 && mayMove(writes))
      },
    })
    return {
      touched: () => {
        const was = isTouched
        isTouched = false
        return was
      },
      close,
    }
  }

  putCeiling(table: string, { ceiling, inForce }: IdCeiling): void {
    this.#put(CEILING, table, ceiling, inForce)
  }

  putMember(name: string, isMember: boolean): void {
    if (isMember) this.#put(MEMBER, name, 0n, 0n)
    else if (this.#current().stored !== undefined)
      this.#run(`delete from ${IDS_TABLE} where kind = ? and name = ?`, [MEMBER, name])
  }

  putFloor(floor: bigint): void {
    this.#put(FLOOR, '', floor, floor)
    this.#floor = floor
  }

  setCounter(table: string, value: bigint): void {
    const { counters } = this.#current()
    if (counters === undefined) return
    const row = this.#rowsOf(counters).find(([name]) => name === table)
    if (row === undefined) this.#run(`insert into ${COUNTERS} (name, seq) values (?, ?)`, [table, value])
    else if (typeof row[1] !== 'bigint' || row[1] < value)
      this.#run(`update ${COUNTERS} set seq = ? where name = ?`, [value, table])
  }

  /** Tables that never gave an id. */
  #startAbove(floor: bigint): void {
    const { counted, counters } = this.#current()
    if (counters === undefined) return
    const known = new Set(this.#rowsOf(counters).map(([name]) => name))
    for (const table of counted) if (!known.has(table)) this.setCounter(table, floor)
  }

  #put(kind: string, name: string, ceiling: bigint, inForce: bigint): void {
    if (this.#current().stored === undefined) this.#run(SCHEMA, [])
    const values = [ceiling, inForce, kind, name]
    const changed = this.#run(
      `update ${IDS_TABLE} set ceiling = ?, inforce = ? where kind = ? and name = ?`,
      values,
    )
    if (changed === 0)
      this.#run(`insert into ${IDS_TABLE} (ceiling, inforce, kind, name) values (?, ?, ?, ?)`, values)
  }

  #run(sql: string, values: readonly (string | bigint)[]): number {
    return Number(this.#connection.statements.runKeyed(sql, values).changes)
  }

  #rowsOf(statement: StatementSync): unknown[][] {
    return this.#connection.internal(() => statement.all()) as unknown as unknown[][]
  }

  #reading<R>(read: (view: View) => R): R {
    return this.#connection.internal(() => read(this.#current()))
  }

  #current(): View {
    const { generation } = this.#connection.guard
    if (this.#view === undefined || generation !== this.#asOf) {
      this.#view = this.#connection.internal(() => this.#prepare())
      this.#asOf = this.#connection.guard.generation
    }
    return this.#view
  }

  #prepare(): View {
    const { database } = this.#connection
    const tables = database
      .prepare(
        `select name from sqlite_schema where type = 'table' and sql like '%autoincrement%' and lower(substr(name, 1, 11)) <> '_understudy'`,
      )
      .all()
    const hasCounters =
      database.prepare('select 1 from sqlite_schema where name = ?').get(COUNTERS) !== undefined
    return {
      stored: this.#isThere()
        ? this.#rows(`select kind, name, ceiling, inforce from ${IDS_TABLE}`)
        : undefined,
      counters: hasCounters ? this.#rows(`select name, seq from main.${COUNTERS}`) : undefined,
      counted: new Set(tables.map(({ name }) => String(name))),
    }
  }

  #rows(sql: string): StatementSync {
    const statement = this.#connection.database.prepare(sql)
    statement.setReadBigInts(true)
    statement.setReturnArrays(true)
    return statement
  }

  #isThere(): boolean {
    const { database } = this.#connection
    const objects = database
      .prepare('select type, sql from sqlite_schema where lower(name) = ?1 or lower(tbl_name) = ?1')
      .all(IDS_TABLE)
    if (objects.length === 0) return false
    const path = database.location() ?? ''
    for (const { type, sql } of objects) {
      // The index of the PRIMARY KEY has no SQL.
      const isOurs =
        type === 'table' ? !/^\s*create\s+virtual/i.test(String(sql)) : type === 'index' && sql === null
      if (!isOurs) throw idsUnsuitable(path, `it has the ${String(type)} ${String(sql)}`)
    }
    const columns = database.prepare('select name from pragma_table_xinfo(?) order by cid').all(IDS_TABLE)
    if (columns.map(({ name }) => String(name)).join(' ') !== COLUMNS)
      throw idsUnsuitable(path, 'it has other columns')
    return true
  }
}

function idsUnsuitable(path: string, reason: string): UnderstudyError {
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `The table ${IDS_TABLE} of ${path} is not as a node made it: ${reason}. The file was kept as it is, and nothing is written to it. ` +
      'Rename or drop that table in a copy of the file, and import that.',
    { path },
  )
}
