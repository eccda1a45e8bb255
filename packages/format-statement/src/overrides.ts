/**
 * Overrides of the functions whose results depend on more than their arguments, for one connection.
 *
 * Decides: which calls are captured and replayed, what the moment of a statement is.
 * Leaves to others: which statements are recorded, what SQLite's own function would answer (`builtins.ts`).
 *
 * 1. `node:sqlite` cannot take a function away again. So overrides stay, and answer exactly as SQLite's own functions
 *    for everything that is neither recorded nor replayed. Who needs overrides of their own registers them anew, which
 *    retires those before: they stop observing. What tells them is a function that is registered too.
 * 2. A function that the user had overridden before is left alone.
 * 3. 'now' is one moment for a whole statement, as in SQLite.
 * 4. In generated columns, indexes and CHECKs SQLite's own date functions refuse to look at the clock. An override is
 *    not told where it is called from, so the statement's program is asked beforehand (`pure`).
 */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { UnderstudyError, type SqliteConnection, type StatementInfo } from '@understudy/contracts'
import { Builtins } from './builtins.ts'
import type { PlainValue } from './bytes.ts'
import { counterStatement } from './counters.ts'
import { CAPTURED_FUNCTIONS, signature, type CapturedFunction } from './functions.ts'
import { datesInProgram } from './explain.ts'
import type { Captured } from './payload.ts'

const MARKER = '_understudy_override'
const NO_NAMES: ReadonlySet<string> = new Set()
/** `useBigIntArguments`: integers stay apart from reals. Dates must be deterministic, or a schema that uses them is malformed. */
const PLAIN = { useBigIntArguments: true }
const DATE = { useBigIntArguments: true, varargs: true, deterministic: true }

type Mode = 'pass' | 'capture' | 'replay'

export class Overrides {
  readonly #connection: SqliteConnection
  #builtins: Builtins | undefined
  #counters: StatementSync | undefined
  #unobserve: (() => void) | undefined
  #current = false
  #mode: Mode = 'pass'
  #inStatement = false
  #now: string | undefined
  #pure: ReadonlySet<string> = NO_NAMES
  /** Functions of the connection that the statement reaches: asked by others too, these are captured only then. */
  #reached: ReadonlySet<string> = NO_NAMES
  readonly captured: Captured[] = []
  #replayed: readonly Captured[] = []
  #replayAt = 0
  #replayCount = 0
  #mismatch: string | undefined
  /** Signatures that are overridden: `random(0)`. */
  signatures: ReadonlySet<string> = NO_NAMES
  // While nobody records or replays:
  #isIdle = true
  #pureBySql = new Map<string, ReadonlySet<string>>()
  #schemaHasDates: boolean | undefined

  constructor(connection: SqliteConnection) {
    this.#connection = connection
  }

  /** Whether the overrides of the connection are these. */
  get current(): boolean {
    return this.#current
  }

  /** Makes them so. Outside of a running statement. */
  install(): void {
    if (this.#current) return
    this.#connection.internal(() => this.#register())
    this.#unobserve = this.#connection.observe({
      before: (statement) => this.#observed(statement),
      after: () => {
        if (this.#isIdle) this.statementEnds()
      },
    })
    this.#current = true
  }

  /** Someone records or replays, and says itself when a statement begins and ends. */
  engage(): void {
    this.#isIdle = false
    this.statementEnds()
  }

  /** Nobody does: the overrides go on answering as SQLite's own functions. */
  release(): void {
    this.#isIdle = true
    this.#pureBySql.clear()
    this.#schemaHasDates = undefined
    this.statementEnds()
  }

  /** A statement that is not recorded begins. */
  passes(pure: ReadonlySet<string> = NO_NAMES): void {
    this.#begin('pass', pure)
  }

  /** A statement begins whose results are captured, in `captured`. `reached`: names of functions of the connection. */
  captures(reached: ReadonlySet<string>, pure: ReadonlySet<string>): void {
    this.#begin('capture', pure)
    this.#reached = reached
    if (this.captured.length > 0) this.captured.length = 0
  }

  /** A statement begins whose functions answer what was captured. */
  replays(results: readonly Captured[], reached: ReadonlySet<string>): void {
    this.#begin('replay', NO_NAMES)
    this.#reached = reached
    this.#replayed = results
    this.#replayAt = 0
    this.#replayCount = 0
    this.#mismatch = undefined
  }

  /** Why the replayed statement did not call what the leader's did; `undefined` when it did exactly that. */
  replayMismatch(): string | undefined {
    if (this.#mismatch !== undefined) return this.#mismatch
    const left = this.#replayed[this.#replayAt]
    return left === undefined ? undefined : `${nameOf(left.code)} was called less often than on the leader`
  }

  statementEnds(): void {
    this.#mode = 'pass'
    this.#inStatement = false
    this.#now = undefined
    this.#pure = NO_NAMES
  }

  #begin(mode: Mode, pure: ReadonlySet<string>): void {
    this.#mode = mode
    this.#inStatement = true
    this.#now = undefined
    this.#pure = pure
  }

