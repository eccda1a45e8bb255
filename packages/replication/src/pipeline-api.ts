/** What a leader's commit pipeline is to its users: the options, the calls, what they resolve with. */
import type { PublishRules } from './published-rules.ts'
import type {
  AckLevel,
  Clock,
  Log,
  LogFormat,
  LogPoint,
  Lsn,
  SqliteConnection,
  Storage,
  UnderstudyError,
  WriteTransaction,
} from '@understudy/contracts'
import type { AckStatus } from './ack-gate.ts'
import type { AckPolicy, AckRule, AckSet } from './ack-rule.ts'
import type { MemberProgress, SyncState } from './ack-tracker.ts'
import type { IdOptions, IdStatus } from './id-gate.ts'
import type { PipelineLimits } from './limits.ts'
import type { CommitMeasures } from './measures.ts'
import type { Reaches, WriteReceipt } from './receipts.ts'
import type { ShadowOptions, ShadowReport } from './shadow.ts'
import type { TransactionOptions } from './open-transaction.ts'
import type { StepResult } from './statements.ts'
import type { Step } from './steps.ts'

/** What a leader begins with and must wait for: what a former life left in the log, or a change of the ack rule. */
export interface Recovery {
  /** End of the log: once this satisfies the rules, all of it may be shown, and the change ends. */
  readonly point: LogPoint
  readonly rules: readonly AckRule[]
  /** Whether something of it is above what the storage shows. */
  readonly isHidden: boolean
  /** Brings the storage to the end of the log. */
  readonly run: (end: LogPoint) => Promise<void>
}

/** What the log says of the ack rule when leading begins. */
export interface AcksBefore {
  /** The rule before `acks`, which holds beside it: the record of the change is in the log. */
  readonly changing: AckRule | undefined
  /** The record of this epoch that says the rule; none for `local`. */
  readonly ruleAt: Lsn | undefined
}

/** A group that waits for acks, from when it is durable. */
export interface Awaiting {
  readonly point: LogPoint
  /** Its transaction waits for COMMIT; otherwise it is shown here. */
  readonly open: boolean
  /** It is what a former life left in the log. */
  readonly recovery: Recovery | undefined
  /** It is acknowledged, and its ids wait for a ceiling. The record after it that ends the wait for acks, or itself. */
  readonly end?: LogPoint
}

/** Runs a function in a later turn of the event loop, after what is due now. */
export type Defer = (run: () => void) => void

export interface CommitPipelineOptions<C, T = WriteTransaction> {
  readonly storage: Storage<C, T>
  /** Must have begun an epoch of this node, and everything in it must be applied: see `becomeLeader`. */
  readonly log: Log
  readonly format: LogFormat<C>
  /** A second format, recorded only to be compared with the one in force. */
  readonly shadow?: ShadowOptions<C>
  /** Cluster id, for receipts. */
  readonly cluster: string
  readonly clock: Clock
  readonly limits?: Partial<PipelineLimits>
  /** Counts commits; see `commitMeasures`. Default: nothing is counted. */
  readonly measures?: CommitMeasures
  /** Default `setImmediate`. A simulation gives `(run) => clock.schedule(0, run)`. */
  readonly defer?: Defer
  /** Whose acks a write needs. Default `async()`: nobody's. */
  readonly acks?: AckPolicy
  /**
   * Records of the rule say when `onUnmet` lets it be lowered: whoever looks for a new leader must not rely on it then. For a leader that
   * may be replaced. Default false.
   */
  readonly saysIfLowered?: boolean
  /** How ids are kept from being given twice; `false`: somebody else gives them. Of no effect on a storage that gives none. */
  readonly ids?: IdOptions | false
  /** See `becomeLeader`, which reads it in the log. */
  readonly acksBefore?: AcksBefore
  /** Name of this node: it is no member of a set. */
  readonly node?: string
  /** Up to where the log is known to be acknowledged. Default: as far as it is durable, or shown with `recovery`. */
  readonly acknowledged?: Lsn
  /** What the log holds of a former life and nobody may see before the set has it; see `becomeLeader`. */
  readonly recovery?: Recovery
  /**
   * Records up to here are durable and may leave the node, or the high watermark rose. Called in the same turn: after the
   * writes were answered when no ack is waited for, else both before the wait and after the answers.
   */
  readonly onDurable?: (point: LogPoint) => void
  /**
   * Whether this node leads still, by its own clock, read last: asked before each append, each COMMIT that shows something, each rise
   * of the high watermark and each answer, so a few times per group. With `false` the pipeline stops with `LEASE_LOST`, once and for
   * all: what waits in the log is rolled back here and `OUTCOME_UNKNOWN`, what was never run `NOT_WRITTEN`. Default: it always does.
   */
  readonly mayLead?: () => boolean
  /** A marker record, and nothing after it, is visible. What it throws, `mark` rejects with. */
  readonly onMarker?: (point: LogPoint) => void
  /** A base was logged: nobody can tell page by page what changed before it. */
  readonly onBase?: (point: LogPoint) => void
  /** The ack rule in force is another one, or two while it changes: `degraded` while the set does not answer. Its record is durable. */
  readonly onAckRule?: (rule: { readonly effective: string; readonly degraded: boolean }) => void
  /**
   * Publishes rules of acks outside of the log, before they are in force: see `PublishedRules`. Rejects when that cannot be done. Default: nothing is
   * published, and the log's own account is all there is.
   */
  readonly publishRules?: PublishRules
  /** Readers of this node see this position. */
  readonly onVisible?: (point: LogPoint) => void
  /** The pipeline stopped for good. */
  readonly onFailed?: (failure: UnderstudyError) => void
}

