/** One connection to one node, as a caller sees it. */
import type {
  AckLevel,
  Condition,
  EpochStamp,
  Exposure,
  ExposureOptions,
  Position,
  PositionProof,
  Receipt,
  ReceiptMember,
  ReceiptReference,
  ReceiptVerdict,
  Requirement,
  Slot,
} from '@understudy/contracts'
import type { FailoverCalls } from './failover-calls.ts'
import type { FollowerSet, Leadership, ResultSet, TableDigest, TableRows, Value } from '@understudy/protocol'
import type { After } from './after.ts'
import type { PreparedStatement } from './prepared.ts'
import type { RowStream } from './row-stream.ts'
import type { Integers, Row } from './rows.ts'
import type { IterateOptions } from './streams.ts'
import type { ClientTransaction, TransactionOptions, TransactionReply } from './transaction.ts'

export interface CallOptions {
  /** Milliseconds to wait for the answer. Default: that of `connect`. */
  readonly timeoutMs?: number
  /** Ends the wait with `ABORTED`; what was sent goes on. */
  readonly signal?: AbortSignal
}

export interface ReadOptions extends CallOptions {
  /**
   * The node answers from a state that holds this position, or with `POSITION_LOST` when its history holds something else there: pass the
   * position of your own write to read it back. With the `crc` and `runId` of its receipt a lost one is told at once.
   */
  readonly after?: After | undefined
  /** How long the node may wait until it holds `after`, in milliseconds. Default: `timeoutMs`. */
  readonly waitMs?: number
  /** The node answers only when it can prove that it shows nothing older, in whole milliseconds from 1; `TOO_STALE` otherwise. */
  readonly maxStalenessMs?: number
  /** What integers become. Default `auto`. */
  readonly bigint?: Integers
}

export interface WhoLeadsOptions extends CallOptions {
  /** Answered only once the node knows of another epoch than this one, or of no leader, */
  readonly unlessEpoch?: EpochStamp
  /** or after so many milliseconds. Default 0: at once. */
  readonly waitMs?: number
}

export interface DigestOptions extends CallOptions {
  /** The node keeps its view for `rows`, until `release` or for a minute in which nobody asks. */
  readonly keep?: boolean
}

export interface ExposureCallOptions extends CallOptions, ExposureOptions {}

export interface AckChangeOptions extends CallOptions {
  /** `block`, `fail` or `degrade`. */
  readonly onUnmet?: string
  /** `acked` or `local`. */
  readonly visibility?: string
  /** How long a write waits for acks, and the change too, in milliseconds. */
  readonly ackTimeoutMs?: number
  /** The old rule, and what waits for it, end without their acks. Default false. */
  readonly acceptLoss?: boolean
}

/** One statement of a write. */
export interface ClientStatement {
  readonly sql: string
  readonly params?: readonly Value[]
  /** Rows that it must change; with any other number everything is rolled back with `EXPECTATION_FAILED`. */
  readonly expect?: number
  /** It is skipped unless this holds of earlier steps, such as `{ changed: 0 }`. */
  readonly when?: Condition
}

/** A statement, or what must hold: else everything is rolled back with `CONDITION_FAILED`. Counted together from 0. */
export type ClientStep = ClientStatement | Requirement

/** Beside the options of every call; what is left out, the leader's policy says. */
export interface WriteOptions extends CallOptions {
  /** Where the write must be before it is answered: `local`, `received`, `durable` or `applied`. */
  readonly ack?: AckLevel
  /** On which followers, such as `{ kind: 'any', count: 1, names: ['b', 'c'] }`. */
  readonly of?: FollowerSet
  /** How long the leader waits for that, in milliseconds; then the call rejects with `WRITTEN_NOT_ACKED`. */
  readonly ackTimeoutMs?: number
  /**
   * Names this write, in at most 255 bytes. Sent again under the same key, after whatever outcome, it is not done again: it is
   * answered with the first receipt, also by the next leader. Other statements under it are `KEY_REUSED`.
   */
  readonly key?: string
  /** What integers of rows that statements return become. Default `auto`. */
  readonly bigint?: Integers
}

export interface WriteReply {
  /** One for each step; `skipped` or `error` where it did not run or failed. None when it was done before and its results were not kept. */
  readonly results: readonly ResultSet[]
  /** Of the record that holds the write; `undefined` when the node does not say. */
  readonly position: Position | undefined
  /** Plain data, to be stored and checked later; `undefined` from a node that gives none. */
  readonly receipt: Receipt | undefined
  /** It was done before, under its key, and not again. */
  readonly replayed: boolean
  /** Whether `results` are those of the write: false for one that was done before and whose results were not kept. */
  readonly valueKept: boolean
}

/** Which followers have a commit. */
export interface ReachReply {
  readonly level: AckLevel
  readonly members: readonly ReceiptMember[]
}

