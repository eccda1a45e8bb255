/**
 * Keys of writes: what a storage remembers of each write that was given one, in tables that are replicated like the user's own.
 *
 * A row is written inside the write's own savepoint, so that the key is there exactly when the write is. It cannot name its record,
 * which does not exist yet: it names the end of the log before its group. Which record the group ended with is noted by a group that
 * comes later; until then whoever has the log finds it there.
 */
import type { LogPoint, Lsn, Position } from './position.ts'

/** What is remembered of a write. */
export interface KeyedWrite {
  /** The epoch that it was written in, and the last LSN before its group. */
  readonly epoch: number
  readonly after: Lsn
  /** Which write of its record it is, as in its receipt. */
  readonly index: number
  /** What tells its body from another one; `undefined` when that was not to be known. */
  readonly digest: Uint8Array | undefined
  /** JSON of what it returned; `undefined` when that was not kept. */
  readonly value: string | undefined
}

/** How long keys are kept: whichever comes first. */
export interface KeyLimits {
  /** Milliseconds. */
  readonly keepMs: number
  readonly keysMax: number
  /** Keys that one new key lets go of, at most: more than 1, so that what is over a limit shrinks. */
  readonly droppedMax: number
}

/** Every method works on the writer's connection, in whatever transaction is open there. */
export interface KeyTable {
  /** What is remembered under a key. Throws `DATABASE_UNSUITABLE` when a table of that name is not as a node made it. */
  find(key: string): KeyedWrite | undefined
  /**
   * Inside a write of the storage, after its body: remembers the write and lets go of the oldest keys that are over a limit.
   * `atMs` is the leader's wall clock. Everything that it changes is told to the recorder like the user's own statements.
   */
  put(key: string, write: KeyedWrite, atMs: number, limits: KeyLimits): void
  /** Inside a write of the storage: notes which record the group after `after` ended with. */
  settle(after: Lsn, point: LogPoint): void
  /** The record that the group after `after` ended with, where it was noted. */
  settled(after: Lsn): LogPoint | undefined
  /** The newest group with a key, when its record was not noted yet: where it was written. */
  unsettled(): Position | undefined
}
