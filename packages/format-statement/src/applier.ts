/**
 * Follower side of the statement format, the leader's own redo included: a payload's statements run again.
 *
 * Decides: whether what happened is what the leader did. Leaves to others: bytes (`payload.ts`), functions
 * (`overrides.ts`), digests (`tripwire.ts`).
 *
 * 1. Triggers fire and foreign keys act, as on the leader: their effects are not in the payload.
 * 2. A payload is decoded as a whole, and each text looked at, before the database is touched: only statements that a
 *    recorder writes down are run, nothing that ends the transaction, reaches another file or our own tables. What no text
 *    shows, the connection's guard refuses: they run as the callback did that ran them on the leader.
 * 3. Each statement must succeed, change as many rows and call the same functions as on the leader, and the digest of
 *    all changes must be the leader's. Anything else throws; the caller rolls back.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { UnderstudyError, type Applier, type SqliteConnection } from '@understudy/contracts'
import { corrupt } from './bytes.ts'
import { arrays, first, flush, reloadStatistics } from './connection.ts'
import { Dictionary } from './dictionary.ts'
import {
  differingTables,
  diverged,
  isConstraint,
  refused,
  type DivergedTable,
  type DivergenceReport,
} from './divergence.ts'
import { CAPTURED_FUNCTIONS } from './functions.ts'
import { verbOf, words } from './lexer.ts'
import { Overrides } from './overrides.ts'
import {
  decodePayload,
  DIGEST_NONE,
  type Plan,
  type PlannedStatement,
  type TableDigest,
  type TextEntry,
} from './payload.ts'
import { Settings, differingSettings } from './settings.ts'
import { Tripwire } from './tripwire.ts'
import { SCHEMA_VERBS, verdictByWords } from './verdicts.ts'

const STATEMENTS_MAX = 256

/** Functions of the connection, which are replayed where the leader captured them. */
const COUNTERS: ReadonlySet<string> = new Set(
  CAPTURED_FUNCTIONS.filter(({ kind }) => kind === 'connection').map(({ name }) => name),
)
const NO_COUNTERS: ReadonlySet<string> = new Set()
const COUNTER_CODES: ReadonlySet<number> = new Set(
  CAPTURED_FUNCTIONS.filter(({ kind }) => kind === 'connection').map(({ code }) => code),
)

/** Statements that a payload may hold, by their first word. */
const RUNNABLE: ReadonlySet<string> = new Set([
  'alter',
  'analyze',
  'create',
  'delete',
  'drop',
  'insert',
  'pragma',
  'replace',
  'update',
])

/** What must be known of a text to run it. */
interface Prepared {
  readonly statement: StatementSync
  readonly counts: boolean
  readonly reloads: boolean
  readonly defers: boolean
  readonly cuts: boolean
}

export class StatementApplier implements Applier {
  readonly #connection: SqliteConnection
  readonly #onDivergence: ((report: DivergenceReport) => void) | undefined
  readonly #overrides: Overrides
  readonly #dictionary: Dictionary
  readonly #tripwire: Tripwire
  readonly #totalChanges: StatementSync
  readonly #settings: Settings
  readonly #prepared = new Map<string, Prepared>()
  #total = 0
  #defers = false
  #closed = false

  constructor(connection: SqliteConnection, onDivergence: ((report: DivergenceReport) => void) | undefined) {
    const { database, ownTablePrefix } = connection
    this.#connection = connection
    this.#onDivergence = onDivergence
    this.#tripwire = new Tripwire(database, ownTablePrefix)
    this.#overrides = new Overrides(connection)
    this.#dictionary = new Dictionary(connection)
    try {
      this.#overrides.install()
    } catch (error) {
      this.#tripwire.close()
      throw error
    }
    const { totalChanges, settings } = connection.internal(() => ({
      totalChanges: arrays(database, 'select total_changes()'),
      settings: new Settings(database),
    }))
    this.#totalChanges = totalChanges
    this.#settings = settings
  }

  prepare(): void {
    // Statements run on the database as it is.
  }

  restore(): void {
    // Nothing was changed that would have to be put back.
  }

