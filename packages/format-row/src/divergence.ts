/** The errors that stop a follower: what it holds is not the leader's, or it cannot hold what the leader's does. */
import { UnderstudyError, type ErrorDetails } from '@understudy/contracts'

/** SQLite's primary result codes that speak of this machine, not of the data (https://sqlite.org/rescode.html). */
const MACHINE_CODES: ReadonlySet<number> = new Set([
  7, // NOMEM
  8, // READONLY
  10, // IOERR
  13, // FULL
  14, // CANTOPEN
])
const FULL = 13

const ADVICE =
  'The caller rolls the record back, so the database stays at the position before it, and must stop applying. Find out what ' +
  'changed this database beside the log, then bootstrap the node anew.'

/** `DIVERGED`: `what` happened, in a few words. */
export function diverged(what: string, details: ErrorDetails): UnderstudyError {
  return new UnderstudyError('DIVERGED', `A row record cannot be applied: ${what}. ${ADVICE}`, details)
}

/** `DIVERGED` for what SQLite threw, unless the fault is this machine's: then the data is right, and applying can go on later. */
export function refused(what: string, cause: unknown, details: ErrorDetails = {}): UnderstudyError {
  if (!(cause instanceof Error)) return diverged(what, { ...details, cause })
  const text = cause.message
  const code = primaryCode(cause)
  if (code === undefined || !MACHINE_CODES.has(code))
    return diverged(`${what} (${text})`, { ...details, cause })
  return new UnderstudyError(
    code === FULL ? 'DISK_FULL' : 'STORAGE_FAILED',
    `A row record could not be applied here: ${text}. The caller rolls the record back, so the database stays at the ` +
      `position before it; nothing is lost or damaged. ${code === FULL ? 'Free some space' : 'Check the disk and the memory of this machine'}, ` +
      'then start the node again: it goes on from there.',
    { ...details, cause },
  )
}

function primaryCode(cause: Error): number | undefined {
  const code = 'errcode' in cause ? cause.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** `SCHEMA_MISMATCH`, by the fingerprints of this database and of the record. */
export function schemaMismatch(actual: Uint8Array, expected: Uint8Array): UnderstudyError {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return new UnderstudyError(
    'SCHEMA_MISMATCH',
    `A row record was made with schema ${hex(expected)}, and this database has ${hex(actual)}: tables, columns, keys or ` +
      `indexes differ. Nothing of the record stays applied. ${ADVICE}`,
    { actual: hex(actual), expected: hex(expected) },
  )
}
