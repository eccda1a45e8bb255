/**
 * What a client is told of a failure: a stable code and a message for people, never a stack trace.
 *
 * 1. An `UnderstudyError` passes with its code and message.
 * 2. An error of SQLite, or of node:sqlite about a value, is the user's own business: `SQL_FAILED` with its message.
 * 3. Anything else is a defect. Its message may name things that are not the client's business, so it goes to
 *    `unexpected` alone. A write that met one may have been done: `OUTCOME_UNKNOWN`.
 */
import {
  ERROR_CODES,
  isUnderstudyError,
  type ErrorCode,
  type LogPoint,
  type UnderstudyError,
} from '@understudy/contracts'
import { LIMITS } from '@understudy/protocol'

export interface Failure {
  readonly kind: 'error'
  readonly code: ErrorCode
  readonly message: string
  /** The record that it is about. */
  readonly point?: LogPoint
  /** Address of the leader, of a node that is none. */
  readonly leader?: string
}

export function failure(code: ErrorCode, message: string): Failure {
  return { kind: 'error', code, message }
}

/** `unexpected` gets the errors of kind 3. */
export function describeFailure(
  error: unknown,
  request: 'write' | 'other',
  unexpected: (error: unknown) => void,
): Failure {
  if (isUnderstudyError(error) && Object.hasOwn(ERROR_CODES, error.code))
    return { ...failure(error.code, error.message), ...pointOf(error), ...leaderOf(error) }
  const message = sqliteMessage(error)
  if (message !== undefined) return failure('SQL_FAILED', message)
  unexpected(error)
  return request === 'write'
    ? failure(
        'OUTCOME_UNKNOWN',
        'The node met an unexpected error during the write, which may or may not be done. Read before writing it again; the log of the node has the error.',
      )
    : failure(
        'REQUEST_FAILED',
        'The node met an unexpected error. Nothing was changed by this request; the log of the node has the error.',
      )
}

/** The record that an error names, when it says its CRC too: of a write that is in the log, or may be. */
function pointOf({ position, details }: UnderstudyError): { readonly point?: LogPoint } {
  const crc = details['crc']
  if (position === undefined || typeof crc !== 'number') return {}
  return { point: { epoch: position.epoch, lsn: position.lsn, crc } }
}

/** Where to ask instead. */
function leaderOf({ code, details: { leader } }: UnderstudyError): { readonly leader?: string } {
  if (code !== 'NOT_LEADER' || typeof leader !== 'string' || leader === '') return {}
  return Buffer.byteLength(leader) > LIMITS.addressBytesMax ? {} : { leader }
}

/** Codes of node:sqlite for SQL that SQLite refused, and for values that cannot be bound or returned. */
const SQLITE_CODES = new Set([
  'ERR_SQLITE_ERROR',
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE',
])

function sqliteMessage(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return SQLITE_CODES.has(String(error.code)) ? error.message : undefined
}
