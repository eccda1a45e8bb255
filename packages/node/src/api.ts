/** What a node is to its user. */
import type {
  AckLevel,
  Exposure,
  LogFormat,
  LogPoint,
  Position,
  ReceiptReference,
  ReceiptVerdict,
  Slot,
  SqliteConnection,
  UnderstudyError,
  WriteTransaction,
} from '@understudy/contracts'
import type { Leadership, TableDigest, TableRows } from '@understudy/protocol'
import type {
  AckPolicy,
  ChangeAcksOptions,
  CommitMeasuresSnapshot,
  PolicyOptions,
  PositionToken,
  ReachOptions,
  Reached,
  Step,
  StepResult,
  TransactionOptions,
  WriteOptions,
  WriteResult,
} from '@understudy/replication'
import type { SqliteRead } from '@understudy/sqlite'
import type { EventsOptions, EventStream } from './events.ts'
import type { NodeExposureOptions } from './exposure.ts'
import type { FailoverCalls } from './failover-calls.ts'
import type { Role } from './options.ts'
import type { NodeStatus } from './status.ts'

export interface ReadOptions {
  /** Read only once this node shows this position: a receipt's, for reading one's own writes. */
  readonly after?: PositionToken
  /** How long to wait for `after`, or for a snapshot, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** The SQL is somebody else's: tighter limits, and the schema may call no function of `setup`. Default false. */
  readonly foreign?: boolean
  /**
   * The SQL is somebody else's, and the read may take long: it has a connection of its own, of which there are `heldReaders`, and is
   * `OVERLOADED` when none is free. Default false.
   */
  readonly held?: boolean
}

export interface DigestOptions extends ReadOptions {
  /** The view stays for `rows`, until `release`, or until nobody asked it for a minute. */
  readonly keep?: boolean
}

/** What goes with the text of a rule, and how the change is waited for. */
export type SetAcksOptions = ChangeAcksOptions & Omit<PolicyOptions, 'level'>

