/**
 * Texts of statements by number: part of the replicated state, so that a text travels once.
 *
 * Decides: where the dictionary is kept, when memory of it is void. Leaves to others: which texts get a number.
 *
 * 1. The table has no PRIMARY KEY and the project's prefix: no session records it, no format replicates its rows, and a
 *    snapshot carries it. Leader and follower write the same rows into it, each in the transaction of the group.
 * 2. Numbers grow by one; the table holds the last `SIZE` of them. So the highest number tells which are there.
 * 3. A rollback takes rows back without telling. Memory holds as long as the highest number in the table is the highest
 *    in memory; who knows of a rollback, or that others wrote, calls `forget`.
 * 4. Unapplied, the table is read once and never written: numbers given since are in memory alone.
 */
import type { StatementSync } from 'node:sqlite'
import type { SqliteConnection } from '@understudy/contracts'

/** How many texts have a number at a time. */
export const DICTIONARY_SIZE = 4096

interface Statements {
  readonly highest: StatementSync
  readonly insert: StatementSync
  readonly remove: StatementSync
}

export class Dictionary {
  readonly #connection: SqliteConnection
  readonly #table: string
  #statements: Statements | undefined
  #numbers = new Map<string, number>()
  #texts = new Map<number, string>()
  #highest = 0
  #known = false
  readonly #unapplied: boolean

  constructor(connection: SqliteConnection, unapplied: boolean = false) {
    this.#unapplied = unapplied
    this.#connection = connection
    this.#table = `${connection.ownTablePrefix}statement`
  }

  get highest(): number {
    return this.#highest
  }

  numberOf(text: string): number | undefined {
    return this.#numbers.get(text)
  }

  textOf(number: number): string | undefined {
    return this.#texts.get(number)
  }

  /** Nothing remembered holds. */
  forget(): void {
    if (!this.#unapplied) this.#known = false
  }

  /** Makes memory what the table says. In `internal`. */
  sync(): void {
    if (this.#unapplied && this.#known) return
    const { database } = this.#connection
    if (this.#statements === undefined) {
      const exists = database
        .prepare(`select 1 from main.sqlite_schema where type = 'table' and name = ?`)
        .get(this.#table)
      if (exists === undefined) {
        this.#clear()
        this.#known = true
        return
      }
    }
    const highest = this.#readHighest()
    if (this.#known && highest === this.#highest) return
    this.#clear()
    this.#known = true
    if (highest === undefined) return
    const rows = database.prepare(`select number, sql from main.${this.#table}`).all()
    for (const row of rows) this.#remember(Number(row['number']), String(row['sql']))
  }

  /** Gives `text` the next number, in the open transaction. In `internal`. */
  define(text: string): number {
    const number = this.#highest + 1
    const statements = this.#unapplied ? undefined : this.#prepared()
    statements?.insert.run(number, text)
    this.#remember(number, text)
    const old = number - DICTIONARY_SIZE
    if (old > 0) {
      statements?.remove.run(old)
      const gone = this.#texts.get(old)
      this.#texts.delete(old)
      if (gone !== undefined && this.#numbers.get(gone) === old) this.#numbers.delete(gone)
    }
    return number
  }

  #remember(number: number, text: string): void {
    this.#numbers.set(text, number)
    this.#texts.set(number, text)
    if (number > this.#highest) this.#highest = number
  }

  #clear(): void {
    this.#numbers = new Map()
    this.#texts = new Map()
    this.#highest = 0
  }

  /** `undefined`: the table is gone, with the transaction that made it. */
  #readHighest(): number | undefined {
    try {
      const row = this.#prepared(false).highest.get() as unknown as [number | null]
      return row[0] ?? 0
    } catch {
      this.#statements = undefined
      return undefined
    }
  }

  #prepared(make: boolean = true): Statements {
    if (this.#statements !== undefined) return this.#statements
    const { database } = this.#connection
    const table = `main.${this.#table}`
    if (make) {
      database.exec(`create table if not exists ${table} (number integer not null, sql text not null)`)
      database.exec(`create unique index if not exists ${table}_number on ${this.#table} (number)`)
    }
    const highest = database.prepare(`select max(number) from ${table}`)
    highest.setReturnArrays(true)
    this.#statements = {
      highest,
      insert: database.prepare(`insert into ${table} (number, sql) values (?, ?)`),
      remove: database.prepare(`delete from ${table} where number = ?`),
    }
    return this.#statements
  }
}
