/**
 * Turns what SQLite and the operating system throw into the errors of this project, where the node must act on them.
 *
 * Decides: which of SQLite's result codes forbid going on. Leaves to others: a statement's own errors (constraints,
 * syntax), which pass to the caller unchanged.
 */
import { UnderstudyError, isUnderstudyError, type ErrorCode } from '@understudy/contracts'

/** SQLite's primary and extended result codes that this package acts on (https://sqlite.org/rescode.html). */
export const SQLITE_CODES = {
  ERROR: 1,
  BUSY: 5,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  AUTH: 23,
  RANGE: 25,
  NOTADB: 26,
  IOERR_FSYNC: 1034,
  IOERR_DIR_FSYNC: 1290,
} as const

/** SQLite's extended result code of an error that `node:sqlite` threw; `undefined` for any other. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}

/** Whether the primary result code of `error` is `primary`. */
export function isSqlite(error: unknown, primary: number): boolean {
  const code = sqliteCode(error)
  return code !== undefined && (code & 0xff) === primary
}

/** Whether `error` says that a sync failed: what the file holds is unknown from then on. */
export function isFailedSync(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === SQLITE_CODES.IOERR_FSYNC || code === SQLITE_CODES.IOERR_DIR_FSYNC
}

const SYSTEM_CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EROFS: 'READ_ONLY_DISK',
  EACCES: 'READ_ONLY_DISK',
  EPERM: 'READ_ONLY_DISK',
}

/** The error of an attempt to open or create `path`: what failed, that nothing was changed, what to do. */
export function openFailure(path: string, error: unknown): UnderstudyError {
  if (isUnderstudyError(error)) return error
  const code = codeOfOpen(error)
  const advice = {
    READ_ONLY_DISK: 'Make the directory writable for this process, or choose another one.',
    DISK_FULL: 'Free some space and start again.',
    DATABASE_UNSUITABLE: 'Check that the path names a SQLite database.',
    STORAGE_FAILED:
      'Check the disk; restore the file from a copy, or let the node bootstrap from another one.',
  }[code]
  const text = error instanceof Error ? error.message : String(error)
  return new UnderstudyError(
    code,
    `Cannot open the database ${path}: ${text}. Nothing was changed. ${advice}`,
    {
      cause: error,
      path,
      sqliteCode: sqliteCode(error),
    },
  )
}

function codeOfOpen(
  error: unknown,
): 'READ_ONLY_DISK' | 'DISK_FULL' | 'DATABASE_UNSUITABLE' | 'STORAGE_FAILED' {
  const system = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
  const mapped = SYSTEM_CODES[system]
  if (mapped === 'READ_ONLY_DISK' || mapped === 'DISK_FULL') return mapped
  if (isSqlite(error, SQLITE_CODES.READONLY) || isSqlite(error, SQLITE_CODES.CANTOPEN))
    return 'READ_ONLY_DISK'
  if (isSqlite(error, SQLITE_CODES.FULL)) return 'DISK_FULL'
  if (isSqlite(error, SQLITE_CODES.NOTADB)) return 'DATABASE_UNSUITABLE'
  return 'STORAGE_FAILED'
}

/** The storage cannot go on; what the log has and the database lacks is redone when the node starts again. */
export function storageFailed(what: string, cause: unknown): UnderstudyError {
  const text = cause instanceof Error ? cause.message : String(cause)
  return new UnderstudyError(
    'STORAGE_FAILED',
    `${what}: ${text}. The node stopped writing; everything acknowledged is in its log. Check the disk, then start ` +
      `the node again: it redoes from the log what the database lacks.`,
    { cause, sqliteCode: sqliteCode(cause) },
  )
}

/** `CLOSED`, for any object of this package. */
export function closedError(what: string): UnderstudyError {
  return new UnderstudyError('CLOSED', `${what} Nothing was done. Use it only while it is open.`)
}

/** `INVALID_ARGUMENT`: nothing was done. */
export function invalidArgument(message: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', message)
}

/** Whether SQLite refused a schema because it calls what is not known to be harmless. */
export function isUnsafeSchema(error: unknown): error is Error {
  return error instanceof Error && error.message.includes('unsafe use of')
}

/** A read of others met a schema that calls functions. */
export function unsafeSchema(error: Error): UnderstudyError {
  return new UnderstudyError(
    'SQL_FAILED',
    `SQLite refused a statement that was run as somebody else's: ${error.message}. It was not run. If everybody who may ` +
      `change the schema is trusted to call the functions of setup(), set trustSchema.`,
    { cause: error },
  )
}

/** Someone else wrote, or is about to, where only the node may. */
export function foreignWrite(path: string, did: string, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'FOREIGN_WRITE',
    `Another connection ${did} ${path}, which only its node may write. Nothing of this group was written; the ` +
      `change itself was kept. Stop the other program. If it has committed, the followers lack its change: on a ` +
      `leader, start a new cluster from this file (import it) and let the followers bootstrap; on a follower, ` +
      `delete its directory and let it bootstrap.`,
    { cause, path },
  )
}

/** Of a shared database: the other program does not let us write. */
export function lockTimeout(path: string, cause: unknown): UnderstudyError {
  return new UnderstudyError(
    'TIMEOUT',
    `Another program held the write lock of ${path} for longer than busyTimeoutMs. Nothing of this group was ` +
      `written. Write again.`,
    { cause, path },
  )
}

/** Every connection for reads that may take long is in use. */
export function heldOverload(heldReaders: number): UnderstudyError {
  return new UnderstudyError(
    'OVERLOADED',
    `${heldReaders} streams and transactions that only read are open on this node, and it keeps no more at once. Nothing was read; end one of them, try again later, or give the node more heldReaders.`,
    { heldReaders },
  )
}