export interface ReadReply extends ResultSet {
  /** What the node had applied when it read. */
  readonly position: Position | undefined
  /** Tells the record there from another one with its number. */
  readonly proof?: PositionProof
}

export interface DigestReply {
  readonly position: Position
  readonly tables: readonly TableDigest[]
}

/**
 * A client of one node. Calls may overlap; answers come as they are done. Every call rejects with the node's own error
 * code when the node answers with an error, and besides with
 * - `TIMEOUT` when no answer comes in time, `ABORTED` when the caller gave up;
 * - `CONNECTION_LOST` when the connection ended, `CLOSED` after `close`, both saying so when nothing was sent;
 * - `OUTCOME_UNKNOWN` for a write that was sent and not answered: by time, or by the end of the connection; one with a key can be sent again;
 * - `OVERLOADED` when too many calls wait, `INVALID_ARGUMENT` for what cannot be sent, `PROTOCOL_VIOLATION` for an
 *   answer that fits no request.
 */
export interface Client extends FailoverCalls, AsyncDisposable {
  readonly address: string
  /** Name of the node, as it gave it. */
  readonly node: string
  readonly cluster: string
  /** What the node says of itself: plain data. */
  status(options?: CallOptions): Promise<Readonly<Record<string, unknown>>>
  /** What the node knows of who leads, and how old its reads may be. */
  whoLeads(options?: WhoLeadsOptions): Promise<Leadership>
  /** All statements as one write, or none; one may depend on the outcome of earlier ones. Only the leader takes it. */
  write(steps: readonly ClientStep[], options?: WriteOptions): Promise<WriteReply>
  /** The same by the name that other clients have for it. */
  batch(steps: readonly ClientStep[], options?: WriteOptions): Promise<WriteReply>
  /**
   * An asynchronous callback as one write on the leader; with `readOnly` as one view of any node. While one that writes is open every other
   * write of the cluster waits, so it is rolled back with `NOT_WRITTEN` when it takes longer than `timeoutMs`, or is idle for too
   * long. Prefer `write` where a list with conditions says the same.
   */
  transaction<R>(
    body: (tx: ClientTransaction) => R | Promise<R>,
    options?: TransactionOptions,
  ): Promise<TransactionReply<Awaited<R>>>
  /** Keeps a statement at the node, and says what it is before it runs. */
  prepare(sql: string, options?: CallOptions): Promise<PreparedStatement>
  /** One statement on any node, whose rows come as they are used: a result of any size. Leaving the loop ends it. */
  iterate(sql: string, params?: readonly Value[], options?: IterateOptions): RowStream<Row>
  /** The same with rows as arrays. */
  iterateArrays(sql: string, params?: readonly Value[], options?: IterateOptions): RowStream<readonly Value[]>
  /** What the node says of a receipt, by its own history. Of an error that names a record: `{ cluster, position, crc }` of it. */
  verdict(receipt: ReceiptReference, options?: CallOptions): Promise<ReceiptVerdict>
  /** Leader: once so many followers, of whatever name, have the commit at this level. `TIMEOUT` when that takes longer than `timeoutMs`. */
  reach(receipt: ReceiptReference, level: AckLevel, count: number, options?: CallOptions): Promise<ReachReply>
  /** One statement on any node. */
  read(sql: string, params?: readonly Value[], options?: ReadOptions): Promise<ReadReply>
  /** Leader: writes a marker record, at which `digest` compares nodes. */
  mark(options?: CallOptions): Promise<Position>
  /** Digest of every table as of the marker at `at`. */
  digest(at: Position, options?: DigestOptions): Promise<DigestReply>
  /** Rows of a table in the view that `digest` kept: from 0, or where the last page ended. None at the end of the table. */
  rows(at: Position, table: string, offset: number, options?: CallOptions): Promise<TableRows>
  /** Lets go of the view that `digest` kept. */
  release(at: Position, options?: CallOptions): Promise<void>
  /** The positions that were committed with less protection than was asked for, by what the node's log holds. */
  exposure(options?: ExposureCallOptions): Promise<Exposure>
  /** The node's retention slots. */
  slots(options?: CallOptions): Promise<readonly Slot[]>
  dropSlot(name: string, options?: CallOptions): Promise<void>
  /** Leader: drops the slot of a follower that is gone for good, and all that is known of it; refused while it is needed. */
  forget(name: string, options?: CallOptions): Promise<void>
  /** Leader: records are of the log format of this name from the position on that it resolves with. */
  switchFormat(format: string, options?: CallOptions): Promise<Position>
  /** Leader: another ack rule, such as `any 1 (b, c) durable`, from the position on that it resolves with. What is not given stays as it is. */
  setAcks(rule: string, options?: AckChangeOptions): Promise<Position>
  /** Ends the connection. Calls that wait fail: with `CLOSED`, writes with `OUTCOME_UNKNOWN`. */
  close(): Promise<void>
}
