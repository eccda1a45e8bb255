/**
 * Log formats: how the effects of a group of writes become payloads, how payloads become effects again.
 *
 * `C` is the connection of the storage that the format works on: `SqliteConnection` for every SQLite format.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'

/** A log format; a value that may be shared by nodes, so it holds no state of its own. */
export interface LogFormat<C> {
  /** Stands in each record; never reused. row 1, statement 2, wal 3; 32768 and above are free for users. */
  readonly id: number
  readonly name: string
  /** Version of the payload; a node refuses payloads of a higher one. */
  readonly version: number
  /** Outside of a group. */
  recorder(connection: C): Recorder
  /**
   * Outside of a transaction, as the applier's `close`: some settings cannot change inside one (for rows: foreign
   * keys). Between the two the connection is the applier's, and no recorder of it begins a group.
   */
  applier(connection: C): Applier
  /** Decodes a payload for people and tools: plain data that JSON can carry (bigints as strings, blobs as hex). */
  describe?(payload: Uint8Array): unknown
  /**
   * Throws `DATABASE_UNSUITABLE` when a database cannot be replicated in this format as it stands, saying which table
   * and what to do. Called when a node adopts an existing database.
   */
  inspect?(connection: C): void
}

/**
 * Leader side: watches the writes of one group, which share one transaction of the storage.
 *
 * Order of calls: beginGroup, then for each write beginWrite, then endWrite or abandonWrite, then finishGroup or
 * abandonGroup. Everything is synchronous.
 */
export interface Recorder {
  beginGroup(): void
  beginWrite(): void
  /** The callback returned. A throw rolls this write back alone. Called before its savepoint is released. */
  endWrite(): void
  /** The write was rolled back to its savepoint. */
  abandonWrite(): void
  /**
   * Payloads of the group, one per record, before COMMIT; empty when nothing changed. The bytes are the caller's.
   * A throw rolls the whole group back.
   */
  finishGroup(): readonly Uint8Array[]
  /** The group was rolled back, by us or by SQLite. */
  abandonGroup(): void
  close(): void
}

/**
 * Follower side, the leader's own redo after a crash included. `apply` runs inside a transaction that the caller owns.
 */
export interface Applier {
  /** Makes the storage ready for applying (for rows: no triggers, no foreign-key actions). In a transaction of the caller. Idempotent. */
  prepare(): void
  /** Does to this storage what the payload's group did on the leader, exactly, or throws `DIVERGED`, `SCHEMA_MISMATCH`, `RECORD_CORRUPT`; the caller then rolls back and stops. */
  apply(payload: Uint8Array): void
  /** Undoes `prepare`: the storage is as the leader's was after the last applied record. In a transaction of the caller. Idempotent. */
  restore(): void
  close(): void
}

/** The writer connection of a SQLite storage, as formats see it. */
export interface SqliteConnection {
  readonly database: DatabaseSync
  /** Runs the project's own statements: the guard that refuses BEGIN, COMMIT, ATTACH … in users' callbacks is off meanwhile. */
  internal<T>(run: () => T): T
  /** Is told of every statement that a user's callback runs. At most one. */
  observer: StatementObserver | undefined
  /** Prefix of the project's own tables, which no format replicates: `_understudy_`. They have no PRIMARY KEY, so sessions do not see them. */
  readonly ownTablePrefix: string
}

export interface StatementObserver {
  /** Before the statement runs. A throw keeps it from running and fails the callback's call. */
  before(statement: StatementInfo): void
  /** After it ran without error. */
  after(statement: StatementInfo): void
}

/** One statement of a callback. `exec` with several statements reports each. */
export interface StatementInfo {
  /** The text of this statement alone. */
  readonly sql: string
  readonly parameters: readonly SQLInputValue[] | Readonly<Record<string, SQLInputValue>>
  /** What it can do, as SQLite's authorizer saw when it was prepared. */
  readonly effect: 'read' | 'rows' | 'schema' | 'pragma'
  /** Tables that it writes, by the authorizer (triggers included, foreign-key actions not). */
  readonly writes: ReadonlySet<string>
  /** For `pragma`: its name in lower case and its argument. */
  readonly pragma?: { readonly name: string; readonly argument: string | undefined }
}