  apply(payload: Uint8Array): void {
    const plan = decodePayload(payload)
    const { database } = this.#connection
    if (!database.isTransaction) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'A statement record was to be applied outside of a transaction; nothing was applied. Begin one first.',
      )
    }
    this.#connection.internal(() => {
      if (!this.#overrides.current) {
        this.#overrides.install()
        this.#dictionary.forget()
      }
      this.#overrides.engage()
      const running: { texts: readonly string[] } = { texts: [] }
      try {
        this.#dictionary.sync()
        running.texts = this.#texts(plan.texts)
        this.#run(plan, running.texts)
      } catch (error) {
        this.#tripwire.drop()
        this.#dictionary.forget()
        this.#report(error, plan, running.texts, [])
        throw error
      } finally {
        this.#overrides.release()
      }
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#prepared.clear()
    this.#tripwire.close()
    this.#overrides.release()
  }

  /** The texts of a payload, each looked at; new ones go into the dictionary. */
  #texts(entries: readonly TextEntry[]): string[] {
    const dictionary = this.#dictionary
    const texts = entries.map(({ number, text }, index) => {
      const known = number === 0 ? undefined : dictionary.textOf(number)
      if (text === undefined) {
        if (known === undefined)
          throw diverged(`it refers to text ${number}, which is not in the dictionary here`)
        return known
      }
      if (known !== undefined && known !== text) throw diverged(`text ${number} is another one here`)
      if (number > 0 && known === undefined) {
        const isNew = entries.slice(0, index).filter((each) => each.number > dictionary.highest).length
        if (number !== dictionary.highest + 1 + isNew) {
          throw diverged(`text ${number} does not follow the last one here, ${dictionary.highest}`)
        }
      }
      return text
    })
    for (const text of texts)
      if (!this.#prepared.has(text)) checkRunnable(text, this.#connection.ownTablePrefix)
    return texts
  }

  #run(plan: Plan, texts: readonly string[]): void {
    const { database } = this.#connection
    const settings = differingSettings(this.#settings.read(), plan.settings)
    if (settings.length > 0) {
      throw diverged(`PRAGMA ${settings.join(' and ')} is set otherwise here than on the leader`, {
        settings,
      })
    }
    if (plan.digest.kind !== DIGEST_NONE) this.#tripwire.open()
    this.#total = this.#changesSoFar()
    for (const write of plan.writes) {
      if (plan.flushes) this.#flush()
      for (const statement of write) {
        if (statement.text < 0) this.#flush()
        else this.#statement(statement, texts[statement.text] as string, plan.flushes)
      }
      this.#tripwire.endWrite()
      if (this.#defers) {
        this.#defers = false
        database.exec('pragma defer_foreign_keys = 0')
      }
    }
    if (plan.flushes) flush(this.#connection)
    const own = this.#tripwire.take(plan.digest.kind)
    if (plan.digest.kind !== DIGEST_NONE) this.#compare(plan, texts, own.kind, own.tables)
    this.#tripwire.drop()
    for (const { number, text } of plan.texts) {
      if (number > this.#dictionary.highest && text !== undefined) this.#dictionary.define(text)
    }
  }

  #flush(): void {
    flush(this.#connection)
    this.#total = this.#changesSoFar()
  }

  #statement(planned: PlannedStatement, text: string, flushes: boolean): void {
    const { captured, parameters, changes } = planned
    let prepared: Prepared
    try {
      prepared = this.#connection.guarded(() => this.#prepare(text))
    } catch (cause) {
      throw refused('a statement cannot be compiled here', cause)
    }
    if (prepared.cuts) {
      if (flushes) this.#flush()
      this.#tripwire.beforeSchema()
    }
    const reached = captured.some(({ code }) => COUNTER_CODES.has(code)) ? COUNTERS : NO_COUNTERS
    this.#overrides.replays(captured, reached)
    let cause: unknown
    const { statement } = prepared
    try {
      // SQLite compiles it anew after a schema change, and asks the guard again.
      this.#connection.guarded(() =>
        Array.isArray(parameters)
          ? statement.run(...(parameters as SQLInputValue[]))
          : statement.run(parameters as Record<string, SQLInputValue>),
      )
    } catch (error) {
      cause = error
    }
    const mismatch = this.#overrides.replayMismatch()
    this.#overrides.statementEnds()
    if (cause !== undefined && !(planned.fails && isConstraint(cause))) {
      throw mismatch !== undefined && cause instanceof Error && cause.message === mismatch
        ? diverged(mismatch, { cause })
        : refused('a statement failed that succeeded on the leader', cause)
    }
    if (cause === undefined && planned.fails)
      throw diverged('a statement succeeded that failed on the leader')
    if (mismatch !== undefined) throw diverged(mismatch)
    if (!this.#connection.database.isTransaction) throw diverged('a statement ended the transaction')
    if (prepared.cuts) this.#tripwire.afterSchema(true)
    if (prepared.defers) this.#defers = true
    const total = this.#changesSoFar()
    const actual = total - this.#total
    this.#total = total
    if (prepared.counts && actual !== changes) {
      throw diverged(`a statement changed ${actual} rows instead of ${changes}`, {
        expected: changes,
        actual,
      })
    }
    if (!prepared.reloads) return
    reloadStatistics(this.#connection)
    this.#total = this.#changesSoFar()
  }

  #prepare(text: string): Prepared {
    const known = this.#prepared.get(text)
    if (known !== undefined) return known
    const list = words(text)
    const verb = verbOf(list)
    const statement = this.#connection.database.prepare(text)
    if (statement.sourceSQL.length !== text.length) {
      const rest = words(text.slice(statement.sourceSQL.length))
      if (rest.length > 0) throw new Error('the text holds more than one statement')
    }
    const prepared = {
      statement,
      counts: verb !== 'analyze' && verb !== 'pragma',
      reloads: verb !== 'drop' && list.some((word) => /^sqlite_stat\d$/.test(word.text)),
      cuts: SCHEMA_VERBS.has(verb),
      defers: verb === 'pragma' && list.some((word) => word.text === 'defer_foreign_keys'),
    }
    if (this.#prepared.size >= STATEMENTS_MAX) {
      const [oldest] = this.#prepared.keys()
      if (oldest !== undefined) this.#prepared.delete(oldest)
    }
    this.#prepared.set(text, prepared)
    return prepared
  }

  #compare(plan: Plan, texts: readonly string[], kind: number, own: readonly TableDigest[]): void {
    const { tables } = plan.digest
    const isSame =
      kind === plan.digest.kind &&
      own.length === tables.length &&
      own.every(({ table, rows, crc }, index) => {
        const theirs = tables[index] as TableDigest
        return theirs.table === table && theirs.rows === rows && theirs.crc === crc
      })
    if (isSame) return
    if (kind !== plan.digest.kind)
      throw diverged('the rows that it changed cannot be compared with those of the leader')
    const differing = differingTables(tables, own, this.#tripwire.changesets)
    const names = differing.map(({ table }) => table)
    const error = diverged(`it did not do the same to the rows of ${names.join(', ')} as on the leader`, {
      tables: names,
      rows: differing.map(({ table, leaderRows, ownRows }) => ({ table, leaderRows, ownRows })),
    })
    this.#report(error, plan, texts, differing)
    throw error
  }

  /** Tells of a divergence, once. */
  #report(error: unknown, plan: Plan, texts: readonly string[], tables: readonly DivergedTable[]): void {
    if (!(error instanceof UnderstudyError) || error.code !== 'DIVERGED') return
    if (tables.length === 0 && error.details['tables'] !== undefined) return
    const statements = plan.writes.flat().slice(0, 100)
    this.#onDivergence?.({
      message: error.message,
      statements: statements.map(({ text }) => texts[text] ?? ''),
      tables,
    })
  }

  #changesSoFar(): number {
    return first(this.#totalChanges)
  }
}

/** Throws `RECORD_CORRUPT` for a text that no recorder writes down. */
function checkRunnable(text: string, ownPrefix: string): void {
  const list = words(text)
  const verb = verbOf(list)
  const verdict = verdictByWords(list, verb, ownPrefix)
  // A name may stand in single quotes too, and the guard is not told what ALTER TABLE renames a table to.
  const renames = verb === 'alter' && text.toLowerCase().includes(ownPrefix)
  if (renames || !RUNNABLE.has(verb) || (verdict !== undefined && verdict.verdict !== 'safe')) {
    throw corrupt(`it holds a statement that records do not hold (${verb.slice(0, 20)})`)
  }
}
