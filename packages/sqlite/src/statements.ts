/**
 * Runs a user's SQL on one connection: a cache of compiled statements, several statements in one text, integers of 64 bits.
 *
 * Decides: how a text is cut into statements, which JavaScript value an integer becomes, when a compiled statement is
 * used again. Leaves to others: transactions, who may write.
 *
 * 1. No parser: SQLite says where the first statement of a text ends, because `sourceSQL` is the text of that one alone.
 * 2. Integers are numbers up to 2^53 - 1, bigints beyond. A statement that only reads is run again when it meets a
 *    larger one, a statement that writes is never run twice: it reads bigints from the start.
 * 3. A cached statement is as good as the schema generation that it was analysed in.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import {
  UnderstudyError,
  type Parameters,
  type Row,
  type RunResult,
  type StatementInfo,
  type StatementObserver,
  type Table,
  type TableLimits,
} from '@understudy/contracts'
import {
  isList,
  iterate,
  parameterCount,
  StatementCursor,
  valueBytes,
  type RowCursor,
  type StatementShape,
} from './cursor.ts'
import { invalidArgument, isSqlite, SQLITE_CODES } from './errors.ts'
import { RESERVED_PREFIX, type Analysis, type Guard } from './guard.ts'

interface Entry {
  readonly statement: StatementSync
  readonly analysis: Analysis
  /** The text of this statement alone. */
  readonly sql: string
  readonly generation: number
  /** Integers come as bigints, and are turned back where they fit. */
  bigints: boolean
  /** Used since the clock hand of the cache last passed. */
  used: boolean
}

const NO_PARAMETERS: readonly SQLInputValue[] = []

export class Statements {
  #observers: readonly StatementObserver[] = []
  /** PRAGMA defer_foreign_keys ran since someone last set this to false. */
  deferralAsked = false
  readonly #database: DatabaseSync
  readonly #guard: Guard
  readonly #entries = new Map<string, Entry>()
  readonly #entriesMax: number
  /** Of `runKeyed`: a handful of texts. */
  readonly #keyed = new Map<string, Entry>()
  readonly #lastRowid: StatementSync

  constructor(database: DatabaseSync, guard: Guard, entriesMax: number) {
    this.#database = database
    this.#guard = guard
    this.#entriesMax = entriesMax
    // Calls no function: a format may have overridden last_insert_rowid() and count its calls.
    this.#lastRowid = database.prepare('select 1 where 0')
    this.#lastRowid.setReadBigInts(true)
  }

