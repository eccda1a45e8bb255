/**
 * Follower side of the row format: payloads to effects.
 *
 * Decides: in which order, and whether what happened is exactly what was asked. Leaves to others: bytes (`decode.ts`),
 * triggers (`triggers.ts`).
 *
 * 1. Between `prepare` and `restore` the database has no user triggers. Between construction and `close` the connection
 *    runs with foreign keys off, so that no action fires. A transaction cannot change that: construct and close outside
 *    of one, and record nothing meanwhile. SQLite's defensive mode is off only while a changeset is applied, so that
 *    shadow tables of FTS5 and R-Tree take rows; schema changes of a record run with it.
 * 2. A payload is decoded as a whole before the database is touched.
 * 3. Every row must be there as the leader had it, the schema must be the leader's, and the number of rows changed must
 *    be the number announced. Anything else throws; the caller rolls back.
 */
import { constants, type DatabaseSync, type StatementSync } from 'node:sqlite'
import { UnderstudyError, type Applier, type SqliteConnection } from '@understudy/contracts'
import { PayloadDecoder, type Plan, type RowsStep } from './decode.ts'
import { diverged, refused, schemaMismatch } from './divergence.ts'
import type { PlainValue, Sequences } from './payload.ts'
import type { DecodedTable } from './row-decoder.ts'
import { readSchema, type Schema } from './schema.ts'
import { number, plainRows, runWhole } from './sql.ts'
import { replaceSavedTriggers, restoreTriggers, saveTriggers, triggersAreSaved } from './triggers.ts'
import { cannotUndo, countersBefore, inverseOf, notUndoable } from './undo.ts'

// Missing in the types of Node 24.
const SQLITE_CHANGESET_CONSTRAINT = 4
const COUNTERS_SQL = 'select name, seq from main.sqlite_sequence order by rowid'
const { SQLITE_CHANGESET_ABORT, SQLITE_CHANGESET_REPLACE, SQLITE_CHANGESET_CONFLICT } = constants

export class RowApplier implements Applier {
  readonly #connection: SqliteConnection
  readonly #decoder = new PayloadDecoder()
  readonly #version: StatementSync
  readonly #totalChanges: StatementSync
  readonly #foreignKeys: boolean
  #setSequence: StatementSync | undefined
  #addSequence: StatementSync | undefined
  #schema: Schema | undefined
  #prepared = false
  #closed = false
  // Of the changeset that is being applied:
  #conflict = 0
  #replaced = 0

