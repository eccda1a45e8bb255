/**
 * Every limit and interval of replication with its default, in one place.
 *
 * Decides: the numbers. Leaves to others: what happens when one is reached (each option says it).
 */
import { UnderstudyError } from '@understudy/contracts'
import { LIMITS } from '@understudy/protocol'

/** A record and what stands before it must fit into a frame. */
export const RECORD_BYTES_MAX: number = LIMITS.frameBytesMax - 4096

export interface PipelineLimits {
  /** Writes that share one transaction. */
  readonly groupWritesMax: number
  /** Execution time after which a group takes no further write, in milliseconds. */
  readonly groupMsMax: number
  /** Writes that may wait; one more is `OVERLOADED`. */
  readonly queueWritesMax: number
  /** How long a write may wait for its turn, in milliseconds, when it names no time of its own. */
  readonly writeTimeoutMs: number
  /**
   * A group is synced on this thread while syncs take less than so many milliseconds, and on the thread pool when they
   * take longer: a trip to the pool costs about as much as a sync of a fast disk, a slow disk must not block the thread.
   */
  readonly syncHereMsMax: number
  /** The same for a lone write, which has nobody to share the trip with. */
  readonly loneSyncHereMsMax: number
  /** Payload bytes of one record; a longer payload becomes a chain of records. */
  readonly recordBytesMax: number
  /** Payload bytes of one group; above it the group is `NOT_WRITTEN`. */
  readonly transactionBytesMax: number
  /** How long a key of a write is kept, in milliseconds, unless `keysMax` newer ones come before. */
  readonly keyKeepMs: number
  /** Keys that are kept. */
  readonly keysMax: number
  /** How long a transaction whose body is asynchronous may be open, in milliseconds, when it says nothing else. */
  readonly transactionMs: number
  /** The longest time that one may ask for. */
  readonly transactionMsMax: number
  /** One that runs no statement for so long is rolled back, in milliseconds. */
  readonly transactionIdleMs: number
  /** How long `close` waits for acks that are missing, in milliseconds. */
  readonly closeAckMs: number
}

export const PIPELINE_LIMITS: PipelineLimits = Object.freeze({
  groupWritesMax: 1024,
  groupMsMax: 5,
  queueWritesMax: 65_536,
  writeTimeoutMs: 30_000,
  syncHereMsMax: 0.5,
  loneSyncHereMsMax: 0.6,
  recordBytesMax: 4 * 1024 * 1024,
  transactionBytesMax: 1024 * 1024 * 1024,
  keyKeepMs: 24 * 3_600_000,
  keysMax: 100_000,
  transactionMs: 5000,
  transactionMsMax: 60_000,
  transactionIdleMs: 2000,
  closeAckMs: 1000,
})

/** The limits of a pipeline with their defaults. Throws `INVALID_ARGUMENT`. */
export function pipelineLimits(given: Partial<PipelineLimits> | undefined): PipelineLimits {
  const limits = withDefaults(PIPELINE_LIMITS, given)
  if (limits.recordBytesMax <= RECORD_BYTES_MAX) return limits
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `recordBytesMax is ${limits.recordBytesMax}; a record must fit into a frame, so it can be ${RECORD_BYTES_MAX} at most.`,
  )
}

export interface ApplyLimits {
  /** Records applied in one transaction of the storage. */
  readonly batchRecordsMax: number
  /** Payload bytes applied in one transaction of the storage. */
  readonly batchBytesMax: number
  /** Time after which a batch takes no further record, in milliseconds: how long the event loop may be blocked. */
  readonly batchMsMax: number
  /** Payload bytes of received records that wait in memory; what is above it is read back from the log. */
  readonly queueBytesMax: number
  /** Payload bytes of one transaction in parts; a longer chain is `RECORD_CORRUPT`. */
  readonly transactionBytesMax: number
  /** What the leader waits for is synced on this thread while syncs take less than so many milliseconds. */
  readonly syncHereMsMax: number
}

export const APPLY_LIMITS: ApplyLimits = Object.freeze({
  batchRecordsMax: 4096,
  batchBytesMax: 4 * 1024 * 1024,
  batchMsMax: 10,
  queueBytesMax: 16 * 1024 * 1024,
  transactionBytesMax: 1024 * 1024 * 1024,
  syncHereMsMax: 0.5,
})

export interface LinkLimits {
  /** Each side sends something at least this often, in milliseconds. */
  readonly heartbeatMs: number
  /** A peer that sent nothing for so long is given up, in milliseconds. */
  readonly deadlineMs: number
  /** Bytes of records sent and not yet durable at the follower. */
  readonly windowBytes: number
  /** Bytes of records in one frame, unless a single record is larger. */
  readonly frameBytes: number
  /**
   * Longest rest of a connection, in milliseconds, after a frame that gave its follower the newest record. What becomes
   * durable meanwhile shares the next frame, and with it one receive, one sync, one transaction and one ack. The first
   * record after a pause goes at once; with a tiny value, such as 0.001, each does.
   */
  readonly batchMs: number
  /** The rest is only as long as it takes to gather so many bytes, at the rate of the last frame. */
  readonly batchBytes: number
  /** What a follower has applied it tells at most so many milliseconds later, when no other ack says it before and nobody waits for it. */
  readonly appliedAckMs: number
}

export const LINK_LIMITS: LinkLimits = Object.freeze({
  heartbeatMs: 1000,
  deadlineMs: 5000,
  windowBytes: 8 * 1024 * 1024,
  frameBytes: 256 * 1024,
  batchMs: 4,
  batchBytes: 2048,
  appliedAckMs: 5,
})

export interface BackoffLimits {
  /** First wait between two attempts to connect, in milliseconds. */
  readonly firstMs: number
  /** Longest wait, in milliseconds. */
  readonly lastMs: number
}

export const BACKOFF_LIMITS: BackoffLimits = Object.freeze({ firstMs: 100, lastMs: 5000 })

/** The defaults with what the caller gave on top. Throws `INVALID_ARGUMENT` for a limit that is not a positive number. */
export function withDefaults<L extends object>(defaults: L, given: Partial<L> | undefined): L {
  const merged = { ...defaults }
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined) continue
    if (typeof value !== 'number' || !(value > 0)) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `The limit ${name} must be a positive number, not ${JSON.stringify(value)}.`,
      )
    }
    Object.assign(merged, { [name]: value })
  }
  return merged
}