export interface WriteOptions {
  /** How long the write may wait for its turn. Default `writeTimeoutMs` of the limits. */
  readonly timeoutMs?: number
  /** Where it must be before it is answered. Default: the level of the cluster's rule; with a set alone `durable`. */
  readonly ack?: AckLevel
  /** On which followers. Default: the set of the cluster's rule. */
  readonly of?: AckSet
  /** How long it waits for acks, from when it is durable here. Default `ackTimeoutMs` of the policy. */
  readonly ackTimeoutMs?: number
  /**
   * `NOT_WRITTEN` at once when fewer of the set stream than must acknowledge, so that it cannot hold up the writes of others. So it is
   * for each client over the network that names a set. Default false.
   */
  readonly onlyIfReady?: boolean
  /**
   * Names this write, in at most 255 bytes, such as `order-17`. Sent again under the same key it is not done again: it is answered with
   * the first receipt, also after a restart or by the next leader. Kept for `keyKeepMs`, or until `keysMax` newer ones.
   */
  readonly key?: string
  /**
   * What the key stands for, in any form, such as the JSON of an order: under the same key another one is `KEY_REUSED`. Of a list of
   * statements the list itself is that.
   */
  readonly fingerprint?: string
  /** Gives up: `NOT_WRITTEN` before its turn, `WRITTEN_NOT_ACKED` while it waits for acks. What is written is never undone. */
  readonly signal?: AbortSignal
}

export interface ChangeAcksOptions {
  /**
   * The old rule, and what waits for acks, end without them: for members that will not come back. Followers which know of the old
   * rule only may miss what is acknowledged from then on. Default false.
   */
  readonly acceptLoss?: boolean
  /** How long the change may wait for its turn. Default `writeTimeoutMs` of the limits. */
  readonly timeoutMs?: number
  /** How long it is waited for acks. Default `ackTimeoutMs` of the policy. The change goes on after that. */
  readonly ackTimeoutMs?: number
  /** Gives up waiting: `NOT_WRITTEN` before its turn, `WRITTEN_NOT_ACKED` after it; what is in the log goes on. */
  readonly signal?: AbortSignal
}

export interface WriteResult<R> {
  readonly value: R
  readonly receipt: WriteReceipt
  /**
   * It was done before, under this key: nothing was written now. `receipt` is of that write, with what it has reached by now, and `value` is
   * what that one returned when it was JSON of at most 4 KiB, else `undefined`.
   */
  readonly replayed?: true
  /** Of `replayed`: whether `value` is what the first write returned. */
  readonly valueKept?: boolean
}