  all(sql: string, parameters: Parameters = NO_PARAMETERS): Row[] {
    return this.#observed(this.#single(sql), parameters, (entry) => {
      const rows = this.#reading(entry, () => allRows(entry.statement, parameters))
      if (entry.bigints) for (const row of rows) narrowRow(row)
      return rows
    })
  }

  get(sql: string, parameters: Parameters = NO_PARAMETERS): Row | undefined {
    return this.#observed(this.#single(sql), parameters, (entry) => {
      const row = this.#reading(entry, () => getRow(entry.statement, parameters))
      if (entry.bigints && row !== undefined) narrowRow(row)
      return row
    })
  }

  table(sql: string, parameters: Parameters = NO_PARAMETERS, limits: TableLimits = {}): Table {
    return this.#observed(this.#single(sql), parameters, (entry) => {
      if (limits.bigints === true && !entry.bigints) {
        entry.bigints = true
        entry.statement.setReadBigInts(true)
      }
      const rows = this.#reading(entry, () => collectRows(entry, parameters, limits))
      if (entry.bigints && limits.bigints !== true)
        for (const row of rows) row.forEach((value, at) => (row[at] = narrowed(value)))
      return { columns: entry.statement.columns().map(({ name }) => name), rows }
    })
  }

  /** The result in parts, for a reader: nothing observes it. `bigints`: integers come as bigints, of whatever size. */
  cursor(
    sql: string,
    parameters: Parameters = NO_PARAMETERS,
    { bigints = false }: { readonly bigints?: boolean } = {},
  ): RowCursor {
    const { statement } = this.#fresh(sql)
    const cursor = this.#told(
      () => new StatementCursor(statement, parameters, bigints ? undefined : narrowed),
    )
    return {
      columns: cursor.columns,
      next: (limits) => this.#told(() => cursor.next(limits)),
      close: () => cursor.close(),
    }
  }

  /** What is known of a statement, which is not run. */
  describe(sql: string): StatementShape {
    const { statement, analysis } = this.#fresh(sql)
    return {
      columns: statement.columns().map(({ name, type }) => ({ name, type: type ?? '' })),
      parameters: parameterCount(statement),
      readOnly: analysis.effect === 'read',
    }
  }

  run(sql: string, parameters: Parameters = NO_PARAMETERS): RunResult {
    return this.#observed(this.#single(sql), parameters, (entry) => this.#run(entry, parameters))
  }

  exec(sql: string): void {
    if (typeof sql !== 'string') throw invalidArgument('exec takes SQL as a string; nothing was run.')
    for (let rest = sql; ;) {
      const entry = this.#entry(rest, true)
      if (entry === undefined) return
      this.#observed(entry, NO_PARAMETERS, () => {
        // A statement that reads may call a user's function for each of its rows.
        if (entry.analysis.effect === 'read') this.#reading(entry, () => entry.statement.all())
        else this.#run(entry, NO_PARAMETERS)
      })
      if (entry.sql.length >= rest.length) return
      rest = rest.slice(entry.sql.length)
    }
  }

  /**
   * Runs a statement of the node's own on the tables of keys; observers are told of it as of a user's. It is compiled apart: a user's
   * same text must not find it.
   */
  runKeyed(sql: string, parameters: Parameters = NO_PARAMETERS): RunResult {
    return this.#guard.keyed(() => {
      let entry = this.#keyed.get(sql)
      if (entry === undefined || entry.generation !== this.#guard.generation) {
        entry = this.#compile(sql) as Entry
        this.#keyed.set(sql, entry)
      }
      return this.#observed(entry, parameters, (own) => this.#run(own, parameters))
    })
  }

  /** Tells `observer` of each statement, after those that observe already; returns how to end that. */
  observe(observer: StatementObserver): () => void {
    this.#observers = [...this.#observers, observer]
    return () => {
      this.#observers = this.#observers.filter((other) => other !== observer)
    }
  }

  /** Forgets every compiled statement. */
  clear(): void {
    this.#entries.clear()
    this.#keyed.clear()
  }

  #run(entry: Entry, parameters: Parameters): RunResult {
    const result = runStatement(entry.statement, parameters)
    if (!entry.bigints) return exactRowid(result, this.#lastRowid)
    return { changes: narrow(result.changes), lastInsertRowid: narrow(result.lastInsertRowid) }
  }

  /** Around each statement: the observer's calls, the guard's refusal as an error, the schema generation. */
  #observed<T>(entry: Entry, parameters: Parameters, run: (entry: Entry) => T): T {
    const observers = this.#observers
    const info = observers.length === 0 ? undefined : statementInfo(entry, parameters)
    if (info !== undefined) for (const observer of observers) observer.before(info)
    let result: T
    try {
      result = run(entry)
    } catch (error) {
      throw this.#explain(error)
    }
    if (entry.analysis.effect === 'schema') this.#guard.generation++
    else if (entry.analysis.pragma?.name === 'defer_foreign_keys') this.deferralAsked = true
    if (info !== undefined) for (const observer of observers) observer.after(info)
    return result
  }

  #told<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      throw this.#explain(error)
    }
  }

  /** Compiled for one use: the cached statements are run again by whoever comes next. */
  #fresh(sql: string): Entry {
    const cached = this.#single(sql)
    return this.#compile(cached.sql) as Entry
  }

  /** Runs a read, again with bigints when it met an integer that no number holds. */
  #reading<T>(entry: Entry, run: () => T): T {
    try {
      return run()
    } catch (error) {
      if (entry.bigints || !isOutOfRange(error)) throw error
      entry.bigints = true
      entry.statement.setReadBigInts(true)
      return run()
    }
  }

  #single(sql: string): Entry {
    const entry = this.#entry(sql, false)
    if (entry === undefined)
      throw invalidArgument('The SQL text contains no statement; nothing was run. Give one statement.')
    return entry
  }

  /** The first statement of `sql`, or its only one; `undefined` when there is none but blanks and comments. */
  #entry(sql: string, first: boolean): Entry | undefined {
    const found = this.#entries.get(sql)
    if (found !== undefined && found.generation === this.#guard.generation) {
      found.used = true
      return found
    }
    const entry = this.#compile(sql)
    if (entry === undefined) return undefined
    const whole = entry.sql.length >= sql.length || (!first && this.#isBlank(sql.slice(entry.sql.length)))
    if (!whole && !first)
      throw invalidArgument(
        'The SQL text has more than one statement; nothing was run. Give one at a time, or use exec without parameters.',
      )
    this.#remember(whole ? sql : entry.sql, entry)
    return entry
  }

  #compile(sql: string): Entry | undefined {
    if (typeof sql !== 'string') throw invalidArgument('SQL must be a string; nothing was run.')
    // SQLite stops reading there, so that the rest would be dropped without a word.
    if (sql.includes('\0')) throw invalidArgument('The SQL text contains a NUL character; nothing was run.')
    const generation = this.#guard.generation
    try {
      const { prepared, analysis } = this.#guard.analyse(() => this.#database.prepare(sql))
      if (analysis.alters && prepared.sourceSQL.toLowerCase().includes(RESERVED_PREFIX))
        throw forbidden(`ALTER TABLE with a name that begins with ${RESERVED_PREFIX}`)
      const bigints = analysis.effect !== 'read'
      const returnsRows = bigints && prepared.columns().length > 0
      if (returnsRows) prepared.setReadBigInts(true)
      return {
        statement: prepared,
        analysis,
        sql: prepared.sourceSQL,
        generation,
        bigints: returnsRows,
        used: true,
      }
    } catch (error) {
      if (isEmptyText(error)) return undefined
      throw this.#explain(error)
    }
  }

  #isBlank(sql: string): boolean {
    try {
      this.#guard.analyse(() => this.#database.prepare(sql))
      return false
    } catch (error) {
      return isEmptyText(error)
    } finally {
      this.#guard.refusal = undefined
    }
  }

  #remember(sql: string, entry: Entry): void {
    this.#entries.set(sql, entry)
    if (this.#entries.size <= this.#entriesMax) return
    // Second chance: what was used since the hand last passed goes to the end, the first that was not goes.
    for (const [key, candidate] of this.#entries) {
      this.#entries.delete(key)
      if (!candidate.used) return
      candidate.used = false
      this.#entries.set(key, candidate)
    }
  }

  #explain(error: unknown): unknown {
    const { refusal } = this.#guard
    this.#guard.refusal = undefined
    // Of a function SQLite says so in the text alone.
    const isRefused =
      isSqlite(error, SQLITE_CODES.AUTH) ||
      (error instanceof Error && error.message.startsWith('not authorized'))
    if (isRefused && refusal !== undefined) return forbidden(refusal, error)
    if (error instanceof Error && /cannot VACUUM from within a transaction/.test(error.message))
      return forbidden('VACUUM, which cannot be part of a transaction', error)
    return error
  }
}

