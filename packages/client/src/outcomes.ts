/**
 * What an error means for a call that may be made again.
 *
 * Decides: whether it is the answer, or may be tried elsewhere, and whether the write may be done already. Leaves to others: trying.
 *
 * 1. An error of the user's own SQL, of its rights or of its options is the answer: it would be the same everywhere.
 * 2. `doubt` is said of everything after which a write may stand in some log. Such a write is sent again under its key only.
 */
import { isUnderstudyError, type ErrorCode, type UnderstudyError } from '@understudy/contracts'

export type Outcome =
  /** For the caller. */
  | 'answer'
  /** Nothing was done; this node is the wrong one. */
  | 'elsewhere'
  /** Nothing was done; it may be sent again after a pause. */
  | 'later'
  /** It may be done. */
  | 'doubt'
  /** The node refuses because it is in trouble. What was under way when that began may stand in its log. */
  | 'trouble'

/** This node is not the one to ask; it did nothing. */
const WRONG_NODE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['NOT_LEADER', 'EPOCH_STALE', 'EPOCH_FORK'])

/** There was no answer, and none of it left this process; or a node that goes refused it. */
const UNSENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONNECTION_LOST',
  'CONNECT_FAILED',
  'PEER_SILENT',
  'CLOSED',
  'TIMEOUT',
])

/** The node is in trouble, and gives up leading. */
const TROUBLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'STORAGE_FAILED',
  'DISK_FULL',
  'READ_ONLY_DISK',
  'LOG_FAILED',
  'LOG_CORRUPT',
  'LEASE_LOST',
  'COORDINATOR_UNAVAILABLE',
])

/** What a follower answers a read with that another node may answer. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...WRONG_NODE,
  ...UNSENT,
  ...TROUBLE,
  'TOO_STALE',
  'OVERLOADED',
  'DIVERGED',
  'SCHEMA_MISMATCH',
  'SNAPSHOT_REQUIRED',
  'PROTOCOL_VIOLATION',
])

/** Why a connection cannot be made, whoever tries, however often. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ADDRESS_INVALID',
  'INVALID_ARGUMENT',
  'TLS_FAILED',
  'AUTHENTICATION_REQUIRED',
  'AUTHENTICATION_FAILED',
  'FORBIDDEN',
  'FOREIGN_CLUSTER',
  'PROTOCOL_VERSION',
  'PROTOCOL_VIOLATION',
  'INSECURE_ADDRESS',
])

/** Of a write that was sent to a node. */
export function outcomeOfWrite(error: unknown): Outcome {
  if (!isUnderstudyError(error)) return 'answer'
  const { code } = error
  if (code === 'OUTCOME_UNKNOWN') return 'doubt'
  // Refused by the node nothing is done; the answer of a node that was replaced may tell of a write that is lost.
  if (WRONG_NODE.has(code)) return isFromPeer(error) || code === 'NOT_LEADER' ? 'elsewhere' : 'doubt'
  if (code === 'NOT_WRITTEN' || code === 'OVERLOADED') return 'later'
  if (UNSENT.has(code)) return 'elsewhere'
  return TROUBLE.has(code) ? 'trouble' : 'answer'
}

/** Of a read. It does nothing, so that there is never a doubt. */
export function outcomeOfRead(error: unknown): 'answer' | 'elsewhere' {
  return isUnderstudyError(error) && UNREADABLE.has(error.code) ? 'elsewhere' : 'answer'
}

/** Of what the leader alone can do, and what may have been done when no answer came. */
export function outcomeOfCommand(error: unknown): 'answer' | 'elsewhere' {
  if (!isUnderstudyError(error)) return 'answer'
  return WRONG_NODE.has(error.code) && isFromPeer(error) ? 'elsewhere' : 'answer'
}

/** Whether no node will ever let this client in for such a reason. */
export function isHopeless(error: unknown): boolean {
  return !isUnderstudyError(error) || HOPELESS.has(error.code)
}

/** The node itself said it, as opposed to this client. */
export function isFromPeer(error: UnderstudyError): boolean {
  return error.details['fromPeer'] === true
}
