/**
 * The row changes and schema changes of one group, in order: sessions, cut at each schema change.
 *
 * Decides: when a session begins and ends, what survives a write that is rolled back.
 *
 * 1. A session reports net changes against the database as it is when asked, so rows of a write that was rolled back
 *    drop out by themselves, as long as no schema change lies between.
 * 2. A schema change ends the session before it. Rows that it changes itself (foreign-key actions of DROP TABLE, and
 *    triggers that these fire) are recorded by a session for each other table; whatever else it does to rows, the
 *    follower's own run of it does too.
 * 3. When the write with the schema change is rolled back, what earlier writes of the group did must remain. If this
 *    write had changed no rows before, the cut has exactly that. Otherwise the session from before the cut is kept
 *    (`parked`) and asked again after the rollback.
 * 4. A parked session goes on recording, and cannot answer when a table it saw is gone or has fewer columns than it
 *    saw. So the tables are made as it saw them inside a savepoint that is undone; columns too many are cut off again.
 *    Where a name came back for another table its answer would be wrong, and the group fails (`#reborn`).
 */
import type { DatabaseSync, Session } from 'node:sqlite'
import { UnderstudyError } from '@understudy/contracts'
import { decodeChangesetRaw, encodeChangeset, type Change, type RawValue } from '@understudy/changeset'
import { quote } from './sql.ts'
import type { Schema } from './schema.ts'

export type Segment =
  | { readonly kind: 'rows'; readonly changeset: Uint8Array; readonly schema: Schema }
  | { readonly kind: 'schema'; readonly sql: string; readonly fingerprint: Uint8Array }

/** Tables with the SQL that makes them, at their widest, as a parked session may have seen them. */
type SeenTables = Map<string, { readonly sql: string; readonly columns: number }>

export class Segments {
  readonly #database: DatabaseSync
  #session: Session | undefined
  #segments: Segment[] = []
  /** Sessions for single tables while a schema change runs. */
  #single: { readonly table: string; readonly session: Session }[] = []
  // Of the write that is running:
  #mark = 0
  #parked: Session | undefined
  #parkedSchema: Schema | undefined
  #seen: SeenTables = new Map()
  /** Tables known to the parked session that the write took away; whether one of their names came back. */
  readonly #vanished = new Set<string>()
  #reborn = false
  #touched = false
  #cut = false
  #writesBefore = 0
  /** Why the group cannot be recorded any more; told at its end. */
  #failure: unknown

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Whether the running write changed the schema, or tried to. */
  get schemaTouched(): boolean {
    return this.#cut
  }

  open(): void {
    this.close()
    this.#session = this.#database.createSession()
  }

