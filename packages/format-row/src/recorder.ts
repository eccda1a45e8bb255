/**
 * Leader side of the row format: what a group of writes did, as payloads.
 *
 * Decides: which statements cannot be carried, which kinds of change a payload must have beside its rows.
 * Leaves to others: sessions (`segments.ts`), bytes (`row-encoder.ts`, `payload.ts`), NULL keys (`null-keys.ts`).
 *
 * 1. Nothing else writes through the connection between `beginGroup` and `finishGroup`. Between groups an applier may,
 *    if it is prepared before and restored after: both change schema_version, which makes the recorder read anew.
 * 2. A session is open for the recorder's whole life (on a table that does not exist), because SQLite compiles
 *    `DELETE FROM t` to a truncation that no session sees when none is open at compile time.
 * 3. Values that a rollback can take back (counters, pragmas, triggers) are read at the end and compared with what the
 *    group began with, never collected on the way.
 * 4. Unapplied: no TEMP trigger is made or dropped, nothing is run that writes, no statement is refused; what a recorder
 *    in force would have refused is thrown at the end of the group. Rows with NULL in their key are not measured.
 */
import type { Session, StatementSync } from 'node:sqlite'
import type { Recorder, SqliteConnection, StatementInfo, StatementObserver } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import { registerNullKeyGuard, syncNullKeyTriggers } from './null-keys.ts'
import { encodePayload, writeSchemaStep, type Extras } from './payload.ts'
import { RowEncoder } from './row-encoder.ts'
import { readSchema, type Schema } from './schema.ts'
import { Segments, type Segment } from './segments.ts'
import { SideState } from './side-state.ts'
import { number } from './sql.ts'
import { refuseKeyless, refusePragma, Verdicts } from './statements.ts'
import { triggersAreSaved } from './triggers.ts'
import { ProtoWriter } from './wire.ts'

/** `group`: one payload for a group, its net change. `write`: one for each write, at a quarter of the speed. */
export type Boundaries = 'group' | 'write'

export class RowRecorder implements Recorder, StatementObserver {
  readonly #connection: SqliteConnection
  readonly #boundaries: Boundaries
  readonly #unapplied: boolean
  readonly #segments: Segments
  readonly #side: SideState
  readonly #encoder = new RowEncoder()
  readonly #steps = new ProtoWriter()
  readonly #guard: Session
  readonly #unobserve: () => void
  readonly #foreignKeys: number
  readonly #version: { get(): unknown }
  #verdicts: Verdicts
  #schema: Schema | undefined
  /** The schema with which the open group, or write, began. */
  #opening: Schema | undefined
  /** Main's schema objects before the schema change that is running: name → SQL. */
  #objects: Map<string, string> | undefined
  #syncedInGroup = false
  #writes = 0
  #payloads: Uint8Array[] = []
  #closed = false
  /** A statement that may write is running, or did not end well. */
  #running = false
  /** Something of the open group, or write, was undone: a key that it spelled otherwise may still be in the session. */
  #undone = false
  #totalChanges: StatementSync | undefined
  /** Rows changed on this connection when the open group, or write, began; `undefined` when no key can be spelled otherwise. */
  #changesAtOpen: number | undefined
  /** Unapplied: what would have been refused, in the open group and before the open write. */
  #refusal: unknown
  #refusalBefore: unknown

  constructor(connection: SqliteConnection, boundaries: Boundaries, unapplied: boolean = false) {
    const { database } = connection
    this.#connection = connection
    this.#boundaries = boundaries
    this.#unapplied = unapplied
    this.#segments = new Segments(database)
    this.#side = new SideState(database)
    this.#guard = database.createSession({ table: '_understudy_none' })
    const prepared = connection.internal(() => {
      if (!unapplied) registerNullKeyGuard(database)
      // A change of the TEMP schema makes SQLite compile every statement anew, now that a session is open.
      database.exec('create temp table _understudy_expire (x); drop table temp._understudy_expire')
      const version = database.prepare('pragma main.schema_version')
      version.setReturnArrays(true)
      return { version, foreignKeys: number(database, 'pragma foreign_keys') }
    })
    this.#version = prepared.version
    this.#foreignKeys = prepared.foreignKeys
    this.#verdicts = new Verdicts(undefined)
    connection.internal(() => this.#reload())
    this.#unobserve = connection.observe(this)
  }

  beginGroup(): void {
    this.#connection.internal(() => {
      if (this.#schema === undefined || this.#readVersion() !== this.#schema.version) {
        this.#checkMode()
        this.#side.forget()
        this.#reload()
        this.#syncedInGroup = true
      }
    })
    this.#payloads = []
    this.#refusal = undefined
    if (this.#boundaries === 'group') this.#open()
  }