export interface CommitPipeline<T = WriteTransaction, C = SqliteConnection> extends Reaches {
  /**
   * Runs a synchronous callback in a transaction and resolves once it is durable and visible. Rejects with what the
   * callback threw, `NOT_WRITTEN`, `WRITTEN_NOT_ACKED`, `OUTCOME_UNKNOWN`, `OVERLOADED`, `CLOSED`, `KEY_REUSED`, or the failure that
   * stopped the pipeline.
   */
  write<R>(body: (tx: T) => R, options?: WriteOptions): Promise<WriteResult<R>>
  /**
   * Runs the statements in order, each unless its condition does not hold; `value` says what each did. `EXPECTATION_FAILED` when one
   * changed another number of rows, `CONDITION_FAILED` when what a step requires does not hold: nothing is written then.
   */
  write(steps: readonly Step[], options?: WriteOptions): Promise<WriteResult<StepResult[]>>
  /**
   * Runs an asynchronous callback in a transaction that nobody shares: until its promise settles every other write waits. Rejects as
   * `write` does, and with `NOT_WRITTEN` when it is open for longer than `timeoutMs`, or without a statement for longer than
   * `transactionIdleMs` of the limits. What is committed may wait for acks as any write.
   */
  transaction<R>(
    body: (tx: T) => R | Promise<R>,
    options?: TransactionOptions,
  ): Promise<WriteResult<Awaited<R>>>
  /** Writes a marker record: every node tells its `onMarker` exactly when it shows this position and nothing later. */
  mark(): Promise<LogPoint>
  /**
   * Of a storage whose file others write too: logs what they committed, as pages or, when those cannot be told, as a base.
   * With `marker` a marker record follows at once; it is called while nobody can commit, to freeze what the marker stands
   * for. `NOT_WRITTEN` when the lock was not to be had, or a base came in the place of a marker: ask again.
   */
  capture(marker?: () => void): Promise<LogPoint>
  /**
   * Groups are recorded in `format` from the position on that it resolves with; writes go on meanwhile. Rejects with what
   * the format's `inspect` throws, and as `write` does; the old format stays in force then.
   * `isUnacked`: the record asks for no acks, whatever the rule.
   */
  switchFormat(format: LogFormat<C>, options?: { readonly isUnacked?: boolean }): Promise<LogPoint>
  /**
   * Another ack policy, from the position on that it resolves with. The change is a record, which must satisfy the old rule and
   * the new one; until it does no write is acknowledged, whatever `onUnmet` says, but that writes are refused with `fail`. A policy
   * of the same rule comes into force at once, without a record. `NOT_WRITTEN` with the reason `acks`: of a rule too few members
   * stream, or another change is under way; nothing was changed. `WRITTEN_NOT_ACKED`: it is in the log and goes on.
   */
  changeAcks(policy: AckPolicy, options?: ChangeAcksOptions): Promise<LogPoint>
  /**
   * Where the log must be kept from, when all of the storage up to `lsn` is durable: the record of the ack rule is not let go of before
   * it is repeated. To be asked before the node's own slot is moved.
   */
  keepsFrom(lsn: Lsn): Lsn
  /** The format in force. */
  readonly format: LogFormat<C>
  /** What the shadow and the format in force have measured since this one came into force; `undefined` without a shadow. */
  readonly shadow: ShadowReport | undefined
  /** Last LSN that satisfies the ack rule. */
  readonly highWatermark: Lsn
  /** Last LSN that is acknowledged: below the high watermark while a group waits that followers must show first. */
  readonly acknowledged: Lsn
  /** Why the pipeline stopped, if it did. */
  readonly failure: UnderstudyError | undefined
  /** Writes that wait for their turn. */
  readonly queued: number
  /** For how long the oldest write that was not answered waits, in milliseconds; 0 without any. */
  readonly waitingMs: number
  /** The ack policy asked for; while it changes, the one that it becomes. */
  readonly policy: AckPolicy
  /** The ack rule, what is in force of it, what waits. */
  readonly acks: AckStatus
  /** Ceilings of ids; `undefined` while the end of the log is hidden, and where the storage gives none. */
  readonly ids: IdStatus | undefined
  /** For how long a follower may count on it from now that no id is answered which it knows no ceiling of; 0: not at all. In milliseconds. */
  idsPromise(name: string): number
  /**
   * Runs a write of the leader's own, before all that wait, which asks for no acks. Ceilings of the tables in `grants`, which it may
   * fill, are in force at once.
   */
  own(body: () => void, grants?: ReadonlySet<string>): Promise<LogPoint>
  /** How far a follower is, by its acks; `undefined` when its connection ended. */
  follower(name: string, progress: MemberProgress | undefined): void
  /** Whether what is durable now waits for this follower. */
  awaits(name: string): boolean
  /** What a follower is to the cluster's rule. */
  syncState(name: string): SyncState
  /** Whether this node leads, asked now (`mayLead`) and shown by nothing else: for what is to be as new as the leader's. */
  leads(): boolean
  /**
   * Holds all that could append back: writes wait, with their deadlines. Resolves once nothing more enters the log; what waits for acks
   * goes on waiting, and is answered when they come.
   */
  hold(): Promise<void>
  /** The opposite: what waited goes on. */
  unhold(): void
  /** Resolves once no group is under way: what was written is acknowledged, visible and answered. While writes come it may never. */
  idle(): Promise<void>
  /**
   * Stops for good, and shows nothing more: a group under way is rolled back here, stays in the log and is `OUTCOME_UNKNOWN`; what was
   * never run is `NOT_WRITTEN`, with the reason `notLeader` and the `leader` of the failure when that is `NOT_LEADER`.
   */
  stop(failure: UnderstudyError): void
  /** Takes no more writes; resolves when those it has are answered. Acks that are missing are waited for only as long as `closeAckMs` of the limits. */
  close(): Promise<void>
}