function forbidden(what: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'WRITE_FORBIDDEN',
    `A callback may not run ${what}. The statement was not run; the callback may go on without it.`,
    { cause },
  )
}

/** What formats and tests see of a compiled statement. */
function statementInfo(entry: Entry, parameters: Parameters): StatementInfo {
  const { effect, writes, pragma } = entry.analysis
  return { sql: entry.sql, parameters, effect, writes, ...(pragma === undefined ? {} : { pragma }) }
}

function allRows(statement: StatementSync, parameters: Parameters): Row[] {
  return isList(parameters) ? statement.all(...parameters) : statement.all(parameters)
}

function getRow(statement: StatementSync, parameters: Parameters): Row | undefined {
  return isList(parameters) ? statement.get(...parameters) : statement.get(parameters)
}

/** Rows as arrays, through the one that goes over a limit. A statement that writes is stepped to its end. */
function collectRows(entry: Entry, parameters: Parameters, limits: TableLimits): SQLOutputValue[][] {
  const { rowsMax = Number.POSITIVE_INFINITY, bytesMax = Number.POSITIVE_INFINITY } = limits
  const { statement } = entry
  const rows: SQLOutputValue[][] = []
  let bytes = 0
  statement.setReturnArrays(true)
  try {
    const found = iterate(statement, parameters) as unknown as Iterable<SQLOutputValue[]>
    for (const row of found) {
      const isFull = rows.length > rowsMax || bytes > bytesMax
      if (isFull && entry.analysis.effect === 'read') break
      if (isFull) continue
      rows.push(row)
      if (bytesMax !== Number.POSITIVE_INFINITY) for (const value of row) bytes += valueBytes(value)
    }
    return rows
  } finally {
    statement.setReturnArrays(false)
  }
}

function runStatement(statement: StatementSync, parameters: Parameters): RunResult {
  return isList(parameters) ? statement.run(...parameters) : statement.run(parameters)
}

/** A rowid beyond 2^53 comes rounded as a number: ask for it again, exactly. */
function exactRowid(result: RunResult, lastRowid: StatementSync): RunResult {
  if (typeof result.lastInsertRowid !== 'number' || Number.isSafeInteger(result.lastInsertRowid))
    return result
  return { changes: result.changes, lastInsertRowid: lastRowid.run().lastInsertRowid }
}

function narrow(value: number | bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** An integer as a number where that is exact. */
export function narrowed(value: SQLOutputValue): SQLOutputValue {
  return typeof value === 'bigint' ? narrow(value) : value
}

function narrowRow(row: Row): void {
  for (const key of Object.keys(row)) {
    const value: SQLOutputValue | undefined = row[key]
    if (typeof value === 'bigint') row[key] = narrow(value)
  }
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}

function isOutOfRange(error: unknown): boolean {
  return hasCode(error, 'ERR_OUT_OF_RANGE')
}

/** `prepare` of a text with no statement in it. */
function isEmptyText(error: unknown): boolean {
  return (
    hasCode(error, 'ERR_INVALID_ARG_VALUE') &&
    error instanceof Error &&
    error.message.includes('no statements')
  )
}