  beginWrite(): void {
    this.#refusalBefore = this.#refusal
    if (this.#boundaries === 'write') this.#open()
    this.#segments.beginWrite()
  }

  endWrite(): void {
    this.#settleStatement()
    if (this.#segments.schemaTouched) this.#refusing(() => refuseKeyless(this.#current.keyless))
    this.#segments.endWrite()
    this.#writes += 1
    if (this.#boundaries === 'write') this.#finish()
  }

  abandonWrite(): void {
    this.#refusal = this.#refusalBefore
    this.#undone = true
    this.#running = false
    const touched = this.#segments.schemaTouched
    if (touched || this.#syncedInGroup) this.#connection.internal(() => this.#reload())
    this.#objects = undefined
    if (this.#boundaries === 'write') this.#segments.close()
    else if (touched)
      this.#connection.internal(() => this.#segments.abandonWrite(this.#current, !this.#unapplied))
  }

  finishGroup(): readonly Uint8Array[] {
    if (this.#refusal !== undefined) throw this.#refusal
    if (this.#boundaries === 'group') this.#finish()
    const payloads = this.#payloads
    this.#payloads = []
    this.#syncedInGroup = false
    return payloads
  }

  abandonGroup(): void {
    this.#segments.close()
    this.#side.forget()
    this.#payloads = []
    this.#objects = undefined
    // The schema may be an older one again, and TEMP triggers made in the group are gone.
    this.#schema = undefined
    this.#syncedInGroup = false
    this.#running = false
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#segments.close()
    this.#guard.close()
    this.#unobserve()
    if (!this.#unapplied)
      this.#connection.internal(() => syncNullKeyTriggers(this.#connection.database, undefined))
  }

  before(statement: StatementInfo): void {
    if (statement.effect === 'read') return
    this.#settleStatement()
    this.#running = true
    if (statement.effect === 'schema') {
      this.#connection.internal(() => {
        this.#side.touchAll(this.#current)
        this.#objects = this.#readObjects()
        this.#segments.beforeSchema(this.#current)
      })
      return
    }
    if (statement.effect === 'pragma') {
      if (this.#refusing(() => refusePragma(statement)) === true)
        this.#connection.internal(() => this.#side.touchPragmas())
      return
    }
    if (this.#refusing(() => this.#verdicts.judge(statement.writes)) === true)
      this.#connection.internal(() => this.#side.touchSequences())
    if (statement.writes.has('sqlite_stat1'))
      this.#connection.internal(() => this.#side.touchStatistics(this.#current))
    this.#segments.touch()
  }

  after(statement: StatementInfo): void {
    if (statement.effect !== 'read') this.#running = false
    if (statement.effect !== 'schema') return
    this.#connection.internal(() => {
      const before = this.#objects ?? new Map<string, string>()
      const after = this.#readObjects()
      this.#objects = undefined
      const changed = !sameObjects(before, after)
      if (changed || this.#readVersion() !== this.#current.version) this.#reload()
      const tables = [...after]
        .filter(([key]) => key.startsWith('table '))
        .map(([key, sql]) => [key.slice(6), sql] as const)
      this.#segments.afterSchema(
        changed ? statement.sql : undefined,
        this.#current,
        (table) => before.get(`table ${table}`) === after.get(`table ${table}`),
        tables,
      )
    })
    this.#refusing(() => refuseKeyless(this.#current.keyless))
  }

  /** Runs what may refuse a statement; unapplied, the refusal is kept and the answer is `undefined`. */
  #refusing<T>(judge: () => T): T | undefined {
    if (!this.#unapplied) return judge()
    try {
      return judge()
    } catch (error) {
      this.#refusal ??= error
      return undefined
    }
  }

  /** A statement that began and of which no end was told failed, and SQLite undid what it had done. */
  #settleStatement(): void {
    if (this.#running) this.#undone = true
    this.#running = false
  }

  get #current(): Schema {
    if (this.#schema === undefined) throw new TypeError('no group is open')
    return this.#schema
  }

  #open(): void {
    this.#segments.open()
    this.#opening = this.#current
    this.#writes = 0
    this.#undone = false
    this.#changesAtOpen = this.#current.hasSoftKeys ? this.#readChanges() : undefined
  }

  #finish(): void {
    const opening = this.#opening as Schema
    const segments = this.#segments.finish(this.#current)
    this.#encoder.begin()
    this.#steps.reset()
    for (const segment of segments) this.#encode(segment)
    const extras = this.#connection.internal(() =>
      this.#side.collect(
        this.#current,
        this.#encoder,
        segments.some((segment) => segment.kind === 'schema'),
        this.#knowsReplaced(),
      ),
    )
    if (this.#steps.length === 0 && isEmpty(extras)) return
    const head = { writes: this.#writes, changes: this.#encoder.changes, schema: opening.fingerprint }
    this.#payloads.push(encodePayload(head, this.#steps.bytes(), extras))
  }

  /**
   * Whether every row whose place an insert took is in the payload. An insert of a row that was there all along takes two
   * changes at least and shows as one; each other row of a payload takes one at least. Deletes spoil the count (REPLACE does
   * not count those that it makes), and so do virtual tables.
   */
  #knowsReplaced(): boolean {
    const { replaced, placeless, replacedUnknown, deletes, changes } = this.#encoder
    if (!replaced) return true
    if (replacedUnknown) return false
    if (!placeless) return true
    if (this.#undone || deletes > 0 || this.#current.hasVirtualTables || this.#changesAtOpen === undefined)
      return false
    return this.#readChanges() - this.#changesAtOpen <= changes
  }

  #readChanges(): number {
    return this.#connection.internal(() => {
      if (this.#totalChanges === undefined) {
        this.#totalChanges = this.#connection.database.prepare('select total_changes()')
        this.#totalChanges.setReturnArrays(true)
      }
      return Number((this.#totalChanges.get() as unknown as unknown[])[0])
    })
  }

  #encode(segment: Segment): void {
    if (segment.kind === 'rows') this.#encoder.encode(segment.changeset, segment.schema, this.#steps)
    else writeSchemaStep(this.#steps, segment.sql, segment.fingerprint)
  }

  #readVersion(): number {
    return Number((this.#version.get() as unknown[])[0])
  }

  #reload(): void {
    const { database, ownTablePrefix } = this.#connection
    this.#schema = readSchema(database, ownTablePrefix)
    this.#verdicts = new Verdicts(this.#schema)
    if (!this.#unapplied) syncNullKeyTriggers(database, this.#schema)
  }

  /** Everything of main that followers make by running the leader's SQL: not triggers, statistics, our own tables. */
  #readObjects(): Map<string, string> {
    const prefix = this.#connection.ownTablePrefix
    const rows = this.#connection.database
      .prepare(
        `select type || ' ' || name as key, coalesce(sql, tbl_name) as sql from main.sqlite_schema
        where type <> 'trigger' and name not like 'sqlite_stat%' and substr(name, 1, ?) <> ?`,
      )
      .all(prefix.length, prefix)
    return new Map(rows.map((row) => [String(row['key']), String(row['sql'])]))
  }

  /** A recorder must not run while the connection is set up for applying. */
  #checkMode(): void {
    const { database } = this.#connection
    const saved = triggersAreSaved(database)
    if (!saved && number(database, 'pragma foreign_keys') === this.#foreignKeys) return
    throw new UnderstudyError(
      'NOT_WRITTEN',
      'The connection is still set up for applying records (triggers or foreign keys are off), so nothing was written. ' +
        'Call restore() and close() of the applier before the node leads.',
      { triggersSaved: saved },
    )
  }
}

function sameObjects(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a.size !== b.size) return false
  for (const [key, sql] of a) if (b.get(key) !== sql) return false
  return true
}

function isEmpty(extras: Extras): boolean {
  return Object.values(extras).every((value) => value === undefined)
}
