/**
 * Storage: the database of one node, with one writer. `replication` drives it; it knows nothing of logs or peers.
 *
 * The applied position is stored with the data, in the same transaction, so that data and position never differ.
 * Commits are durable only at the next successful checkpoint: a crash may lose any suffix of the commits since, always
 * together with their positions. The log above `applied` repairs that.
 */
import type { SQLInputValue, SQLOutputValue } from 'node:sqlite'
import type { IdTable } from './ids.ts'
import type { KeyTable } from './keys.ts'
import type { LogPoint } from './position.ts'
import type { Recorder } from './format.ts'

/** `C`: the connection that formats work on. `T`: what a write callback gets. */
export interface Storage<C, T = WriteTransaction> extends AsyncDisposable {
  /** The writer's connection. */
  readonly connection: C
  /** Position of the last committed transaction that carried one, `ORIGIN` in a new database. While `ahead`: of the one before. */
  readonly applied: LogPoint
  /**
   * The file is the leader's, page by page: its last transaction that was no record of the log itself was a physical
   * one. Nothing but physical transactions may change it, so that positions between them are only `settle`d.
   */
  readonly physical: boolean
  /** The database holds one physical transaction more than `applied`: the one of the record, or chain of records, right after it. Whoever has the log settles which that is. */
  readonly ahead: boolean

  /** Opens the transaction of a group. Throws `FOREIGN_WRITE` when someone else wrote since our last commit. */
  begin(): void
  /**
   * Runs one write of the group under a savepoint of its own, with the recorder's hooks around it. The result of
   * `body` is returned; what it throws is thrown on, after the savepoint was rolled back. A promise from `body` is
   * `WRITE_ASYNC`; a deferred constraint that would fail the COMMIT is the write's own error. `TRANSACTION_LOST`:
   * SQLite ended the transaction itself; the caller must call `rollback` and fail the whole group.
   * `alone` says that no other write shares the group, so that the savepoint can be spared.
   */
  write<R>(body: (tx: T) => R, recorder: Recorder, options?: { readonly alone?: boolean }): R
  /**
   * As `write` for one that shares the group with nobody, but open across turns of the event loop: until its end nothing else is
   * asked of the transaction. `used` is called before each use of `tx`. Missing in a storage that cannot.
   */
  openWrite?(recorder: Recorder, used: () => void): OpenWrite<T>
  /** Stores the position inside the open transaction. */
  mark(point: LogPoint): void
  /**
   * Stores inside the open transaction that it is the physical one of the record right after `point`; once committed the
   * storage is `physical` and `ahead`. Its record cannot be named yet: it will hold the page with this very note.
   */
  markBefore(point: LogPoint): void
  /**
   * Of a physical storage, outside of a transaction: the position is `point` now, without storing it. Ends `ahead`. After
   * a restart `applied` is again what was stored, and `ahead` true.
   */
  settle(point: LogPoint): void
  /** COMMIT. Not durable. A throw is fatal for the node: the log has what the database lacks. */
  commit(): void
  /** Where the keys of writes are kept; missing in a storage that keeps none. */
  readonly keys?: KeyTable
  /** Counters of ids and their ceilings; missing in a storage that gives no ids by itself. */
  readonly ids?: IdTable
  /** ROLLBACK; no effect without a transaction. */
  rollback(): void

  /** Bytes that wait for a checkpoint, for its scheduling. */
  readonly uncheckpointedBytes: number
  /**
   * Makes commits durable, off the writer's thread. Resolves with the position that is durable now, read before the
   * checkpoint began, as it would be found after a restart (of a physical storage: the stored one, which is one record
   * behind); `undefined` when it could not complete (readers, a snapshot in progress): try again later.
   */
  checkpoint(): Promise<LogPoint | undefined>
  /** Where `rewind` leads to, whatever changed since: schema and pages too; `undefined` for nowhere. */
  readonly rewindsTo?: LogPoint | undefined
  /**
   * Outside of a transaction: makes the database what it was at `rewindsTo`, in one transaction that every reader sees whole or not
   * at all. Not durable. A storage that was `ahead` there is again. False when it turns out to be impossible: nothing changed.
   */
  rewind?(): boolean
  /** A consistent image of the database as of its position, while writes go on. Waits while the storage is `ahead`. */
  snapshot(options?: SnapshotOptions): Promise<SnapshotSource>
  close(): Promise<void>
}

/** A write that stays open until one of the two is called. */
export interface OpenWrite<T> {
  readonly tx: T
  /** Runs `last` in it and ends it; throws what `write` would, and is over then too. */
  end(last: (tx: T) => void): void
  /** Undoes it. Whoever uses `tx` later gets `reason`. */
  abandon(reason: unknown): void
}