  #observed(statement: StatementInfo): void {
    if (!this.#isIdle) return
    if (statement.effect === 'schema') {
      this.#pureBySql.clear()
      this.#schemaHasDates = undefined
    }
    this.passes(this.#pureOf(statement.sql))
  }

  /** Date functions in a generated column, an index or a CHECK that a statement reaches. */
  #pureOf(sql: string): ReadonlySet<string> {
    const { database } = this.#connection
    this.#schemaHasDates ??= this.#connection.internal(() => schemaMayHaveDates(database))
    if (!this.#schemaHasDates) return NO_NAMES
    let pure = this.#pureBySql.get(sql)
    if (pure === undefined) {
      if (this.#pureBySql.size > 1000) this.#pureBySql.clear()
      pure = this.#connection.internal(() => datesInProgram(database, sql))
      this.#pureBySql.set(sql, pure)
    }
    return pure
  }

  #register(): void {
    const { database } = this.#connection
    if (pragma(database, 'trusted_schema') !== 1) throw untrusted()
    const registered = registeredFunctions(database)
    // What is registered already is the user's, but for what overrides before these say is theirs.
    const before = askOverrides(database, registered, 1) ?? NO_NAMES
    this.#builtins ??= new Builtins()
    const signatures = new Set<string>()
    for (const each of CAPTURED_FUNCTIONS) {
      const own = signature(each.name, each.arguments)
      if (registered.has(own) && !before.has(own)) continue
      this.#override(database, each)
      signatures.add(own)
    }
    this.signatures = signatures
    database.function(MARKER, { directOnly: true }, (retires: SQLOutputValue) => {
      if (retires === 1) this.#retire()
      return [...signatures].join(' ')
    })
    this.#counters = counterStatement(database)
  }

  /** Others take over. */
  #retire(): void {
    this.#current = false
    this.#unobserve?.()
    this.#unobserve = undefined
  }

