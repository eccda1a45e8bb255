/**
 * The errors that replication reports, each made in one place, so that every message says what was kept and what to do.
 */
import {
  LOCAL_SLOT,
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  type ErrorCode,
  type LogPoint,
  type Position,
} from '@understudy/contracts'

/** The write left no trace; `cause` says why. */
export function notWritten(cause: unknown): UnderstudyError {
  const why = messageOf(cause)
  return new UnderstudyError(
    'NOT_WRITTEN',
    `The write was rolled back and left no trace in the database or the log: ${why}`,
    { cause, ...(hasStoppedLeading(cause) && { reason: 'notLeader', leader: cause.details['leader'] }) },
  )
}

/** Whether it says that another node is to be asked. */
function hasStoppedLeading(cause: unknown): cause is UnderstudyError {
  return isUnderstudyError(cause, 'NOT_LEADER') || isUnderstudyError(cause, 'LEASE_LOST')
}

/** The node must not show anything any more, because another one may lead. */
export function leaseLost(): UnderstudyError {
  return new UnderstudyError(
    'LEASE_LOST',
    'This node may not go on as leader: its right to lead ran out or was taken. Nothing was shown or acknowledged since; what its log holds is kept. Ask the leader of now.',
  )
}

/** The node takes no more writes. */
export function closing(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'The node is closing and takes no more writes; nothing was changed.')
}

/** So many writes wait already. */
export function overloaded(queued: number): UnderstudyError {
  return new UnderstudyError(
    'OVERLOADED',
    `${queued} writes wait already; this one was not taken on and nothing was changed. Try again later.`,
    { queued },
  )
}

/** A queued write reached its own deadline. */
export function notWrittenInTime(): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'The write waited for its turn until its deadline and was never run. Nothing was changed; it may be sent again.',
    { reason: 'deadline' },
  )
}

/** A capture with a marker met changes that cannot be told page by page. */
export function replacedByBase(): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'A base was logged in the place of the marker; what was committed is in the log. Ask for the marker again.',
    { reason: 'base' },
  )
}

/** The record may or may not survive. */
export function outcomeUnknown(position: Position, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'OUTCOME_UNKNOWN',
    `The write may or may not survive, the node stopped writing: ${messageOf(cause)} ` +
      `After a restart look for position ${formatPosition(position)} before sending it again.`,
    { cause, position },
  )
}

/** The record is durable here; the set has not said that it has it. */
export function writtenNotAcked(
  point: LogPoint,
  reason: 'deadline' | 'aborted' | 'stopped',
): UnderstudyError {
  const position = { epoch: point.epoch, lsn: point.lsn }
  const why = {
    deadline: 'they did not in time',
    aborted: 'the wait was aborted',
    stopped: 'the node stopped leading before they did',
  }[reason]
  return new UnderstudyError(
    'WRITTEN_NOT_ACKED',
    `The write is durable in the log of the leader at ${formatPosition(position)}; followers must acknowledge it, and ${why}. ` +
      'It is kept and may still be acknowledged: look for that position before sending it again, or send it with a key.',
    { position, crc: point.crc, reason },
  )
}

/** The record of a change of the ack rule is durable here, and members of the old rule or of the new one do not have it. */
export function changeNotAcked(
  point: LogPoint,
  reason: 'deadline' | 'aborted' | 'replaced',
): UnderstudyError {
  const position = { epoch: point.epoch, lsn: point.lsn }
  const what =
    reason === 'replaced'
      ? 'Another change took its place, which gave up the acks that it waited for.'
      : 'Until members of both rules have it, no write is acknowledged; it goes on as soon as they do. The status says who is missing.'
  return new UnderstudyError(
    'WRITTEN_NOT_ACKED',
    `The change of the ack rule is in the log of the leader at ${formatPosition(position)}. ${what}`,
    { position, crc: point.crc, reason },
  )
}

/** A change of the ack rule that would stop all writes is not begun. */
export function changeRefused(why: string): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    `The ack rule was not changed: ${why}. Until a change has ended every write needs the acks of the old rule and of the new one. ` +
      'Ask again once they stream, or accept the loss: then the old rule ends without its acks.',
    { reason: 'acks' },
  )
}

/** The write waited for acks when the node stopped, for a reason or because it was closed. */
export function unknownWithoutAcks(point: LogPoint, isHidden: boolean, cause?: unknown): UnderstudyError {
  const position = { epoch: point.epoch, lsn: point.lsn }
  const shown = isHidden
    ? 'No reader saw it; the next start shows it once followers have it.'
    : 'Readers of this node may have seen it.'
  return new UnderstudyError(
    'OUTCOME_UNKNOWN',
    `The write was durable in the log of the leader at ${formatPosition(position)}, and not acknowledged, when the node stopped` +
      `${cause === undefined ? '.' : `: ${messageOf(cause)}`} ${shown} Look for that position before sending it again.`,
    { position, crc: point.crc, ...(cause !== undefined && { cause }) },
  )
}

/** The caller gave up before the write had its turn. */
export function notWrittenAborted(signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'The write was aborted before its turn and was never run. Nothing was changed.',
    { reason: 'aborted', cause: signal?.reason },
  )
}

/** A node that only passes records on, or sends those of an epoch that it does not lead, is not followed. */
export function notTheLeader(node: string): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    `${node} does not lead the epoch whose records it has. Nothing more was taken from it; follow the leader.`,
    { node },
  )
}

/** Whether nothing listens there: the machine answers, the process is gone. */
export function isRefusedByMachine(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if ((at as { readonly code?: unknown }).code === 'ECONNREFUSED') return true
  return false
}

/** What a node stops with: an error of ours keeps its code, everything else becomes `code`. */
export function asFailure(cause: unknown, code: ErrorCode, message: string): UnderstudyError {
  return isUnderstudyError(cause)
    ? cause
    : new UnderstudyError(code, `${message}: ${messageOf(cause)}`, { cause })
}

/** The same error with the position of the record that it is about. */
export function withPosition(cause: unknown, position: Position): UnderstudyError {
  const code = isUnderstudyError(cause) ? cause.code : 'STORAGE_FAILED'
  const details = isUnderstudyError(cause) ? cause.details : {}
  return new UnderstudyError(
    code,
    `Record ${formatPosition(position)} could not be applied; everything before it is: ${messageOf(cause)}`,
    { ...details, cause, position },
  )
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** Errors of applying that mean this node's data is not the leader's, or cannot become it. */
export const DIVERGENCES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DIVERGED',
  'SCHEMA_MISMATCH',
  'RECORD_CORRUPT',
  'FORMAT_UNKNOWN',
  'FORMAT_VERSION',
])

/** A member that is still needed is not forgotten. */
export function inUse(name: string, why: string, advice: string): UnderstudyError {
  return new UnderstudyError(
    'MEMBER_IN_USE',
    `${name} cannot be forgotten: ${why}. Its slot and everything else was kept. ${advice}, then forget it.`,
    { node: name },
  )
}

/** What a node needs itself is nobody's to drop. */
export function ownSlot(): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `'${LOCAL_SLOT}' is what this node's own database needs after a crash; it was kept. Drop the slots of followers only.`,
  )
}