export interface SnapshotOptions {
  /** The snapshot ends with `SNAPSHOT_ENDED` when it holds back more than this of uncheckpointed bytes. Default 1 GiB. */
  readonly heldBytesMax?: number
}

/** A frozen image of the database file. Holds back checkpoints until closed. */
export interface SnapshotSource extends AsyncDisposable {
  /** The position row inside the image. */
  readonly point: LogPoint
  readonly pageBytes: number
  /** A multiple of `pageBytes`. */
  readonly totalBytes: number
  /** Reads at `offset`, both multiples of `pageBytes`; returns how many bytes came. Throws `SNAPSHOT_ENDED` when over the cap. */
  read(target: Uint8Array, offset: number): Promise<number>
  close(): Promise<void>
}

/** Values bound to a statement: in order or by name. */
export type Parameters = readonly SQLInputValue[] | Readonly<Record<string, SQLInputValue>>

export type Row = Record<string, SQLOutputValue>

/** A result by place, not by name: names may repeat, and an empty result has its columns too. */
export interface Table {
  readonly columns: readonly string[]
  /** As many values in each as there are columns. */
  readonly rows: readonly (readonly SQLOutputValue[])[]
}

export interface TableLimits {
  /** Rows that are wanted. Default no limit. */
  readonly rowsMax?: number
  /** Bytes of texts and blobs that are wanted; any other value counts 8. Default no limit. */
  readonly bytesMax?: number
  /** Integers as bigints, of whatever size. Default false: as numbers where that is exact. */
  readonly bigints?: boolean
}

export interface RunResult {
  readonly changes: number | bigint
  readonly lastInsertRowid: number | bigint
}

/** What a read callback gets: one consistent view of the database. */
export interface ReadTransaction {
  all(sql: string, parameters?: Parameters): Row[]
  get(sql: string, parameters?: Parameters): Row | undefined
  /**
   * The result by place. The row that goes over a limit is the last one kept, so that a cut result is told from one
   * that just fits; a statement that writes runs to its end all the same.
   */
  table(sql: string, parameters?: Parameters, limits?: TableLimits): Table
}

/** What a write callback gets: valid until the callback returns. */
export interface WriteTransaction extends ReadTransaction {
  /** One statement. */
  run(sql: string, parameters?: Parameters): RunResult
  /** Any number of statements without parameters. */
  exec(sql: string): void
}

/** Ack levels: where a commit must be before it is answered. Only `local` (durable in the leader's log) is reached without followers. */
export type AckLevel = 'local' | 'received' | 'durable' | 'applied'

/** A member of a set that had a commit when the commit was answered. */
export interface ReceiptMember {
  readonly name: string
  /** Leader's wall clock when it learnt that the commit is durable there, in milliseconds; missing when it is only received. */
  readonly durableAt?: number
}

/** What the leader says of a commit. */
export interface Receipt {
  readonly cluster: string
  /** Position of the record that holds the write; the last part's for a large transaction. */
  readonly position: { readonly epoch: number; readonly lsn: number }
  /** Run id of that epoch: two stretches of leading that took the same number are told apart by it. */
  readonly runId: string
  /** Which write of the record it is, from 0: `3/1042#0`. */
  readonly index: number
  /** CRC of that record: a position whose CRC differs on a node was lost there. */
  readonly crc: number
  /** The level that the write was to reach. */
  readonly asked: AckLevel
  /** The level that it had reached when it was answered, by as many members as the write asked for. */
  readonly reached: AckLevel
  /** Members of the set that had it when it was answered; empty when none was asked for. */
  readonly members: readonly ReceiptMember[]
  /** Answered with less than was asked, because the policy says so while the set does not answer. */
  readonly degraded: boolean
}

/** What a node says of a receipt, by its own history. */
export interface ReceiptVerdict {
  /**
   * `committed`: the record is in the history of this node and acknowledged, so that no later history lacks it as far as the rule of acks
   * goes. `lost`: this node's history holds something else in its place. `unknown`: it may become either.
   */
  readonly verdict: 'committed' | 'lost' | 'unknown'
  /** Of `lost`: the epoch that took its place. */
  readonly epoch?: number
  /** Why, for people. */
  readonly reason: string
}

/** What a receipt must say to be checked or waited on: the rest is for people. */
export type ReceiptReference = Pick<Receipt, 'cluster' | 'position' | 'crc'> & {
  /** Missing in a receipt that was put together from an error: then only a log that holds the record can tell. */
  readonly runId?: string
}