export interface UnderstudyNode extends FailoverCalls, AsyncDisposable {
  readonly name: string
  readonly role: Role
  /** 16 hexadecimal digits. */
  readonly cluster: string
  /** Where it listens, with the real port. */
  readonly address: string | undefined
  /** What readers of this node see; the last they saw, when it is closed. */
  readonly applied: LogPoint
  /** Why the node stopped writing or following for good, if it did. */
  readonly failure: UnderstudyError | undefined
  /**
   * Leader: a synchronous callback, run once; or a list of statements, in which one may depend on the outcome of earlier ones. Durable, acknowledged by the followers that `acks` or the
   * write's own `ack` and `of` ask for, and visible when it resolves.
   */
  write<R>(body: (tx: WriteTransaction) => R, options?: WriteOptions): Promise<WriteResult<R>>
  write(steps: readonly Step[], options?: WriteOptions): Promise<WriteResult<StepResult[]>>
  /**
   * Leader: an asynchronous callback as one write. Until its promise settles every other write waits, so it is rolled back with
   * `NOT_WRITTEN` when it is open for longer than `timeoutMs` (default 5,000, at most `transactionMsMax` of the pipeline's limits), when
   * it runs no statement for `transactionIdleMs` (2,000), and when the node stops leading. Prefer `write`, and lists with conditions.
   */
  transaction<R>(
    body: (tx: WriteTransaction) => R | Promise<R>,
    options?: TransactionOptions,
  ): Promise<WriteResult<Awaited<R>>>
  /**
   * Any node: whether the commit of a receipt is `committed`, `lost` or may still become either, by the history of this node. Throws
   * `FOREIGN_CLUSTER`, `INVALID_ARGUMENT` for what is no receipt, `CLOSED`.
   */
  verdict(receipt: ReceiptReference): ReceiptVerdict
  /**
   * Leader: waits until `count` followers, of whatever name, have the commit at `level`; `reach` of a receipt that was stored.
   * Rejects with `TIMEOUT`, `ABORTED`, `POSITION_LOST`, `CLOSED` when the node stops leading, `NOT_LEADER`.
   */
  reach(receipt: ReceiptReference, level: AckLevel, count: number, options?: ReachOptions): Promise<Reached>
  /** One consistent view of this node; the callback may be asynchronous. Never waits for other nodes. */
  read<R>(body: (tx: SqliteRead) => R | Promise<R>, options?: ReadOptions): Promise<Awaited<R>>
  /** Leader: writes a marker, at which every node freezes a view for `digest`. */
  mark(): Promise<LogPoint>
  /** Digest of every table as of a marker; waits until it is applied here. */
  digest(at: Position, options?: DigestOptions): Promise<TableDigest[]>
  /**
   * The next rows of a table in the view that `digest` kept, in the order of the digest: from 0, or where the last page
   * ended. Throws `POSITION_LOST` when the view is gone, `INVALID_ARGUMENT` for another table or offset.
   */
  rows(at: Position, table: string, offset: number): TableRows
  /** Lets go of the view that `digest` kept. */
  release(at: Position): void
  /**
   * Leader: groups are recorded in this log format, one of those that the node was given, from the position on that it
   * resolves with; writes go on. Followers go on by themselves; at a change to a physical format they first make their
   * files equal to the leader's. Of no effect when it is in force. The next start begins with the format of its options.
   */
  switchFormat(format: LogFormat<SqliteConnection> | string): Promise<LogPoint>
  /**
   * The positions that were committed with less protection than was asked for, by what this node's log holds: a leader and its
   * followers say the same of them. The first call reads the whole log that is kept, every further one what came since.
   * Rejects as `read` does, and with `LOG_CORRUPT`.
   */
  exposure(options?: NodeExposureOptions): Promise<Exposure>
  /**
   * Leader: another ack policy, from the position on that it resolves with; as a value, or as the text of a rule such as
   * `any 1 (b, c) durable`. What is not given stays as it is. Both the old rule and the new one hold until members of both have the record
   * of the change. `NOT_WRITTEN`: too few members of a rule stream, or another change is under way; nothing was changed.
   * `WRITTEN_NOT_ACKED`: it takes longer and goes on; no write is acknowledged before, and `status().acks.change` says who is missing.
   * The next start goes on with it, unless its options give another policy, which is then a change like this one.
   */
  setAcks(policy: Partial<AckPolicy> | string, options?: SetAcksOptions): Promise<LogPoint>
  slots(): Slot[]
  /** Lets go of the log for a follower that will not come back. Throws `SLOT_UNKNOWN`, `INVALID_ARGUMENT` for the node's own. */
  dropSlot(name: string): void
  /**
   * Leader: drops the slot of a follower that will not come back, and all that is known of it. Throws `MEMBER_IN_USE` for one that
   * is connected or that the ack rule names, `NOT_LEADER`, `SLOT_UNKNOWN`, `INVALID_ARGUMENT` for the node's own slot.
   */
  forget(name: string): void
  /** Histograms of commits since the node was made: latency, group size, fdatasync, waits for acks. */
  measures(): CommitMeasuresSnapshot
  /** What the node tells from now on, as a stream: see `EventsOptions`. It ends when the node is closed. */
  events(options?: EventsOptions): EventStream
  /** Checkpoints now, apart from the schedule. */
  checkpoint(): Promise<void>
  status(): NodeStatus
  /** Who leads as far as this node knows, and how old its reads may be. Never throws. */
  leadership(): Leadership
  /** Answers the writes that wait, ends every connection, waits for reads in progress, gives the directory free. */
  close(): Promise<void>
}

/** What can be asked of a node before it has started, too. */
export type ObservedNode = Pick<
  UnderstudyNode,
  'name' | 'role' | 'cluster' | 'applied' | 'failure' | 'status' | 'measures' | 'events'
>
