/**
 * The replication log: records in order, durable when synced, identical byte for byte on every node that has them.
 */
import type { EpochHistory, LogPoint, Lsn } from './position.ts'
import type { UnderstudyError } from './errors.ts'

/** Format id of records that the log itself writes: the no-op that begins an epoch. Log formats use ids from 1. */
export const FORMAT_CONTROL = 0

/** Record flag: the transaction goes on in the next record; only the last part of one is without it. */
export const FLAG_CONTINUES = 1

/** Record flag: the group of this record waits for the acks of a set, and is shown to nobody before it has them. */
export const FLAG_AWAITS_ACKS = 2

/** Record flag, beside `FLAG_AWAITS_ACKS`: the record is of the same group as the one before it. */
export const FLAG_JOINS_GROUP = 4

/** Record flag, beside `FLAG_AWAITS_ACKS`: a follower acknowledges the record as received at once, before it is durable there. */
export const FLAG_ASKS_RECEIVED = 8

/** Record flag: the group of this record asked for acks, and did not wait for them because the rule was lowered. */
export const FLAG_UNMET = 16

/** Record flag, beside `FLAG_AWAITS_ACKS`: followers show the record before the set has it, so that to show it proves nothing. */
export const FLAG_ASKS_APPLIED = 32

/** Record flag: the group of this record holds nothing of a user, only what the leader keeps for itself. */
export const FLAG_OWN = 64

/** A record as it stands in the log. */
export interface LogRecord extends LogPoint {
  readonly previousCrc: number
  /** Id of the log format that made the payload, or `FORMAT_CONTROL`. */
  readonly format: number
  readonly flags: number
  /** Leader's wall clock at commit, milliseconds since the Unix epoch, with a fraction. */
  readonly committedAtMs: number
  /** A view; never written to again. */
  readonly payload: Uint8Array
}

/** What the leader hands over for appending; the log gives it LSN, epoch and CRCs. */
export interface RecordDraft {
  readonly format: number
  readonly flags: number
  readonly committedAtMs: number
  readonly payload: Uint8Array
}

/** Whole records in their encoded form, back to back, as they stand in segments and travel on the wire. */
export interface EncodedRecords {
  readonly bytes: Uint8Array
  readonly first: Lsn
  readonly last: Lsn
}

export interface ReadOptions {
  /** At least one record is returned even when it alone is larger. Default 256 KiB. */
  readonly bytesMax?: number
  /** Nothing above this LSN. Default `durable`. */
  readonly upTo?: Lsn
}

/**
 * Control payload kinds: the first byte of a `FORMAT_CONTROL` payload. The log writes 1; 2 comes from a leader's `mark`;
 * 3 says that groups are recorded in another format from here on, whose id follows in two bytes, low one first;
 * 4 says which ack rule is in force from here on, as text in UTF-8, or `<new> after <old>`: both, until a record of the new one
 * alone. An epoch begins with the rule `local`. 5 says that the rule is lowered to `local` from here on, up to the next record
 * of kind 4 or the end of the epoch; which rules are not waited for follows as text in UTF-8, joined by ` + `. 6 is the
 * first record of a group whose writes asked for other rules than the one in force (the last of a group of pages), and says which, as
 * text in UTF-8, joined by ` and `.
 */
export const CONTROL_EPOCH = 1
export const CONTROL_MARKER = 2
export const CONTROL_FORMAT = 3
export const CONTROL_ACKS = 4
export const CONTROL_ACKS_LOWERED = 5
export const CONTROL_GROUP_ACKS = 6

export interface EpochBegin {
  /** 64 random bits as 16 lower-case hexadecimal digits. */
  readonly runId: string
  /** Name of the node that leads. */
  readonly leader: string
  readonly committedAtMs: number
  /** Default: the one after the last. A promotion may skip numbers that were promised and never led. */
  readonly number?: number
}

/**
 * One node's log. All calls come from one thread. `append*`, `truncateAfter` and `startEpoch` are synchronous up to
 * the operating system's cache; `sync` or `syncNow` makes everything appended before the call durable.
 *
 * After a failed write or sync the log is failed for good: `failure` is set, every later append and sync throws it.
 */