  beginWrite(): void {
    this.#mark = this.#segments.length
    this.#touched = false
    this.#cut = false
    if (this.#seen.size > 0) this.#seen = new Map()
  }

  /** A statement of the write may change rows. */
  touch(): void {
    this.#touched = true
  }

  endWrite(): void {
    this.#closeSingle()
    this.#closeParked()
    this.#writesBefore += 1
  }

  /** Before a schema change. `schema` is what holds until then. */
  beforeSchema(schema: Schema): void {
    this.#closeSingle()
    const session = this.#session
    if (session === undefined) return
    const changeset = changesetOf(session)
    const parks = !this.#cut && this.#touched && this.#writesBefore > 0
    if (changeset.length > 0) this.#segments.push({ kind: 'rows', changeset, schema })
    if (!this.#cut && !this.#touched) this.#mark = this.#segments.length
    if (parks) {
      this.#parked = session
      this.#parkedSchema = schema
    } else {
      session.close()
    }
    this.#cut = true
    this.#session = this.#database.createSession()
    if (!schema.hasForeignKeys) return
    for (const table of schema.tables.keys()) {
      this.#single.push({ table, session: this.#database.createSession({ table }) })
    }
  }

  /**
   * After a schema change. `sql` is `undefined` when it changed nothing that followers must do. `unchanged` tells
   * whether a table is what it was before: only such a table's rows can have been changed by actions.
   */
  afterSchema(
    sql: string | undefined,
    schema: Schema,
    unchanged: (table: string) => boolean,
    tables: Iterable<readonly [string, string]>,
  ): void {
    this.#session?.close()
    if (sql !== undefined) this.#segments.push({ kind: 'schema', sql, fingerprint: schema.fingerprint })
    for (const { table, session } of this.#single) {
      if (!unchanged(table)) continue
      const changeset = changesetOf(session)
      if (changeset.length > 0) this.#segments.push({ kind: 'rows', changeset, schema })
    }
    this.#closeSingle()
    this.#session = this.#database.createSession()
    if (this.#parkedSchema === undefined) return
    for (const name of this.#parkedSchema.tables.keys()) {
      if (!schema.tables.has(name)) this.#vanished.add(name)
      else if (this.#vanished.has(name)) this.#reborn = true
    }
    for (const [name, create] of tables) {
      const columns = schema.tables.get(name)?.columns.length
      // Tables of SQLite itself come and go with ours.
      if (columns === undefined) continue
      const seen = this.#seen.get(name)
      if (seen === undefined || columns >= seen.columns) this.#seen.set(name, { sql: create, columns })
    }
  }

  /** The write was rolled back; `schema` is what holds now. Without `revives` no SQL is run, and a group that needs it fails. */
  abandonWrite(schema: Schema, revives: boolean): void {
    if (!this.#cut) return
    this.#closeSingle()
    this.#session?.close()
    this.#session = undefined
    this.#segments.length = this.#mark
    const parked = this.#parked
    if (parked !== undefined) {
      try {
        if (this.#reborn || !revives) throw unrecordable(undefined)
        const changeset = this.#revive(parked, schema)
        if (changeset.length > 0) this.#segments.push({ kind: 'rows', changeset, schema })
      } catch (error) {
        this.#failure = error
      }
    }
    this.#closeParked()
    this.#cut = false
    this.#session = this.#database.createSession()
  }

  /** The segments of the group; the sessions end. */
  finish(schema: Schema): readonly Segment[] {
    if (this.#failure !== undefined) throw this.#failure
    const session = this.#session
    const segments = this.#segments
    this.#segments = []
    if (session !== undefined) {
      const changeset = changesetOf(session)
      if (changeset.length > 0) segments.push({ kind: 'rows', changeset, schema })
    }
    this.close()
    return segments
  }

  /** Ends every session and forgets what was recorded. */
  close(): void {
    this.#closeSingle()
    this.#closeParked()
    this.#session?.close()
    this.#session = undefined
    this.#segments = []
    this.#mark = 0
    this.#touched = false
    this.#cut = false
    this.#writesBefore = 0
    this.#failure = undefined
  }

  #revive(parked: Session, schema: Schema): Uint8Array {
    this.#database.exec('savepoint _understudy_revive')
    try {
      for (const [name, { sql, columns }] of this.#seen) {
        const present = schema.tables.get(name)
        if (present === undefined) {
          this.#database.exec(sql)
          continue
        }
        for (let extra = present.columns.length; extra < columns; extra += 1) {
          this.#database.exec(`alter table main.${quote(name)} add column _understudy_extra_${extra}`)
        }
      }
      return trimmed(changesetOf(parked), schema)
    } finally {
      this.#database.exec('rollback to _understudy_revive; release _understudy_revive')
    }
  }

  #closeSingle(): void {
    for (const { session } of this.#single) session.close()
    this.#single = []
  }

  #closeParked(): void {
    this.#parked?.close()
    this.#parked = undefined
    this.#parkedSchema = undefined
    this.#vanished.clear()
    this.#reborn = false
  }
}

/** The part of a changeset that belongs to tables of `schema`, without columns that they do not have, and changes of those alone. */
function trimmed(changeset: Uint8Array, schema: Schema): Uint8Array {
  const changes: Change<RawValue>[] = []
  for (const change of decodeChangesetRaw(changeset)) {
    const columns = schema.tables.get(change.table)?.columns.length
    if (columns === undefined) continue
    const { key, operation } = change
    const before = change.before.slice(0, columns)
    const after = change.after.slice(0, columns)
    if (operation === 'update' && after.every((value) => value === undefined)) continue
    changes.push({ ...change, key: key.slice(0, columns), before, after })
  }
  return encodeChangeset(changes)
}

function changesetOf(session: Session): Uint8Array {
  try {
    return session.changeset()
  } catch (cause) {
    throw unrecordable(cause)
  }
}

function unrecordable(cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'The row changes of a group could not be taken from its session, so the group was rolled back and nothing was ' +
      'logged. Write again; put a schema change first in its write, or into a write of its own.',
    { cause },
  )
}
