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
  /**
   * Payloads hold pages of the file, not effects: they are taken after COMMIT (see `Recorder`), applied only to a file
   * that is the leader's page by page (`Storage.physical`), and never share a transaction of the storage with payloads of
   * another kind. Default false.
   */
  readonly physical?: boolean
  /** Outside of a group. */
  recorder(connection: C, options?: RecorderOptions): Recorder
  /**
   * Outside of a transaction, as the applier's `close`: some settings cannot change inside one (for rows: foreign
   * keys). Between the two the connection is the applier's, and no recorder of it begins a group.
   */
  applier(connection: C): Applier
  /**
   * Why what a payload did cannot be undone from the payload alone, in a few words, so that a node has to be made equal page
   * by page; `undefined` when `Applier.undo` can. Throws what `apply` throws for a payload that is none. Default: no payload of this format can be undone.
   */
  needsPages?(payload: Uint8Array): string | undefined
  /** Decodes a payload for people and tools: plain data that JSON can carry (bigints as strings, blobs as hex). */
  describe?(payload: Uint8Array): unknown
  /**
   * Throws `DATABASE_UNSUITABLE` when a database cannot be replicated in this format as it stands, saying which table
   * and what to do. Called when a node adopts an existing database.
   */
  inspect?(connection: C): void
  /**
   * What a peer must share with the leader so that it can apply this format's payloads: short text for people, at most
   * 200 bytes. Peers exchange it in the handshake. Default: nothing to share.
   */
  fingerprint?(connection: C): string
  /** Leader: why a peer with the fingerprint `theirs` cannot apply what this node writes; `undefined` when it can. Default: it can when the texts are equal. */
  accepts?(own: string, theirs: string): string | undefined
}

export interface RecorderOptions {
  /**
   * Payloads are only measured, beside another recorder on the same connection: this one leaves no trace in the database
   * and refuses no statement. What it cannot carry it keeps until `finishGroup`, which throws it. Default false.
   */
  readonly unapplied?: boolean
}

/**
 * Leader side: watches the writes of one group, which share one transaction of the storage.
 *
 * Order of calls: beginGroup, then for each write beginWrite, then endWrite or abandonWrite, then finishGroup or
 * abandonGroup. Everything is synchronous.
 *
 * A physical format is asked `changed` before COMMIT, and finishGroup comes after it: the storage is ahead of the log by
 * that one transaction until the record is there. abandonGroup then comes for a group that was rolled back, only.
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
   * A throw rolls the whole group back. Physical: after COMMIT; empty when it cannot be told which pages changed, or they
   * are too many: only a base helps then.
   */
  finishGroup(): readonly Uint8Array[]
  /** Format id of what `finishGroup` returned last, when it is another than the recorder's own (a group that was escalated to rows). */
  readonly finishedFormat?: number | undefined
  /** The group was rolled back, by us or by SQLite. */
  abandonGroup(): void
  /** Physical: whether the open transaction may have changed anything, asked before COMMIT. */
  changed?(): boolean
  /**
   * Physical: the payload of a base, which says "from here on the file as a whole counts": a follower makes its own file
   * equal by a delta of pages before it applies anything above. The caller makes the storage durable before it logs one.
   */
  base?(): Uint8Array
  /** Physical, after a crash between COMMIT and append: payloads of the one transaction that the storage is ahead of the log. Empty: only a base helps. */
  recover?(): readonly Uint8Array[]
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
  /**
   * The way back from `apply`: the storage is, up to what `prepare` took out, as it was before this payload, the last one
   * applied. The same errors; `SNAPSHOT_REQUIRED` for a payload that `LogFormat.needsPages`, with nothing changed.
   */
  undo?(payload: Uint8Array): void
  /** Undoes `prepare`: the storage is as the leader's was after the last applied record. In a transaction of the caller. Idempotent. */
  restore(): void
  /** Physical: whether the file is exactly as this payload, the last one applied, left it. */
  holds?(payload: Uint8Array): boolean
  close(): void
}

/** The writer connection of a SQLite storage, as formats see it. */
export interface SqliteConnection {
  readonly database: DatabaseSync
  /** Runs the project's own statements: the guard that refuses BEGIN, COMMIT, ATTACH … in users' callbacks is off meanwhile. */
  internal<T>(run: () => T): T
  /** Runs statements as a user's callback does, inside of `internal` too: what belongs to the node is refused. For SQL out of a record. */
  guarded<T>(run: () => T): T
  /** Tells `observer` of every statement that a user's callback runs, after those that observe already. Returns how to end that. */
  observe(observer: StatementObserver): () => void
  /** The file beneath. */
  readonly pages: SqlitePages
  /** Prefix of the project's own tables, which no format replicates: `_understudy_`. They have no PRIMARY KEY, so sessions do not see them. */
  readonly ownTablePrefix: string
}

/**
 * The pages of the database file, beneath SQL: what physical formats take and replace. Pages count from 1. The page at
 * 1 GiB, which SQLite never uses, is never among them. Everything is synchronous.
 */
export interface SqlitePages {
  /** A power of two from 512 to 65536. */
  readonly pageBytes: number
  /** Pages of the database in the open transaction (what was staged included), else as of the last commit. */
  readonly pageCount: number
  /**
   * Leader: the pages that were committed since the last call, or since the storage was opened; right after a COMMIT, so
   * those of one transaction. `undefined` when that cannot be told (the write-ahead log began anew unseen). Takes them:
   * the next call begins after them.
   */
  committed(): CommittedPages | undefined
  /** After a crash: at least the pages of the newest transaction in the write-ahead log, without previous images. `undefined` when the log has none. */
  recover(): CommittedPages | undefined
  /** Image of a page in the open transaction: as staged, else as committed; `undefined` beyond the last page. A view, valid until the next call of any method. */
  read(page: number): Uint8Array | undefined
  /**
   * In a transaction of the storage that SQL does not write in: gives a page a new image (which is copied), also beyond
   * the end. COMMIT makes all that was staged visible at once, to every reader of every process; rollback drops it.
   */
  stage(page: number, image: Uint8Array): void
  /** The database has so many pages once this transaction commits. Pages between the old and the new end must be staged. */
  resize(pageCount: number): void
}

export interface CommittedPages {
  /** Pages of the database after it. */
  readonly pageCount: number
  /** Each page once, with its last image, by page number. To be walked once, before the next call of any method of `SqlitePages`. */
  readonly pages: Iterable<CommittedPage>
}

export interface CommittedPage {
  readonly page: number
  /** A view, valid until the walk goes on. */
  readonly image: Uint8Array
  /** The image before, when it is at hand; a view like `image`. */
  readonly previous: Uint8Array | undefined
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