export interface Log extends AsyncDisposable {
  /** Oldest LSN that can be read; `end.lsn + 1` when nothing can. */
  readonly first: Lsn
  /** The last record appended; `ORIGIN`-like point of the snapshot when the log begins after one. */
  readonly end: LogPoint
  /** The last LSN known to be durable. */
  readonly durable: Lsn
  readonly history: EpochHistory
  readonly failure: UnderstudyError | undefined
  readonly slots: RetentionSlots

  /** Begins an epoch higher than all in the history with its no-op record (not synced yet). Throws `EPOCH_STALE` for a number that is not. */
  startEpoch(begin: EpochBegin): LogPoint
  /** Leader: appends drafts as one unit, in the current epoch. Returns the last one's point. Throws `DISK_FULL` with the log unchanged. */
  append(drafts: readonly RecordDraft[]): LogPoint
  /**
   * Follower: appends encoded records exactly as the leader has them, after checking each: CRC, chain, LSN without gap,
   * epoch not lower than the last one. Returns the records as views of `bytes`. Throws `RECORD_CORRUPT`, `LOG_GAP` or
   * `EPOCH_STALE` with the log unchanged.
   */
  appendEncoded(bytes: Uint8Array): LogRecord[]
  syncNow(): void
  /** Resolves once everything appended before the call is durable. Concurrent calls share one fdatasync. */
  sync(): Promise<Lsn>
  /** Records from `from` on, or `undefined` when there are none yet. Throws `LOG_TRUNCATED` below `first`, `LOG_CORRUPT` on damage. */
  read(from: Lsn, options?: ReadOptions): EncodedRecords | undefined
  /** Decoded records from `from` through `upTo` (default `durable`). */
  records(from: Lsn, upTo?: Lsn): Iterable<LogRecord>
  /**
   * Bytes of the records above `lsn`, through `end`; 0 from `end` on. Never too few; exact among the newest records, which are in
   * memory, and below them at most 64 KiB or one append too many, with what the log itself put between appends.
   */
  bytesAfter(lsn: Lsn): number
  /** CRC of the record at `lsn`, also of the one just before `first`; `undefined` when it is not known any more. */
  crcAt(lsn: Lsn): number | undefined
  /** Removes every record above `lsn`, and epochs that began there; durable when it returns. */
  truncateAfter(lsn: Lsn): void
  /** Empties the log so that the next record is the one after `point`; durable when it returns. */
  resetTo(point: LogPoint, history: EpochHistory): void
  /** Deletes whole segments that no slot holds back; returns the new `first`. */
  collect(): Lsn
  close(): Promise<void>
}

export type SlotState = 'reserved' | 'extended' | 'unreserved' | 'lost'

export interface Slot {
  readonly name: string
  /** The holder has everything up to here; records above are kept. */
  readonly lsn: Lsn
  readonly state: SlotState
  /** Bytes of the log that this slot alone or with others holds back. */
  readonly heldBytes: number
  /** Bytes that may still be written before the slot is lost; `undefined` for the node's own slot. */
  readonly safeBytes: number | undefined
}

/** Name of the node's own slot: what its database still needs after a crash. It is never lost. */
export const LOCAL_SLOT = 'local'

/**
 * Named holds on the log. Positions are persisted lazily (a crash may set them back, never forward); creation, loss
 * and removal are durable when the call returns.
 */
export interface RetentionSlots {
  /** Creates the slot, or moves an existing one (also backwards, as far as the log reaches). Throws `LOG_TRUNCATED` below what the log still holds. */
  reserve(name: string, lsn: Lsn): Slot
  /** Moves a slot forward; lower positions are ignored. Throws `SLOT_UNKNOWN` or `SLOT_LOST`. */
  advance(name: string, lsn: Lsn): void
  /** Throws `SLOT_UNKNOWN`. */
  drop(name: string): void
  get(name: string): Slot | undefined
  list(): Slot[]
}
