/**
 * The error base class with its codes.
 *
 * Match on `code`, never on the message: codes do not change within a major version, and two copies of a package may
 * be loaded at once, so `instanceof` can miss. Every message says what happened, what was kept, and what to do.
 */
import type { Position } from './position.ts'

/** Every code, with one sentence on when it is raised. READMEs document the codes a package raises; a test compares. */
export const ERROR_CODES = {
  // input
  INVALID_ARGUMENT: 'An option or argument is missing, of the wrong type or outside its range.',
  UNSUPPORTED_RUNTIME: 'The Node.js or SQLite version lacks a fix or feature that replication relies on.',
  CLOSED: 'The object was closed, or is closing, and takes no further calls.',
  ABORTED: 'The caller aborted the wait; what was waited for goes on unchanged.',
  TIMEOUT: 'The deadline passed before the awaited thing happened.',
  // writes
  NOT_WRITTEN: 'The write was rolled back and left no trace in the database or the log.',
  WRITTEN_NOT_ACKED:
    'The write is durable in the leader’s log, but the set did not acknowledge it in time; it stays pending and may still be acknowledged.',
  OUTCOME_UNKNOWN: 'The write may or may not survive; the position names the record to look for.',
  KEY_REUSED: 'The key of a write stands for another write already; nothing was changed.',
  NOT_LEADER: 'A write reached a node that does not lead.',
  WRITE_FORBIDDEN: 'A write callback ran a statement that replication reserves for itself.',
  EXPECTATION_FAILED:
    'A statement of a list changed another number of rows than it expected; the write was rolled back.',
  CONDITION_FAILED: 'A condition that a list of statements requires did not hold; the write was rolled back.',
  WRITE_ASYNC: 'A write callback returned a promise; it must be synchronous.',
  TRANSACTION_LOST: 'SQLite itself ended the transaction of a group, so none of its writes happened.',
  TRANSACTION_TOO_LARGE: 'A transaction is larger than transactionBytesMax.',
  OVERLOADED: 'A queue reached its limit; nothing was taken on.',
  // requests of clients
  SQL_FAILED:
    'SQLite refused a statement of a request; the message is its own. Nothing of the request was kept.',
  RESULT_TOO_LARGE:
    'A result has more rows or bytes than one answer may carry; the message says whether a write was done.',
  HANDLE_UNKNOWN:
    'A prepared statement, a stream or a transaction of a client is not known to the node, or not any more; nothing was run.',
  REQUEST_FAILED: 'A node could not carry out a request for a reason that has no code of its own.',
  // tools
  DEMO_FAILED: 'A step of the demo did not hold; its directory is kept for looking into.',
  // storage
  DIRECTORY_LOCKED: 'Another process, or another node of this process, uses the directory.',
  FOREIGN_WRITE: 'Something other than the node changed its database file.',
  STORAGE_FAILED: 'The database failed in a way that forbids going on; the node stopped writing.',
  DISK_FULL: 'No space was left on the device; nothing was acknowledged.',
  READ_ONLY_DISK: 'The directory cannot be written.',
  STATE_CORRUPT: 'A state file failed its checksum or its schema.',
  DATABASE_UNSUITABLE: 'A database cannot be adopted as it is.',
  // log
  LOG_CORRUPT: 'A segment is damaged below a point that is known to have been synced; the file is kept.',
  LOG_FAILED:
    'An fsync or write of the log failed; the log takes no further records until it is opened anew.',
  LOG_GAP: 'Records do not continue the log: wrong LSN, wrong predecessor or wrong epoch.',
  LOG_TRUNCATED: 'The position asked for is below what the log still holds.',
  RECORD_CORRUPT: 'A record failed its checksum or its schema.',
  SLOT_LOST: 'The slot went over its byte cap; its follower must bootstrap again.',
  SLOT_UNKNOWN: 'No slot of that name exists.',
  MEMBER_IN_USE: 'A follower that is connected, or that the ack rule names, cannot be forgotten.',
  FORMAT_VERSION: 'A file or message was written by a newer version.',
  // formats
  FORMAT_UNKNOWN: 'A record names a log format that this node was not given.',
  FORMAT_INCOMPATIBLE:
    "A peer's SQLite, page size, encoding or file format is not what the log format needs it to be.",
  STATEMENT_UNSAFE:
    'A statement could do something else on a follower than on the leader, and the policy refuses such statements.',
  TABLE_WITHOUT_PRIMARY_KEY:
    'A write touched a table that has no PRIMARY KEY, which rows cannot be replicated from.',
  NULL_IN_PRIMARY_KEY: 'A write stored NULL in a PRIMARY KEY column, which identifies no row.',
  STATEMENT_UNSUPPORTED: 'A statement has an effect that the log format cannot carry.',
  DIVERGED: 'Applying a record did not do on this node what it did on the leader; the node stopped applying.',
  SCHEMA_MISMATCH:
    'The schema of this node differs from the one a record was made with; the node stopped applying.',
  CHANGESET_MALFORMED: 'Bytes are not a SQLite changeset.',
  FILE_MALFORMED: 'Bytes are not a valid SQLite database, WAL or wal-index file.',
  // network
  ADDRESS_INVALID: 'An address cannot be parsed, or no transport serves its scheme.',
  CONNECT_FAILED: 'No connection could be made.',
  LISTEN_FAILED: 'An address could not be listened on.',
  CONNECTION_LOST: 'The connection ended.',
  FRAME_TOO_LARGE: 'A frame is over the limit; it was refused before any memory was taken for it.',
  PROTOCOL_VIOLATION: 'The peer sent bytes that are no message, or a message out of turn.',
  PROTOCOL_VERSION: 'The peer speaks no protocol version that this node speaks.',
  PEER_ERROR: 'The peer reported an error that this version does not know; its message begins with the code.',
  PEER_SILENT: 'The peer sent nothing within the deadline.',
  INSECURE_ADDRESS:
    'A non-loopback listen address needs encryption and authentication, or an explicit decision.',
  TLS_FAILED: 'A certificate or key cannot be used, or the peer could not be verified by its certificate.',
  AUTHENTICATION_REQUIRED: 'The node lets in only peers that authenticate, and the peer did not.',
  AUTHENTICATION_FAILED: 'A peer could not prove that it holds a credential that is known and valid.',
  FORBIDDEN: 'The credential has no role for what was asked.',
  CREDENTIALS_INVALID: 'A file or variable with credentials cannot be read, or others can read it too.',
  // cluster
  FOREIGN_CLUSTER: 'The peer belongs to another cluster.',
  EPOCH_STALE: 'The peer follows, or leads, an epoch lower than one that this node has seen.',
  EPOCH_FORK: 'Two histories share an epoch number but not its run id.',
  FOLLOWER_AHEAD: 'A follower holds records that the leader does not have.',
  LEADER_LOST_RECORDS:
    'The leader misses durable records that a follower has: its disk was swapped or restored.',
  POSITION_LOST:
    'A position names a record that the history of this node does not hold: a failover lost it, or it is of another cluster.',
  TOO_STALE: 'The node cannot prove that it shows nothing older than a read allows; nothing was read.',
  SNAPSHOT_REQUIRED:
    'The follower cannot go on from the log: it no longer reaches back, or needs a file that is equal page by page; it must bootstrap.',
  SNAPSHOT_CORRUPT: 'A snapshot, or a piece of one, failed its checksum.',
  SNAPSHOT_ENDED: 'The leader ended the snapshot; it can be resumed.',
  DIRECTORY_OF_LEADER: 'A bootstrap would wipe a directory that is or was a leader.',
  FAILOVER_REFUSED:
    'Nobody was promoted, because it could lose acknowledged commits or make two leaders; the message says what would help.',
  // coordinators
  COORDINATOR_UNAVAILABLE:
    'The coordinator cannot be reached, or did not answer in time; nothing was changed there.',
  COORDINATOR_UNCERTAIN:
    'A change at the coordinator may or may not have happened; observe before relying on either.',
  COORDINATOR_CONFLICT:
    'The coordinator holds another state than the one to be replaced; nothing was changed.',
  COORDINATOR_UNSUITABLE: 'A coordinator cannot keep its promises where it was put.',
  LEASE_HELD: 'Another node has the lease, or may still have it; nothing was changed.',
  LEASE_LOST: 'The lease ran out, was taken or was given back; its holder must not go on as leader.',
} as const

/** A stable error code. */
export type ErrorCode = keyof typeof ERROR_CODES

/** Structured context of an error. */
export interface ErrorDetails {
  readonly cause?: unknown
  /** The log position the error is about. */
  readonly position?: Position
  /** Any further fields, machine-readable: numbers, strings, positions. Never row data or secrets. */
  readonly [field: string]: unknown
}

/** The base class of every error that Understudy raises on purpose. */
export class UnderstudyError extends Error {
  override readonly name: string = 'UnderstudyError'
  readonly code: ErrorCode
  readonly position: Position | undefined
  readonly details: Readonly<Record<string, unknown>>
  /** Marks the error also for another copy of this package. */
  readonly isUnderstudyError: true = true

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const { cause, position, ...rest } = details
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.position = position
    this.details = rest
  }
}

/** Whether `value` is an `UnderstudyError`, also one made by another copy of this package; with `code`, whether of that code. */
export function isUnderstudyError(value: unknown, code?: ErrorCode): value is UnderstudyError {
  if (typeof value !== 'object' || value === null || !('isUnderstudyError' in value)) return false
  return code === undefined || (value as UnderstudyError).code === code
}