  constructor(connection: SqliteConnection) {
    const { database } = connection
    if (database.isTransaction) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'The applier of the row format was made inside a transaction, where SQLite ignores "PRAGMA foreign_keys". ' +
          'Nothing was changed. Make it before the transaction begins.',
      )
    }
    this.#connection = connection
    const { foreignKeys, version, totalChanges } = connection.internal(() => {
      const foreignKeys = number(database, 'pragma foreign_keys') === 1
      database.exec('pragma foreign_keys = off')
      return {
        foreignKeys,
        version: database.prepare('pragma main.schema_version'),
        totalChanges: database.prepare('select total_changes()'),
      }
    })
    this.#foreignKeys = foreignKeys
    this.#version = version
    this.#version.setReturnArrays(true)
    this.#totalChanges = totalChanges
    this.#totalChanges.setReturnArrays(true)
  }

  prepare(): void {
    this.#connection.internal(() => saveTriggers(this.#connection.database))
    this.#prepared = true
  }

  restore(): void {
    this.#prepared = false
    this.#connection.internal(() => {
      const { database } = this.#connection
      restoreTriggers(database)
      // FTS5 keeps the structure of its index in memory and looks for changes by other connections only. Reading the
      // schema anew makes it start afresh.
      database.exec('pragma writable_schema = reset')
    })
  }

  undo(payload: Uint8Array): void {
    const plan = this.#decoder.decode(payload)
    const why = cannotUndo(plan)
    if (why !== undefined) throw notUndoable(why)
    this.#connection.internal(() => this.#undo(plan))
  }

  apply(payload: Uint8Array): void {
    const plan = this.#decoder.decode(payload)
    this.#connection.internal(() => this.#run(plan))
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    const { database } = this.#connection
    if (!database.isOpen) return
    if (!this.#foreignKeys) return
    this.#connection.internal(() => database.exec('pragma foreign_keys = on'))
  }

  #run(plan: Plan): void {
    const { database } = this.#connection
    if (!this.#prepared) this.#checkPrepared()
    this.#checkSchema(plan.schema)
    for (const step of plan.steps) {
      if (step.kind === 'rows') {
        this.#applyRows(step)
        continue
      }
      const own = ownObjects(database, this.#connection.ownTablePrefix)
      runWhole(database, step.sql, 'a schema change failed that succeeded on the leader')
      if (ownObjects(database, this.#connection.ownTablePrefix) !== own) {
        throw diverged('a schema change touches a table of this node itself', { sql: step.sql })
      }
      this.#checkSchema(step.fingerprint)
    }
    if (plan.sequences !== undefined) this.#applySequences(plan.sequences)
    if (plan.userVersion !== undefined) database.exec(`pragma main.user_version = ${plan.userVersion}`)
    if (plan.applicationId !== undefined) database.exec(`pragma main.application_id = ${plan.applicationId}`)
    if (plan.statistics !== undefined) this.#applyStatistics(plan.statistics)
    if (plan.triggers !== undefined) replaceSavedTriggers(database, plan.triggers)
  }

  #undo(plan: Plan): void {
    const { database } = this.#connection
    const { sequences, userVersion, applicationId, statistics, before } = plan
    if (!this.#prepared) this.#checkPrepared()
    this.#checkSchema(plan.schema)
    const hasCounters = (this.#schema as Schema).counted.has('sqlite_sequence')
    const counters = hasCounters ? plainRows(database, COUNTERS_SQL) : []
    for (const step of plan.steps.toReversed()) if (step.kind === 'rows') this.#undoRows(step)
    // Rows that came back may have moved them as well.
    if (hasCounters) {
      const due = countersBefore(counters, sequences, before?.sequences ?? [])
      if (!sameCounters(plainRows(database, COUNTERS_SQL), due))
        this.#applySequences({
          all: true,
          sequences: due.map(([name, value]) => ({ name: name ?? null, value: value ?? null })),
        })
    }
    if (userVersion !== undefined) database.exec(`pragma main.user_version = ${before?.userVersion}`)
    if (applicationId !== undefined) database.exec(`pragma main.application_id = ${before?.applicationId}`)
    if (statistics !== undefined) this.#applyStatistics(before?.statistics ?? [])
  }

  #undoRows(step: RowsStep): void {
    for (const table of step.tables) this.#checkTable(table)
    const { changeset, changes, updates } = inverseOf(step)
    const before = this.#changesSoFar()
    this.#applyChangeset(step, changeset, this.#onStrict)
    const actual = this.#changesSoFar() - before
    if (actual < changes || actual > changes + updates)
      throw diverged(`${actual} rows changed instead of ${changes}`, { expected: changes, actual })
  }

  #applyRows(step: RowsStep): void {
    const before = this.#changesSoFar()
    this.#replaced = 0
    let expected = 0
    let updates = 0
    for (const table of step.tables) {
      this.#checkTable(table)
      expected += table.deletes + table.updates + table.inserts
      // SQLite resolves a cycle of updates on a UNIQUE column by deleting a row for a while: one change more for each.
      if (table.updates > 1) updates += table.updates
    }
    if (step.strict.length > 0) this.#applyChangeset(step, step.strict, this.#onStrict)
    if (step.replacing.length > 0) this.#applyChangeset(step, step.replacing, this.#onReplacing)
    const actual = this.#changesSoFar() - before - this.#replaced
    if (actual < expected || actual > expected + updates) {
      throw diverged(`${actual} rows changed instead of ${expected}`, { expected, actual })
    }
  }

  #applyChangeset(step: RowsStep, changeset: Uint8Array, onConflict: (type: number) => number): void {
    this.#conflict = 0
    let applied = false
    let cause: unknown
    const { database } = this.#connection
    database.enableDefensive(false)
    try {
      applied = database.applyChangeset(changeset, { onConflict })
    } catch (error) {
      cause = error
    } finally {
      database.enableDefensive(true)
    }
    if (applied && this.#conflict === 0) return
    throw refused(conflictText(this.#conflict), cause, {
      conflict: this.#conflict,
      tables: step.tables.map((table) => table.name),
    })
  }

  readonly #onStrict = (type: number): number => {
    this.#conflict = type
    return SQLITE_CHANGESET_ABORT
  }

  readonly #onReplacing = (type: number): number => {
    if (type !== SQLITE_CHANGESET_CONFLICT) return this.#onStrict(type)
    this.#replaced += 1
    return SQLITE_CHANGESET_REPLACE
  }

  #applySequences({ all, sequences }: Sequences): void {
    const { database } = this.#connection
    if (all) {
      database.exec('delete from main.sqlite_sequence')
      for (const { name, value } of sequences) {
        database.prepare('insert into main.sqlite_sequence (name, seq) values (?, ?)').run(name, value)
      }
      return
    }
    this.#setSequence ??= database.prepare('update main.sqlite_sequence set seq = ? where name = ?')
    for (const { name, value } of sequences) {
      if (this.#setSequence.run(value, name).changes !== 0) continue
      this.#addSequence ??= database.prepare('insert into main.sqlite_sequence (seq, name) values (?, ?)')
      this.#addSequence.run(value, name)
    }
  }

  #applyStatistics(rows: readonly (readonly PlainValue[])[]): void {
    const { database } = this.#connection
    // Makes the table where it is missing, and analyses nothing.
    database.exec('analyze main.sqlite_schema')
    database.exec(`delete from main.sqlite_stat1 where substr(tbl, 1, 12) <> '_understudy_'`)
    const insert = database.prepare('insert into main.sqlite_stat1 (tbl, idx, stat) values (?, ?, ?)')
    for (const row of rows) insert.run(...row)
    database.exec('analyze main.sqlite_schema')
  }

  #checkSchema(expected: Uint8Array): void {
    const { database, ownTablePrefix } = this.#connection
    const version = Number((this.#version.get() as unknown as unknown[])[0])
    if (this.#schema === undefined || this.#schema.version !== version) {
      this.#schema = readSchema(database, ownTablePrefix)
    }
    const { fingerprint } = this.#schema
    for (let index = 0; index < 8; index += 1) {
      if (fingerprint[index] !== expected[index]) throw schemaMismatch(fingerprint, expected)
    }
  }

  /** SQLite takes values by position: names that stand elsewhere in the record would put them into other columns. */
  #checkTable({ name, columns, key }: DecodedTable): void {
    const known = this.#schema?.tables.get(name)
    if (known !== undefined && sameList(known.columns, columns) && sameList(known.key, key)) return
    throw diverged(`it names other columns or another key of table ${name} than this database has`, {
      table: name,
    })
  }

  #checkPrepared(): void {
    const { database } = this.#connection
    if (!triggersAreSaved(database)) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        'A row record was to be applied to a database whose triggers are in place; nothing was applied. Call prepare() first.',
      )
    }
    this.#prepared = true
  }

  #changesSoFar(): number {
    return Number((this.#totalChanges.get() as unknown as unknown[])[0])
  }
}

/** What no fingerprint covers: the tables that each node keeps for itself. */
function ownObjects(database: DatabaseSync, prefix: string): string {
  const rows = database
    .prepare(
      'select name, sql from main.sqlite_schema where lower(substr(tbl_name, 1, ?)) = ? order by rowid',
    )
    .all(prefix.length, prefix)
  return JSON.stringify(rows)
}

function sameCounters(a: readonly (readonly PlainValue[])[], b: readonly (readonly PlainValue[])[]): boolean {
  return a.length === b.length && a.every((row, index) => sameList(row, b[index] ?? []))
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index])
}

function conflictText(type: number): string {
  switch (type) {
    case constants.SQLITE_CHANGESET_DATA:
      return 'a row to update or delete has other values here'
    case constants.SQLITE_CHANGESET_NOTFOUND:
      return 'a row to update or delete does not exist here'
    case constants.SQLITE_CHANGESET_CONFLICT:
      return 'a row to insert exists here already'
    case SQLITE_CHANGESET_CONSTRAINT:
      return 'a row breaks a constraint here that it kept on the leader'
    case constants.SQLITE_CHANGESET_FOREIGN_KEY:
      return 'a foreign key is violated here'
    default:
      return 'the database refused the changes'
  }
}