  #override(database: DatabaseSync, { code, name, kind }: CapturedFunction): void {
    switch (kind) {
      case 'random':
        if (name === 'random') database.function(name, PLAIN, () => this.#answer(code, () => this.#own(name)))
        else
          database.function(name, PLAIN, (length: SQLOutputValue) =>
            this.#answer(code, () => this.#own(name, length)),
          )
        return
      case 'moment': {
        const date = MOMENTS[name] as string
        database.function(name, PLAIN, () => this.#answer(code, () => this.#own(date, this.#moment())))
        return
      }
      case 'connection':
        database.function(name, PLAIN, () => this.#counter(code, name))
        return
      case 'date':
        if (name === 'timediff')
          database.function(name, { ...DATE, varargs: false }, (a: SQLOutputValue, b: SQLOutputValue) =>
            this.#date(code, name, [a, b]),
          )
        else database.function(name, DATE, (...values: SQLOutputValue[]) => this.#date(code, name, values))
    }
  }

  #own(name: string, ...values: PlainValue[]): PlainValue {
    return (this.#builtins as Builtins).call(name, values)
  }

  #moment(): string {
    const builtins = this.#builtins as Builtins
    if (!this.#inStatement) return builtins.now()
    return (this.#now ??= builtins.now())
  }

  #counter(code: number, name: string): PlainValue {
    const compute = (): PlainValue => {
      const { changes, lastInsertRowid } = (this.#counters as StatementSync).run()
      return name === 'changes' ? changes : lastInsertRowid
    }
    return this.#reached.has(name) ? this.#answer(code, compute) : compute()
  }

  #date(code: number, name: string, values: readonly PlainValue[]): PlainValue {
    const asked = askedOfMachine(name, values)
    if (!asked) return this.#own(name, ...values)
    if (this.#pure.has(name)) throw impure(name)
    return this.#answer(code, () => this.#own(name, ...atMoment(name, values, () => this.#moment())))
  }

  #answer(code: number, compute: () => PlainValue): PlainValue {
    if (this.#mode === 'replay') return this.#replay(code)
    const value = compute()
    if (this.#mode === 'capture') {
      const last = this.captured.at(-1)
      if (last !== undefined && last.code === code && last.value === value) last.count += 1
      else this.captured.push({ code, value, count: 1 })
    }
    return value
  }

  #replay(code: number): PlainValue {
    const next = this.#replayed[this.#replayAt]
    if (next === undefined || next.code !== code) {
      this.#mismatch ??=
        next === undefined
          ? `${nameOf(code)} was called more often than on the leader`
          : `${nameOf(code)} was called where the leader called ${nameOf(next.code)}`
      throw new Error(this.#mismatch)
    }
    this.#replayCount += 1
    if (this.#replayCount >= next.count) {
      this.#replayAt += 1
      this.#replayCount = 0
    }
    return next.value
  }
}

const MOMENTS: Readonly<Record<string, string>> = {
  current_timestamp: 'datetime',
  current_date: 'date',
  current_time: 'time',
}

export function nameOf(code: number): string {
  return CAPTURED_FUNCTIONS.find((each) => each.code === code)?.name ?? `function ${code}`
}

/** Indexes of the arguments that are a time. */
function timeArguments(name: string): readonly number[] {
  if (name === 'timediff') return [0, 1]
  return name === 'strftime' ? [1] : [0]
}

/** Whether a date function looks at the clock or the time zone of this machine: 'now', no time at all, 'localtime', 'utc'. */
function askedOfMachine(name: string, values: readonly PlainValue[]): boolean {
  const times = timeArguments(name)
  const first = times[0] as number
  if (name !== 'timediff' && values.length <= first) return values.length === first
  for (let index = first; index < values.length; index += 1) {
    const word = wordOf(values[index] as PlainValue)
    if (word === undefined) continue
    if (times.includes(index) ? isNow(word) : word === 'localtime' || word === 'utc') return true
  }
  return false
}

/** The arguments, with the moment in the place of 'now'. */
function atMoment(name: string, values: readonly PlainValue[], moment: () => string): PlainValue[] {
  const replaced = [...values]
  for (const index of timeArguments(name)) {
    if (index >= replaced.length) {
      replaced.push(moment())
      continue
    }
    const word = wordOf(replaced[index] as PlainValue)
    if (word === undefined || !isNow(word)) continue
    replaced[index] = moment()
    // 'subsec' in the place of a time is 'now' with the modifier.
    if (word !== 'now' && name !== 'timediff') replaced.push('subsec')
  }
  return replaced
}

function isNow(word: string): boolean {
  return word === 'now' || word === 'subsec' || word === 'subsecond'
}

/** A short text in lower case as SQLite reads it: up to a NUL; a blob counts as text. */
function wordOf(value: PlainValue): string | undefined {
  if (typeof value === 'string') {
    if (value.length > 24) return undefined
    const end = value.indexOf('\0')
    return (end < 0 ? value : value.slice(0, end)).toLowerCase()
  }
  if (value instanceof Uint8Array && value.length < 24) return wordOf(Buffer.from(value).toString('latin1'))
  return undefined
}

/** Functions that were registered on the connection, by anyone. */
export function registeredFunctions(database: DatabaseSync): Set<string> {
  const rows = database.prepare('select name, narg as n from pragma_function_list where builtin = 0').all()
  return new Set(rows.map((row) => signature(String(row['name']).toLowerCase(), Number(row['n']))))
}

/** Signatures that overrides of ours answer for on this connection; `undefined` without any. */
export function registeredOverrides(database: DatabaseSync): ReadonlySet<string> | undefined {
  return askOverrides(database, registeredFunctions(database), 0)
}

function askOverrides(
  database: DatabaseSync,
  registered: ReadonlySet<string>,
  retires: 0 | 1,
): ReadonlySet<string> | undefined {
  if (!registered.has(signature(MARKER, 1))) return undefined
  const row = database.prepare(`select ${MARKER}(?) as signatures`).get(retires)
  return new Set(String(row?.['signatures']).split(' '))
}

/** Coarse and quick: whether a generated column, index or CHECK may use a date function. */
export function schemaMayHaveDates(database: DatabaseSync): boolean {
  return (
    database
      .prepare(
        `select 1 from main.sqlite_schema where type in ('table', 'index') and (sql like '%date%(%' or sql like '%time%(%'
        or sql like '%julianday%(%' or sql like '%unixepoch%(%') limit 1`,
      )
      .get() !== undefined
  )
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(Object.values(database.prepare(`pragma ${name}`).get() ?? {})[0])
}

function untrusted(): UnderstudyError {
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    'PRAGMA trusted_schema is off, so that no DEFAULT, trigger or view may call the functions that statements are captured ' +
      'and replayed with. Nothing was changed. Leave it on in setup(), or replicate rows instead of statements.',
    { pragma: 'trusted_schema' },
  )
}

/** As SQLite's own functions refuse it. */
function impure(name: string): Error {
  return Object.assign(
    new Error(
      `non-deterministic use of ${name}() in a generated column, an index or a CHECK constraint. Where the same statement ` +
        `also calls ${name}() elsewhere, the two cannot be told apart: give it the time as a parameter.`,
    ),
    { code: 'ERR_SQLITE_ERROR', errcode: 1 },
  )
}
